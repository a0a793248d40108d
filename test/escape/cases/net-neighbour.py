# tries: use the proxy of a neighbour that has a network, without one of its own: at every address of the loopback, by abstract names, and in the kernel's tables
# strict: the neighbour's proxy listens in the neighbour's network
# basic: no socket can be made
# unsandboxed: held because the neighbour has a network, and with it a proxy, at strict only
# end: ok HELD

PROXY = 3128
for address in ("127.0.0.1", "127.0.0.2", "0.0.0.0", "127.255.255.254") + tuple(a for a in HINTS.get("addresses", []) if ":" not in a):
    connects("the proxy at %s" % address, socket.AF_INET, (address, PROXY), send=b"CONNECT allowed.invalid:80 HTTP/1.1\r\nHost: x\r\n\r\n", seconds=1)
for address in ("::1", "::ffff:127.0.0.1", "::"):
    connects("the proxy at %s" % address, socket.AF_INET6, (address, PROXY), seconds=1)
for name in ("\0kaa-proxy", "\0kaa", "\0proxy", "\x003128"):
    connects("an abstract socket", socket.AF_UNIX, name, seconds=1)


def listeners(path):
    with open(path) as table:
        return [line for line in table.readlines()[1:] if line.split()[1].endswith(":%04X" % PROXY)]


for path in ("/proc/net/tcp", "/proc/net/tcp6", "/proc/self/net/tcp", "/proc/1/net/tcp"):
    finds("the proxy in " + path, listeners, path)
for name in os.environ:
    if name.lower().endswith("_proxy"):
        escaped("%s is set" % name)
finish()
