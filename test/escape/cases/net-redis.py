# tries: reach Kaa's Redis and API over the loopback, at every way to write it
# strict: its loopback is its own, and nobody listens there
# basic: no socket can be made
# end: ok HELD

for name in ("redis", "api"):
    port = HINTS.get("ports", {}).get(name, 6379)
    for address in ("127.0.0.1", "127.0.0.2", "0.0.0.0", "127.255.255.254") + tuple(a for a in HINTS.get("addresses", []) if ":" not in a):
        connects("%s at %s" % (name, address), socket.AF_INET, (address, port), seconds=1)
    for address in ("::1", "::ffff:127.0.0.1", "::"):
        connects("%s at %s" % (name, address), socket.AF_INET6, (address, port), seconds=1)
for port in (6379, 8080, 22, 80, 53, 2375, 2376, 5432, 9090):
    connects("port %d" % port, socket.AF_INET, ("127.0.0.1", port), seconds=1)
finish()
