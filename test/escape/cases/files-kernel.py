# tries: read the kernel's memory, addresses, log and lists
# strict: refused, empty or without addresses
# basic: refused, empty or without addresses
# end: ok HELD

for path in ("/proc/kcore", "/proc/kmsg", "/dev/kmsg", "/dev/mem", "/dev/kmem", "/dev/port", "/proc/vmcore", "/proc/kpagecount", "/proc/kpageflags",
             "/proc/kpagecgroup", "/proc/slabinfo", "/proc/vmallocinfo", "/proc/sched_debug", "/proc/pagetypeinfo",
             "/sys/kernel/debug/sleep_time", "/boot/System.map", "/sys/kernel/slab/kmalloc-64/alloc_calls"):
    opens(path)
finds("timers", read, "/proc/timer_list")  # it may be hidden by an empty file
finds("stack of another", read, "/proc/%d/stack" % os.getppid(), 16)
finds("stack", read, "/proc/self/stack", 16)


def addresses(path):
    with open(path) as file:
        for _, line in zip(range(5000), file):
            first = line.split("-")[0].split()[0]
            if re.fullmatch("[0-9a-f]{8,16}", first) and int(first, 16):
                return line


def setting(name):
    try:
        return int(read("/proc/sys/kernel/" + name))
    except OSError:
        return 2


if setting("kptr_restrict") == 0 and setting("perf_event_paranoid") <= 1:
    note("this machine shows kernel addresses to everybody")
else:
    finds("addresses in kallsyms", addresses, "/proc/kallsyms")
finds("addresses in modules", lambda: [l for l in open("/proc/modules") if int(l.split()[-1], 16)])
finds("addresses in iomem", addresses, "/proc/iomem")
buffer = ctypes.create_string_buffer(4096)
for action in (3, 9, 10):  # read all, count unread, size; the others take from the log or wait
    arrives("syslog", action, buffer, len(buffer), what="syslog(%d)" % action)
code, text = output("dmesg")
if code == 0 and text.strip():
    escaped("dmesg: %.80r" % text)
finish()
