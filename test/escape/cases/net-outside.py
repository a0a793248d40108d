# tries: send packets to the internet and to the local network: TCP, UDP, ICMP, multicast, broadcast, IPv4 and IPv6
# strict: its network has nothing but a loopback
# basic: no socket can be made
# end: ok HELD
# timeout: 60

addresses = ["198.51.100.7", "203.0.113.7", "192.0.2.1", "10.0.0.1", "172.17.0.1", "192.168.0.1", "100.64.0.1", "224.0.0.1", "255.255.255.255"]
addresses += HINTS.get("addresses", [])
for address in addresses:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        def send():
            with socket.socket(family, kind, socket.IPPROTO_ICMP if kind == socket.SOCK_RAW else 0) as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                s.settimeout(1)
                s.sendto(b"\x08\x00\xf7\xff\x00\x00\x00\x00", (address, 53 if kind == socket.SOCK_DGRAM else 0))

        works("send to " + address, send)
for address in ("2001:db8::7", "fe80::1", "ff02::1", "fd00::1"):
    def send6():
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
            s.sendto(b"x", (address, 53))

    works("send to " + address, send6)
for address in ("198.51.100.7", "192.0.2.1"):
    for port in (53, 80, 443):
        connects("%s:%d" % (address, port), socket.AF_INET, (address, port), seconds=0.5)
connects("IPv6", socket.AF_INET6, ("2001:db8::7", 443), seconds=0.5)
finish()
