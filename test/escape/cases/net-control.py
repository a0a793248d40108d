# tries: see and use the network of the runner by a socket that was made there: its control socket; and, without a network namespace, by pairs of Unix sockets
# strict: seccomp refuses; it has a name, which nobody can connect to, and gets no other
# basic: seccomp refuses
# end: ok HELD

SIOCGIFNAME, SIOCGIFCONF, SIOCGIFFLAGS, SIOCGIFADDR, SIOCGIFHWADDR, SIOCGIFINDEX, SIOCETHTOOL, SIOCGSKNS, SIOCGIWNAME = (
    0x8910, 0x8912, 0x8913, 0x8915, 0x8927, 0x8933, 0x8946, 0x894C, 0x8B01)
SO_BINDTODEVICE, SO_BINDTOIFINDEX = 25, 62


def sockets():
    for fd in range(3, 4096):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                yield socket.socket(fileno=os.dup(fd))
        except OSError:
            pass


def interfaces(s):
    space = ctypes.create_string_buffer(4096)
    fcntl.ioctl(s, SIOCGIFCONF, struct.pack("iP", len(space), ctypes.addressof(space)))


def ask(s, number, name=b"lo"):
    fcntl.ioctl(s, number, name.ljust(16, b"\0") + struct.pack("i20x", 1))


def bind_to(s, option, device, nothing):
    s.setsockopt(socket.SOL_SOCKET, option, device)
    s.setsockopt(socket.SOL_SOCKET, option, nothing)


found = list(sockets())
if not found:
    raise RuntimeError("no control socket")
for s in found + list(socket.socketpair()):
    if own_namespace("net") and s not in found:
        continue
    works("list interfaces", interfaces, s)
    for what, number in (("name", SIOCGIFNAME), ("flags", SIOCGIFFLAGS), ("address", SIOCGIFADDR), ("hardware address", SIOCGIFHWADDR),
                         ("index", SIOCGIFINDEX)):
        works("%s of an interface" % what, ask, s, number)
    works("wireless name", ask, s, SIOCGIWNAME)
    space = ctypes.create_string_buffer(b"\x03".ljust(256, b"\0"))  # ETHTOOL_GDRVINFO
    works("driver of an interface", fcntl.ioctl, s, SIOCETHTOOL, b"lo".ljust(16, b"\0") + struct.pack("P16x", ctypes.addressof(space)))
    works("its network namespace", fcntl.ioctl, s, SIOCGSKNS)
    works("bind to an interface", bind_to, s, SO_BINDTODEVICE, b"lo", b"")
    works("bind to an index", bind_to, s, SO_BINDTOIFINDEX, 1, 0)
    works("take an abstract name", s.bind, "\0%s-%d" % (LEFT, os.getpid()))
    works("take a name in the file system", s.bind, "%s-%d" % (LEFT, os.getpid()))
    works("listen", s.listen)
    name = ctypes.create_string_buffer(b"lo", 40)
    arrives("ioctl", s.fileno(), SIOCGIFINDEX | 1 << 32, name, held=(errno.ENODEV,), what="index with a wide number")
if not own_namespace("net"):
    # These do not stay connected to each other, so they can be connected to others.
    for kind in (socket.SOCK_DGRAM, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK):
        works("pair of datagram sockets", socket.socketpair, socket.AF_UNIX, kind)
finish()
