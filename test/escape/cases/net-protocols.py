# tries: have the kernel carry out and load what few programs need: socket protocols, BPF for ports, TLS in the kernel, urgent data on Unix sockets
# strict: seccomp refuses
# basic: no socket can be made; urgent data is refused
# end: ok HELD

SO_ATTACH_REUSEPORT_CBPF, SO_ATTACH_REUSEPORT_EBPF, TCP_ULP, SO_COOKIE, SO_NETNS_COOKIE = 51, 52, 31, 57, 71
for family in (socket.AF_INET, socket.AF_INET6):
    for kind, protocol, name in ((1, 262, "MPTCP"), (2, 136, "UDP-Lite"), (1, 132, "SCTP"), (5, 132, "SCTP"), (6, 33, "DCCP"), (2, 115, "L2TP"),
                                 (1, 256, "SMC"), (1, 257, "SMC")):
        works("%s, family %d" % (name, family), lambda: socket.socket(family, kind, protocol).close())
        works("%s with a high bit, family %d" % (name, family), lambda: os.close(libc.socket(ctypes.c_long(family), kind, ctypes.c_long(protocol | 1 << 32))))
accept_all = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0), 8)
program = struct.pack("HxxxxxxP", 1, ctypes.addressof(accept_all))


def ports():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        s.bind(("127.0.0.1", 0))
        s.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program)


def ports_by_descriptor():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, 0)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return  # the kernel has looked at it
            raise


def layer(name):
    def attempt():
        with socket.socket() as server, socket.socket() as client:
            server.bind(("127.0.0.1", 0))
            server.listen()
            client.connect(server.getsockname())
            try:
                client.setsockopt(socket.IPPROTO_TCP, TCP_ULP, name)
            except OSError as error:
                if error.errno == errno.ENOENT:
                    return  # the kernel has looked for it
                raise

    return attempt


works("BPF for ports", ports)
works("eBPF for ports", ports_by_descriptor)
works("TLS in the kernel", layer(b"tls"))
works("a layer that the kernel looks for", layer(b"kaa"))
for option in (SO_COOKIE, SO_NETNS_COOKIE):
    def number_of():
        with socket.socket() as s:
            s.getsockopt(socket.SOL_SOCKET, option, 8)

    works("the machine's number of a socket or network, option %d" % option, number_of)
left, right = socket.socketpair()
works("urgent data", left.send, b"x", socket.MSG_OOB)
works("urgent data in a message", left.sendmsg, [b"x"], [], socket.MSG_OOB)
piece = ctypes.create_string_buffer(struct.pack("PN", ctypes.addressof(ctypes.create_string_buffer(b"x")), 1), 16)
message = ctypes.create_string_buffer(struct.pack("PIxxxxPNPNi", 0, 0, ctypes.addressof(piece), 1, 0, 0, 0), 56)
arrives("sendmsg", left.fileno(), message, socket.MSG_OOB | 1 << 32, held=(errno.EOPNOTSUPP,), what="urgent data with a high bit")
finish()
