# tries: find descriptors that it should not have inherited
# strict: the streams and one socket of its own
# basic: the streams and one socket of its own
# end: ok HELD
# unsandboxed: held because descriptors are passed on one by one at every level

sockets = []
for fd in range(4096):
    try:
        st = os.fstat(fd)
    except OSError:
        continue
    if fd < 3:
        if not stat.S_ISFIFO(st.st_mode) and not (stat.S_ISCHR(st.st_mode) and st.st_rdev == os.makedev(1, 3)):
            escaped("stream %d has mode %o" % (fd, st.st_mode))
        continue
    try:
        name = os.readlink("/proc/self/fd/%d" % fd)
    except OSError:
        name = "?"
    if stat.S_ISSOCK(st.st_mode):
        sockets.append(fd)
        s = socket.socket(fileno=os.dup(fd))
        if s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            escaped("descriptor %d listens" % fd)
        # A name of the kernel's choice keeps it from getting another.
        if not re.fullmatch(rb"\0[0-9a-f]{5}", s.getsockname() or b"") or s.getpeername():
            escaped("descriptor %d has an address" % fd)
        s.close()
        if not fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC:
            escaped("socket %d is passed on to programs" % fd)
    else:
        escaped("descriptor %d: %s, mode %o" % (fd, name, st.st_mode))
if len(sockets) > 1:
    escaped("sockets %s" % sockets)
code, text = output("sh", "-c", "ls /proc/self/fd", close_fds=False)
if code == 0 and {int(n) for n in text.split()} - {0, 1, 2, 3, 255}:
    escaped("a program gets descriptors %r" % text)
finish()
