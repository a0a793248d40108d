# tries: learn from the kernel's tables how the machine was built and started, what its devices and disks do, and what all use together
# strict: they are empty, but for what libraries read
# basic: not protected: there is no mount namespace, so what may be read by everybody shows
# end: ok HELD

NEEDED = {"cpuinfo", "filesystems", "loadavg", "meminfo", "mounts", "net", "self", "stat", "sys", "thread-self", "uptime", "version", "vmstat"}
for name in os.listdir("/proc"):
    path = "/proc/" + name
    if name.isdigit() or name in NEEDED:
        continue
    if os.path.isdir(path):
        finds(path, os.listdir, path)
    elif name not in ("kmsg", "kcore", "sysrq-trigger"):  # which would block, or are files-kernel's
        finds(path, read, path, 100)
for name in ("cmdline", "interrupts", "softirqs", "diskstats", "config.gz", "zoneinfo", "partitions", "modules", "locks", "pressure/cpu"):
    finds(name, read, "/proc/" + name, 100)
for name in ("fs/aio-nr", "fs/file-nr", "fs/inode-nr", "fs/inode-state", "fs/dentry-state", "kernel/pty/nr", "kernel/core_pattern"):
    finds(name, read, "/proc/sys/" + name, 100)
boot = read("/proc/sys/kernel/random/boot_id").decode().strip()
if boot == HINTS.get("boot id"):
    escaped("boot id " + boot)
if not re.match("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", boot):
    raise ValueError(boot)
finish()
