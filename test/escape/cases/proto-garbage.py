# tries: confuse the runner with what is no frame: binary, deep, huge and odd JSON
# strict: ends the worker that sent it
# basic: ends the worker that sent it
# end: exit ProtocolError
# timeout: 120
# unsandboxed: held because frames are checked at every level

frames = [b"\0" * 100 + b"\n", b"\xff\xfe{}\n", b"[" * 100000 + b"\n", b'{"type":"status","exitCode":1e400}\n', b'{"type":"status","exitCode":-1}\n',
          b"null\n", b"{}\n", b"\n", b'{"type":null}\n', b'{"type":{"a":' * 5000 + b"1" + b"}}" * 5000 + b"\n", b'{"id":' + b"9" * 100000 + b"}\n"]
sent = 0
for fd in range(3, 4096):
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            for frame in frames:
                sent += os.write(fd, frame)
    except OSError:
        pass
if not sent:
    raise RuntimeError("found no socket")
time.sleep(60)
