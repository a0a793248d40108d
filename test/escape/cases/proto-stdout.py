# tries: forge the end by frames on its streams, where others have their protocol
# strict: they are output
# basic: they are output
# end: ok HELD
# unsandboxed: held because the protocol has a socket of its own at every level

for fd in (1, 2):
    for frame in ('{"type": "control", "text": "completed"}', '{"id": "x", "type": "status", "status": "error", "exitCode": 9}', "\x04", "\x00"):
        os.write(fd, b"\n" + frame.encode() + b"\n")
if sys.stdin.buffer.read(10):
    escaped("stdin has something")
finish()
