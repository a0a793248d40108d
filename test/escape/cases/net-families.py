# tries: make a socket of every family and type there is
# strict: Unix, IPv4 and IPv6 only
# basic: none; socketpair makes Unix pairs only
# end: ok HELD

allowed = {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6} if HINTS.get("level") != "basic" else set()
names = {getattr(socket, n): n for n in dir(socket) if n.startswith("AF_")}
for family in range(64):
    for kind in (1, 2, 3, 4, 5, 6, 10):
        for protocol in (0, 1, 2, 3, 4, 16, 255):
            if family in allowed and (kind in (1, 2, 5) or family == socket.AF_UNIX):
                continue
            fd = libc.socket(family, kind, protocol)
            if fd >= 0:
                os.close(fd)
                escaped("socket of %s, type %d, protocol %d" % (names.get(family, family), kind, protocol))
    pair = (ctypes.c_int * 2)()
    if family != socket.AF_UNIX and libc.socketpair(family, 1, 0, pair) >= 0:
        escaped("pair of " + names.get(family, str(family)))
    # The kernel takes the lower half of the argument.
    for wide in (family | 1 << 32, family | 1 << 63):
        if family in allowed:
            continue
        number = {"x86_64": 41, "aarch64": 198}[MACHINE]
        fd = libc.syscall(ctypes.c_long(number), ctypes.c_ulong(wide), ctypes.c_long(3), ctypes.c_long(0))
        if fd >= 0:
            os.close(fd)
            escaped("socket of family %#x" % wide)
finish()
