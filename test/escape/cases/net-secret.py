# tries: learn the secret that its proxy puts into requests: from the sandbox, from the proxy's answers, in the clear, by TRACE, at another host
# strict: the runner puts it in outside of the sandbox, over TLS, for the destinations of the secret
# basic: no socket can be made
# unsandboxed: either because without a sandbox the runner's own variables can be read, where the same secret is
# network: {"http": [{"to": "allowed.invalid:*", "headers": {"X-Secret": {"secret": "escape"}}}]}
# end: ok HELD
# timeout: 60

import glob
import ssl

PLAIN = b"%s http://allowed.invalid%s HTTP/1.1\r\nHost: %s\r\nConnection: close%s\r\n\r\n"
INNER = b"%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close%s\r\n\r\n"


def asks(request, tunnel=None, secure=False):
    proxy = socket.create_connection(("127.0.0.1", 3128), 10)
    try:
        if tunnel:
            proxy.sendall(b"CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n" % tunnel)
            if b" 200 " not in proxy.recv(4096):
                raise ConnectionRefusedError("no tunnel")
        if secure:
            proxy = ssl.create_default_context().wrap_socket(proxy, server_hostname="allowed.invalid")
        proxy.sendall(request)
        answer = b""
        while len(answer) < 1 << 16:
            more = proxy.recv(4096)
            if not more:
                break
            answer += more
        return answer
    finally:
        proxy.close()


def secrets(*args, **kwargs):
    return SECRET.findall(asks(*args, **kwargs))


api = b"127.0.0.1:%d" % HINTS.get("ports", {}).get("api", 80)
for method in (b"GET", b"TRACE", b"OPTIONS", b"POST"):
    for more in (b"", b"\r\nMax-Forwards: 0", b"\r\nConnection: X-Secret", b"\r\nUpgrade: h2c"):
        finds("%s in the clear" % method, secrets, PLAIN % (method, b"/", api, more))
# Those that the rule allows wait for a lookup of the name.
for method, host, more in ((b"GET", api, b"\r\nConnection: X-Secret"), (b"OPTIONS", b"allowed.invalid", b"\r\nMax-Forwards: 0"), (b"TRACE", api, b"")):
    finds("%s over TLS" % method, secrets, INNER % (method, b"/", host, more), tunnel=b"allowed.invalid:443", secure=True)
finds("in the clear at the port of TLS", secrets, INNER % (b"GET", b"/", b"x", b""), tunnel=b"allowed.invalid:443")
works("a tunnel elsewhere", asks, INNER % (b"GET", b"/healthz", api, b""), tunnel=api)


def within(path):
    with open(path, "rb") as file:
        return SECRET.findall(file.read(1 << 22))


for path in glob.glob("/etc/kaa/*") + glob.glob("/proc/*/environ") + glob.glob("/proc/*/cmdline") + glob.glob("/run/*") + glob.glob("/tmp/*"):
    if os.path.isfile(path):
        finds(path, within, path)
finish()
