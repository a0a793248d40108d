# tries: leave behind what the next execution in its network finds: flow labels, and connections that cannot end, by options of sockets
# strict: seccomp refuses
# basic: no socket can be made
# end: ok HELD

IPV6_FLOWLABEL_MGR, IPV6_RTHDR, IPV6_2292PKTOPTIONS, IPV6_MINHOPCOUNT, IP_OPTIONS, IP_MINTTL = 32, 57, 6, 73, 4, 21
TCP_MD5SIG, TCP_MD5SIG_EXT, TCP_AO_ADD_KEY, SO_ATTACH_FILTER, SO_ATTACH_BPF = 14, 32, 38, 26, 50
FL_A_GET, FL_A_PUT, FL_S_EXCL, FL_F_CREATE = 0, 1, 1, 1


def label(action, number=0):
    return socket.inet_pton(socket.AF_INET6, "::1") + struct.pack("!IBBHHHI", number, action, FL_S_EXCL, socket.htons(FL_F_CREATE), 0, 0, 0)


def flow_label():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.IPPROTO_IPV6, IPV6_FLOWLABEL_MGR, label(FL_A_GET, 0x12345))
        s.setsockopt(socket.IPPROTO_IPV6, IPV6_FLOWLABEL_MGR, label(FL_A_PUT, 0x12345))


works("flow label", flow_label)
drop_all = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0), 8)
key = struct.pack("HH4s", socket.AF_INET, 0, b"\x7f\0\0\1").ljust(128, b"\0") + struct.pack("BBHI", 0, 0, 1, 0) + b"k".ljust(80, b"\0")
for what, family, level, name, value in (
        ("IP_MINTTL", socket.AF_INET, socket.IPPROTO_IP, IP_MINTTL, 255),
        ("IPV6_MINHOPCOUNT", socket.AF_INET6, socket.IPPROTO_IPV6, IPV6_MINHOPCOUNT, 255),
        ("IP_OPTIONS", socket.AF_INET, socket.IPPROTO_IP, IP_OPTIONS, b"\x83\x07\x04\x7f\0\0\2\0"),
        ("IPV6_RTHDR", socket.AF_INET6, socket.IPPROTO_IPV6, IPV6_RTHDR, b""),
        ("IPV6_2292PKTOPTIONS", socket.AF_INET6, socket.IPPROTO_IPV6, IPV6_2292PKTOPTIONS, b""),
        ("TCP_MD5SIG", socket.AF_INET, socket.IPPROTO_TCP, TCP_MD5SIG, key),
        ("TCP_MD5SIG_EXT", socket.AF_INET, socket.IPPROTO_TCP, TCP_MD5SIG_EXT, key),
        ("TCP_AO_ADD_KEY", socket.AF_INET, socket.IPPROTO_TCP, TCP_AO_ADD_KEY, b""),
        ("SO_ATTACH_FILTER", socket.AF_INET, socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HxxxxxxP", 1, ctypes.addressof(drop_all))),
        ("SO_ATTACH_BPF", socket.AF_INET, socket.SOL_SOCKET, SO_ATTACH_BPF, -1)):
    def option_of():
        with socket.socket(family, socket.SOCK_STREAM) as s:
            s.setsockopt(level, name, value)

    works(what, option_of)
try:
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
except OSError:
    s = None
if s:
    arrives("setsockopt", s.fileno(), 1 << 32, IP_MINTTL | 1 << 32, (ctypes.c_int * 1)(255), 4, what="IP_MINTTL with wide numbers")
if own_namespace("net") and int(read("/proc/sys/net/ipv4/tcp_max_tw_buckets")) > 0:
    escaped("closed connections are remembered")
finish()
