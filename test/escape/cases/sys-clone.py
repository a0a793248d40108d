# tries: make namespaces with clone, clone3 and setns
# strict: seccomp refuses
# basic: seccomp refuses
# end: ok HELD

def clone(flags, what):
    pid, code = raw("clone", flags | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    if pid > 0:
        os.waitpid(pid, 0)
        escaped("clone " + what)
    elif code not in REFUSED:
        escaped("clone %s: %s" % (what, errno.errorcode[code]))


def clone3(flags, what, size=88):
    # flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup
    pid, code = raw("clone3", struct.pack("11Q", flags, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0), size)
    if pid == 0:
        os._exit(0)
    if pid > 0:
        os.waitpid(pid, 0)
        escaped("clone3 " + what)
    elif code not in REFUSED:
        escaped("clone3 %s: %s" % (what, errno.errorcode[code]))


every = sum(CLONE_FLAGS.values()) & ~0x80
for name, flag in CLONE_FLAGS.items():
    if name != "NEWTIME":  # its bit means something else to clone
        in_child(clone, flag, name)
        in_child(clone, flag | CLONE_FLAGS["NEWUSER"], "NEWUSER and " + name)
        in_child(clone, flag | 1 << 40, name + " and a high bit")
    in_child(clone3, flag, name)
    in_child(clone3, flag | CLONE_FLAGS["NEWUSER"], "NEWUSER and " + name)
in_child(clone, every, "everything")
in_child(clone3, every, "everything")
in_child(clone3, 0x200000000, "into a control group")  # CLONE_INTO_CGROUP
in_child(clone3, CLONE_FLAGS["NEWUSER"], "of the first version", 64)
for pid in ["self"] + [str(p) for p in strangers()]:
    for kind in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"):
        try:
            fd = os.open("/proc/%s/ns/%s" % (pid, kind), os.O_RDONLY)
        except OSError:
            fd = -1

        def enter():
            arrives("setns", fd, 0, what="setns to %s of %s" % (kind, pid))

        in_child(enter)
        if fd >= 0:
            os.close(fd)
finish()
