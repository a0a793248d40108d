# tries: speak on the control socket after the end, from a process that runs away with it
# strict: the process ends with the sandbox
# basic: the process ends with the execution
# end: ok HELD
# timeout: 10
# unsandboxed: held because a socket serves one execution at every level

import _posixsubprocess  # noqa: F401 - forks without the hooks that close the socket

sockets = []
for fd in range(3, 4096):
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            sockets.append(os.dup(fd))
    except OSError:
        pass
pid = os.fork()
if pid == 0:
    os.setsid()
    libc.prctl(15, b"kaa-left", 0, 0, 0)
    time.sleep(0.1)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for fd in sockets:
            try:
                os.write(fd, b'{"id":"x","type":"status","status":"ok","exitCode":0}\n')
            except OSError:
                pass
        time.sleep(0.001)
    os._exit(0)
finish()
