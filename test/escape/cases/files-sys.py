# tries: read or write the kernel's switches in /sys, debugfs, tracefs, securityfs and bpffs
# strict: /sys is empty
# basic: Landlock refuses
# end: ok HELD

for path in ("/sys/kernel/mm/transparent_hugepage/enabled", "/sys/kernel/uevent_helper", "/sys/power/state", "/sys/power/disk", "/sys/kernel/profiling",
             "/sys/kernel/reboot/mode", "/sys/module/kernel/parameters/panic", "/sys/block/vda/queue/scheduler", "/sys/block/sda/queue/scheduler",
             "/sys/fs/cgroup/cgroup.procs", "/sys/devices/system/cpu/cpu1/online", "/sys/kernel/rcu_expedited", "/sys/class/net/lo/mtu",
             "/sys/firmware/efi/vars", "/sys/kernel/security/lockdown", "/sys/kernel/debug/sched/debug", "/sys/kernel/tracing/tracing_on"):
    opens(path, os.O_WRONLY)
for path in ("/sys", "/sys/kernel", "/sys/class", "/sys/devices", "/sys/module", "/sys/kernel/debug", "/sys/kernel/tracing", "/sys/kernel/security",
             "/sys/fs/bpf", "/sys/fs/pstore", "/sys/firmware", "/sys/kernel/config"):
    finds("list " + path, os.listdir, path)
for path in ("/sys/kernel/vmcoreinfo", "/sys/kernel/notes", "/sys/class/net/eth0/address", "/sys/class/dmi/id/product_uuid", "/sys/kernel/boot_params/data"):
    works("read " + path, read, path, 1)
finish()
