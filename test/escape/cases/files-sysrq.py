# tries: open the machine's switches in /proc for writing: sysrq-trigger, irq, mtrr, bus, acpi
# strict: they are not its own, and Landlock refuses
# basic: Landlock refuses
# end: ok HELD

for path in ("/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/proc/irq/0/smp_affinity", "/proc/irq/1/smp_affinity", "/proc/mtrr",
             "/proc/acpi/wakeup", "/proc/scsi/scsi", "/proc/bus/pci/00/00.0", "/proc/timer_stats", "/proc/latency_stats", "/proc/driver/rtc",
             "/proc/asound/seq/clients", "/proc/fs/nfsd/threads", "/proc/dynamic_debug/control", "/proc/pressure/cpu", "/proc/pressure/memory",
             "/proc/kcore", "/proc/kpageflags", "/proc/tty/driver/serial", "/proc/1/oom_score_adj", "/proc/1/sched", "/proc/1/uid_map", "/proc/1/comm",
             "/proc/1/coredump_filter", "/proc/1/clear_refs", "/proc/1/timerslack_ns", "/proc/1/setgroups", "/proc/1/loginuid", "/proc/1/autogroup"):
    opens(path, os.O_WRONLY)
finish()
