# tries: make raw and packet sockets, ping sockets, and set options that need privileges
# strict: refused without capabilities
# basic: no socket can be made
# end: ok HELD

for family in (socket.AF_INET, socket.AF_INET6):
    for protocol in (0, socket.IPPROTO_ICMP, socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_RAW, 58):
        works("raw socket of family %d, protocol %d" % (family, protocol), lambda: socket.socket(family, socket.SOCK_RAW, protocol).close())
works("packet socket", lambda: socket.socket(17, socket.SOCK_RAW, 0x0300).close())
works("packet datagrams", lambda: socket.socket(17, socket.SOCK_DGRAM, 0x0300).close())
works("netlink", lambda: socket.socket(16, socket.SOCK_RAW, 0).close())
IP_TRANSPARENT, SO_MARK, SO_RCVBUFFORCE, SO_SNDBUFFORCE, SO_BINDTODEVICE, SO_DEBUG, SO_PRIORITY = 19, 36, 33, 32, 25, 1, 12
for what, level, option, value in (
        ("IP_TRANSPARENT", socket.IPPROTO_IP, IP_TRANSPARENT, 1), ("SO_MARK", socket.SOL_SOCKET, SO_MARK, 1),
        ("SO_RCVBUFFORCE", socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 30), ("SO_SNDBUFFORCE", socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 30),
        ("SO_DEBUG", socket.SOL_SOCKET, SO_DEBUG, 1), ("SO_PRIORITY 7", socket.SOL_SOCKET, SO_PRIORITY, 7)):
    def option_of():
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
            s.setsockopt(level, option, value)

    works(what, option_of)
finish()
