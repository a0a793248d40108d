# tries: read and write other processes' memory and descriptors by system calls
# strict: seccomp refuses them, also for its own processes
# basic: seccomp refuses them, also for its own processes
# end: ok HELD

buffer = ctypes.create_string_buffer(b"kaa", 8)
local = struct.pack("PP", ctypes.addressof(buffer), 1)
for pid in [os.getpid()] + strangers():
    missing = () if pid == os.getpid() else (errno.ESRCH,)
    arrives("process_vm_readv", pid, local, 1, local, 1, 0, held=missing, what="process_vm_readv %d" % pid)
    if pid == os.getpid():
        arrives("process_vm_writev", pid, local, 1, local, 1, 0, what="process_vm_writev %d" % pid)
    else:  # of nothing: it must not spoil anything
        arrives("process_vm_writev", pid, local, 1, local, 0, 0, held=missing, what="process_vm_writev %d" % pid)
    arrives("kcmp", pid, os.getpid(), 2, 0, 0, held=missing, what="kcmp %d" % pid)
    fd = raw("pidfd_open", pid, 0)[0]
    if fd >= 0:
        arrives("pidfd_getfd", fd, 0, 0, what="pidfd_getfd %d" % pid, close=True)
        arrives("process_madvise", fd, local, 1, 20, 0, what="process_madvise %d" % pid)  # MADV_COLD
        arrives("process_mrelease", fd, 0, what="process_mrelease %d" % pid)
        os.close(fd)
    arrives("migrate_pages", pid, 8, b"\1" + bytes(7), b"\1" + bytes(7), held=missing, what="migrate_pages %d" % pid)
    arrives("move_pages", pid, 0, 0, 0, 0, 0, held=missing, what="move_pages %d" % pid)
finish()
