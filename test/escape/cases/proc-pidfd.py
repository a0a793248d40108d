# tries: get hold of other processes by pidfd, and of their namespaces and root through it
# strict: it sees no other processes but its supervisor, which is out of reach
# basic: a pidfd of another process gives nothing
# end: ok HELD

PIDFD_GET = {"cgroup": 1, "ipc": 2, "mnt": 3, "net": 4, "pid": 5, "time": 7, "user": 9, "uts": 10}
for pid in strangers():
    fd = raw("pidfd_open", pid, 0)[0]
    if fd < 0:
        continue
    arrives("pidfd_send_signal", fd, 0, 0, 0, held=(errno.ESRCH,), what="pidfd_send_signal %d" % pid)
    for name, number in PIDFD_GET.items():
        works("%s namespace of %d" % (name, pid), fcntl.ioctl, fd, 0xFF00 | number, 0)
    for flag in CLONE_FLAGS.values():
        arrives("setns", fd, flag, what="setns by pidfd")
    os.close(fd)
finish()
