# tries: end its own execution early by forged frames, and go on afterwards
# strict: it lies about itself only, and is ended
# basic: it lies about itself only, and is ended
# end: any
# timeout: 5
# unsandboxed: held because it hurts itself only

def ids():
    """What its own execution is called, from the frames that called it."""
    frame = sys._getframe()
    while frame:
        for value in list(frame.f_locals.values()):
            if isinstance(value, dict) and isinstance(value.get("id"), str):
                yield value["id"]
        frame = frame.f_back


def sockets():
    for fd in range(3, 4096):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                yield fd
        except OSError:
            pass


if os.fork() == 0:
    os.setsid()
    libc.prctl(15, b"kaa-left", 0, 0, 0)
    time.sleep(60)
    os._exit(0)
for fd in sockets():
    for name in list(ids()) or ["?"]:
        os.write(fd, json.dumps({"id": name, "type": "status", "status": "ok", "exitCode": 0}).encode() + b"\n")
time.sleep(60)
