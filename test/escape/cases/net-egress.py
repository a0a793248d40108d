# tries: reach, by the proxy of a sandbox with a network, what no request can open: Kaa, its Redis, the machine and the metadata service by name, address, odd notation, another Host, SOCKS, and pipelined requests
# strict: the proxy refuses all of it
# basic: no socket can be made
# network: {"allow": ["127.0.0.1:*", "[::1]:*", "localhost:*", "169.254.169.254:*", "10.0.0.1:*", "allowed.invalid:*"]}
# end: ok HELD
# timeout: 60

ports = [HINTS.get("ports", {}).get(name, 6379) for name in ("redis", "api")]
GOOD = (b"HTTP/1.1 2", b"HTTP/1.0 2", b"HTTP/1.1 3", b"+PONG", b"-NOAUTH")


def says(*parts):
    with socket.create_connection(("127.0.0.1", 3128), 10) as proxy:
        answer = b""
        try:
            for part in parts:
                proxy.sendall(part)
            while len(answer) < 1 << 16:
                more = proxy.recv(4096)
                if not more:
                    break
                answer += more
        except OSError:
            pass
    if not (answer.startswith(GOOD) or b"application/" in answer or answer.startswith(b"\x05\x00\x05\x00") or b"\r\n\r\nHTTP/1.1 2" in answer):
        raise ConnectionRefusedError("refused: %r" % answer[:100])


def asks(host, port):
    at = b"%s:%d" % (host.encode(), port)
    works("CONNECT " + at.decode(), says, b"CONNECT %s HTTP/1.1\r\nHost: allowed.invalid\r\n\r\nPING\r\n" % at)
    works("GET " + at.decode(), says, b"GET http://%s/healthz HTTP/1.1\r\nHost: allowed.invalid\r\nConnection: close\r\n\r\n" % at)
    name = host.strip("[]").encode()
    works("SOCKS " + at.decode(), says, b"\x05\x01\x00", b"\x05\x01\x00\x03" + bytes([len(name)]) + name + struct.pack(">H", port), b"PING\r\n")


for port in ports:
    connects("directly", socket.AF_INET, ("127.0.0.1", port), seconds=1)
    for host in ("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "localhost.", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "127.0.0.2",
                 "[64:ff9b::7f00:1]", "allowed.invalid@127.0.0.1"):
        asks(host, port)
for host in ("169.254.169.254", "[::ffff:169.254.169.254]", "2852039166", "10.0.0.1"):
    asks(host, 80)
inner = b"GET http://127.0.0.1:%d/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % ports[1]
outer = b"POST http://127.0.0.1:%d/ HTTP/1.1\r\nHost: x\r\n%s\r\n"
for headers, body in ((b"Content-Length: 0\r\n", inner), (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + inner), (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n" + inner)):
    works("a request behind another one", says, outer % (ports[1], headers) + body)
at = b"127.0.0.1:%d" % ports[1]
for what, request in (("in the body of a CONNECT", b"CONNECT no.invalid:80 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(inner), inner)),
                      ("after a CONNECT in chunks", b"CONNECT no.invalid:80 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner),
                      ("by lines in a header", b"GET http://allowed.invalid/ HTTP/1.1\r\nHost: x\rHost: %s\r\n\r\n%s" % (at, inner)),
                      ("by lines in a URL", b"GET http://allowed.invalid/%%0d%%0a%%0d%%0aGET%%20http://%s/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % at),
                      ("by a user in a URL", b"GET http://allowed.invalid@%s/healthz HTTP/1.1\r\nHost: allowed.invalid\r\nConnection: close\r\n\r\n" % at),
                      ("by two hosts", b"GET http://allowed.invalid/ HTTP/1.1\r\nHost: allowed.invalid\r\nHost: %s\r\n\r\n" % at),
                      ("by an upgrade", b"GET http://%s/healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" % at)):
    works("a request " + what, says, request)
finish()
