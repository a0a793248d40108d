# tries: take off its seccomp filter, no_new_privs and Landlock, or put a laxer filter over them
# strict: filters only add up
# basic: filters only add up
# end: ok HELD

PR_GET_SECCOMP, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS, PR_SET_DUMPABLE = 21, 22, 38, 39, 4
if libc.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1:
    escaped("no_new_privs is off")
if libc.prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 2:
    escaped("there is no filter")
libc.prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0)
libc.prctl(PR_SET_SECCOMP, 0, 0, 0, 0)
if libc.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1:
    escaped("no_new_privs came off")


def allow_all():
    program = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0x7FFF0000), 8)

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    pointer = Program(1, ctypes.cast(program, ctypes.c_void_p))
    for flags in (0, 1, 2, 4, 8):
        raw("seccomp", 1, flags, ctypes.addressof(pointer))
    arrives("unshare", CLONE_FLAGS["NEWUSER"], what="unshare below a filter that allows all")
    works("read below a filter that allows all", read, outside("file"))


in_child(allow_all)


def supervise():
    # Whoever supervises a filter may let calls go on, and put descriptors into others.
    NEW_LISTENER, USER_NOTIF, ALLOW = 8, 0x7FC00000, 0x7FFF0000
    number = SYSCALLS["unshare"]
    code = b"".join(struct.pack("HBBI", *i) for i in ((0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, USER_NOTIF), (6, 0, 0, ALLOW)))
    program = ctypes.create_string_buffer(code, len(code))
    pointer = ctypes.create_string_buffer(struct.pack("H6xP", 4, ctypes.addressof(program)), 16)
    fd, _ = raw("seccomp", 1, NEW_LISTENER, pointer)
    if fd < 0:
        return
    result = []

    def ask():
        result.append(raw("unshare", CLONE_FLAGS["NEWUTS"]))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    if select.select([fd], [], [], 1)[0]:
        SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND = 0xC0502100, 0xC0182101
        request = fcntl.ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, bytes(80))
        CONTINUE = 1
        fcntl.ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, request[:8] + struct.pack("qiI", 0, 0, CONTINUE))
    thread.join(1)
    if result and result[0][0] == 0:
        escaped("unshare by its own supervisor")


in_child(supervise)
finish()
