# tries: listen on ports of the host: low ones, and those of Redis and the API with SO_REUSEPORT
# strict: its ports are its own, and low ones are refused
# basic: no socket can be made
# end: ok HELD

def listen(port, family=socket.AF_INET, address=""):
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        s.bind((address, port))
        s.listen(1)


if not own_namespace("net"):
    for port in [0, 18222] + list(HINTS.get("ports", {}).values()):
        works("listen on %d" % port, listen, port)
        works("listen on %d, IPv6" % port, listen, port, socket.AF_INET6)
for port in (80, 443, 53, 1):
    works("listen on %d" % port, listen, port)
finish()
