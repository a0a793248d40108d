# tries: read environments, arguments, memory maps and memory of the runner and of all other processes
# strict: its /proc shows nobody else
# basic: Landlock refuses
# end: ok HELD

for pid in strangers():
    base = "/proc/%d/" % pid
    for name in ("environ", "auxv", "maps", "smaps", "numa_maps", "pagemap", "mem", "stack", "syscall", "personality", "io"):
        finds(base + name, lambda: bool(read(base + name, 1)))
    for name in ("environ", "mem", "maps"):
        finds(base + "task/%d/%s" % (pid, name), lambda: bool(read(base + "task/%d/%s" % (pid, name), 1)))
    for name in ("cmdline", "comm", "status", "wchan"):
        try:
            found = SECRET.search(read(base + name))
        except OSError:
            continue
        if found:
            escaped(base + name)
finish()
