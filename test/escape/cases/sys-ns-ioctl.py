# tries: climb from its own namespaces to their parents and owners
# strict: nothing above is shown
# basic: nothing above is shown
# end: ok HELD

NS_GET_USERNS, NS_GET_PARENT, NS_GET_OWNER_UID = 0xB701, 0xB702, 0xB704
for kind in ("user", "pid"):
    fd = os.open("/proc/self/ns/" + kind, os.O_RDONLY)
    works("parent of %s" % kind, fcntl.ioctl, fd, NS_GET_PARENT)
    os.close(fd)
for kind in ("mnt", "net", "uts", "ipc", "pid", "cgroup"):
    fd = os.open("/proc/self/ns/" + kind, os.O_RDONLY)
    try:
        owner = fcntl.ioctl(fd, NS_GET_USERNS)
    except OSError:
        continue
    if own_namespace("user"):
        escaped("owner of " + kind)
    else:
        in_child(lambda: arrives("setns", owner, 0, what="setns to the owner of " + kind))
fd = os.open("/proc/self/ns/pid", os.O_RDONLY)
for number in (0x8004B706, 0x8004B707, 0x8004B708, 0x8004B709):  # from and to the numbers of this namespace
    for pid in [p for p in HINTS.get("pids", {}).values() if p and own_namespace("pid")]:
        works("translate pid %d" % pid, fcntl.ioctl, fd, number, pid)
NS_MNT_GET_NEXT, NS_MNT_GET_PREV = 0x8010B70B, 0x8010B70C
fd = os.open("/proc/self/ns/mnt", os.O_RDONLY)
for number in (NS_MNT_GET_NEXT, NS_MNT_GET_PREV):
    works("neighbours of the mount namespace", fcntl.ioctl, fd, number, bytes(16))
finish()
