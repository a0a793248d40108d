# tries: reach cloud metadata services and resolve names
# strict: there is no route, and no name server
# basic: no socket can be made
# end: ok HELD
# timeout: 60

for address in ("169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16"):
    connects(address, socket.AF_INET, (address, 80), send=b"", seconds=0.5)
connects("fd00:ec2::254", socket.AF_INET6, ("fd00:ec2::254", 80), send=b"", seconds=0.5)
servers = ["127.0.0.1", "127.0.0.53", "198.51.100.7"]
try:
    servers += re.findall(r"(?m)^nameserver\s+([0-9.]+)", read("/etc/resolv.conf").decode())
except OSError:
    pass
question = bytes.fromhex("1234010000010000000000000765786d61706c6503636f6d0000010001")
for server in servers:
    def ask():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.5)
            s.connect((server, 53))
            s.send(question)
            try:
                s.recv(512)
            except socket.timeout:
                pass

    works("DNS by " + server, ask)
socket.setdefaulttimeout(1)
for name in ("example.com", "metadata.google.internal", "redis", "host.docker.internal"):
    works("resolve " + name, socket.getaddrinfo, name, 80)
finish()
