# tries: open the machine's switches in /proc for writing: sysrq-trigger, irq, mtrr, bus, acpi
# strict: they are not its own, and Landlock refuses
# basic: Landlock refuses
# end: ok HELD

for path in ("/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/proc/irq/0/smp_affinity", "/proc/irq/1/smp_affinity", "/proc/mtrr",
             "/proc/acpi/wakeup", "/proc/scsi/scsi", "/proc/bus/pci/00/00.0", "/proc/timer_stats", "/proc/latency_stats", "/proc/driver/rtc",
             "/proc/asound/seq/clients", "/proc/fs/nfsd/threads", "/proc/dynamic_debug/control", "/proc/pressure/cpu", "/proc/pressure/memory",
             "/proc/kcore", "/proc/kpageflags", "/proc/tty/driver/serial", "/proc/config.gz"):
    opens(path, os.O_WRONLY)
for name in ("oom_score_adj", "sched", "uid_map", "comm", "coredump_filter", "clear_refs", "timerslack_ns", "setgroups", "loginuid", "autogroup"):
    for pid in strangers():
        opens("/proc/%d/%s" % (pid, name), os.O_WRONLY)
finish()
