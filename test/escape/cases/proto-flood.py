# tries: fill the runner's memory by a frame that never ends
# strict: ends the worker at the bound of a frame
# basic: ends the worker at the bound of a frame
# end: exit ProtocolError
# timeout: 120
# unsandboxed: held because frames are bounded at every level

sent = 0
for fd in range(3, 4096):
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            continue
        os.set_blocking(fd, True)
        os.write(fd, b'{"id":"')
        while sent < 1 << 30:
            sent += os.write(fd, b"x" * 65536)
    except OSError:
        pass
if sent >= 1 << 30:
    escaped("the runner took 1 GB")
    finish()
elif not sent:
    raise RuntimeError("found no socket")
else:
    time.sleep(60)
