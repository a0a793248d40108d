# tries: end another execution, or speak for it, by frames with its ids
# strict: a frame with another id ends the worker that sent it
# basic: a frame with another id ends the worker that sent it
# end: exit ProtocolError
# timeout: 120
# unsandboxed: held because ids are checked at every level

sent = 0
for fd in range(3, 4096):
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            continue
        for name in (HINTS.get("victim", {}).get("session"), HINTS.get("victim", {}).get("job"), "*", ""):
            for kind in ("status", "error", "ready", "stream", "shutdown"):
                os.write(fd, json.dumps({"id": name, "type": kind, "cmd": kind, "status": "ok", "exitCode": 0, "name": "x", "value": "x", "version": 1}).encode() + b"\n")
                sent += 1
    except OSError:
        pass
if not sent:
    raise RuntimeError("found no socket")
time.sleep(60)
