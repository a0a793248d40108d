# tries: connect to another execution's sockets: abstract, in the file system, TCP and UDP on the loopback
# strict: it has another network namespace
# basic: no socket can be made
# end: ok HELD

connects("abstract socket", socket.AF_UNIX, "\0" + victim("abstract").lstrip("\0"))
connects("abstract datagram", socket.AF_UNIX, "\0" + victim("abstract").lstrip("\0"), socket.SOCK_DGRAM)
connects("socket file", socket.AF_UNIX, victim("socket"))
port = HINTS.get("victim", {}).get("port") or 9
for address in ("127.0.0.1", "127.0.0.2", "0.0.0.0"):
    connects("port at " + address, socket.AF_INET, (address, port))
connects("port at ::1", socket.AF_INET6, ("::1", port))
try:
    text = read("/proc/net/unix")
except OSError:
    text = b""
if victim("abstract").encode() in text:
    escaped("its abstract socket is listed")
finish()
