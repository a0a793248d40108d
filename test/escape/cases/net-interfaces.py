# tries: see the host's interfaces, routes and connections, and change its own
# strict: a loopback of its own, which it cannot change
# basic: not protected: there is no network namespace; what /proc/net tells may show, sockets cannot be made
# end: ok HELD

finds("interfaces", lambda: [n for _, n in socket.if_nameindex() if n != "lo"])


def own_address(path):
    return [l for l in read(path).decode().splitlines() if "eth" in l or "ens" in l or "wlan" in l or "docker" in l or "veth" in l]


for name in ("dev", "route", "if_inet6", "ipv6_route", "arp", "wireless", "fib_trie"):
    finds("/proc/net/" + name, own_address, "/proc/net/" + name)
port = "%04X" % HINTS.get("ports", {}).get("redis", 6379)
for name in ("tcp", "tcp6", "udp", "unix"):
    finds("connections in /proc/net/" + name, lambda: [l for l in read("/proc/net/" + name).decode().splitlines() if ":" + port in l or "kaa-" in l])
if not own_namespace("net"):
    escaped("the host's network namespace")
SIOCSIFFLAGS, SIOCSIFADDR, SIOCADDRT, SIOCSIFMTU, SIOCSIFNAME, SIOCBRADDBR = 0x8914, 0x8916, 0x890B, 0x8922, 0x8923, 0x89A0
for what, number, data in (("set flags", SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", 0x49)),
                           ("set address", SIOCSIFADDR, struct.pack("16sHH4s16x", b"lo", socket.AF_INET, 0, b"\x7f\0\0\1")),
                           ("set mtu", SIOCSIFMTU, struct.pack("16si20x", b"lo", 65536)), ("add a bridge", SIOCBRADDBR, b"kaabr0".ljust(16, b"\0"))):
    def change():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            fcntl.ioctl(s, number, data)

    works(what, change)
writes = [p for p in ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/conf/all/forwarding", "/proc/sys/net/core/somaxconn",
                      "/proc/sys/net/ipv4/ping_group_range", "/proc/sys/net/ipv4/tcp_max_tw_buckets") if os.path.exists(p)]
for path in writes:
    opens(path, os.O_WRONLY)
finish()
