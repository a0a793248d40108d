# tries: change its control group, leave it, make others
# strict: no control group file system is in its root
# basic: Landlock refuses
# end: ok HELD

tops = ["/sys/fs/cgroup", "/cgroup", "/run/cgroup", outside("cgroup")]
try:
    tops += [l.split()[1] for l in open("/proc/self/mounts") if l.split()[2].startswith("cgroup")]
except OSError:
    pass
groups = ["/"]
try:
    groups += [l.rstrip("\n").split(":", 2)[2] for l in open("/proc/self/cgroup")]
except OSError:
    pass
for top in sorted(set(tops)):
    for group in sorted(set(groups)):
        where = top + group
        if not os.path.isdir(where):
            continue
        works("make a group in " + where, lambda: os.rmdir(os.mkdir(os.path.join(where, LEFT)) or os.path.join(where, LEFT)))
        for name in ("cgroup.procs", "tasks", "cgroup.threads", "memory.max", "memory.limit_in_bytes", "pids.max", "cpu.max", "cgroup.subtree_control",
                     "cgroup.kill", "cgroup.freeze", "release_agent", "notify_on_release", "devices.allow", "cpu.cfs_quota_us", "memory.oom.group"):
            path = os.path.join(where, name)
            if os.path.exists(path):
                opens(path, os.O_WRONLY)
os.makedirs("m", exist_ok=True)
for kind, data in ((b"cgroup2", b""), (b"cgroup", b"memory"), (b"cgroup", b"none,name=" + LEFT.encode())):
    if raw("mount", b"none", os.fsencode(os.path.realpath("m")), kind, 0, data)[0] == 0:
        escaped("mount " + kind.decode())
        raw("umount2", os.fsencode(os.path.realpath("m")), 2)
finish()
