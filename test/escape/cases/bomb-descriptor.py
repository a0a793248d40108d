# tries: open descriptors until there are no more, and hide more in messages that nobody receives
# strict: refused at the limit
# basic: refused at the limit
# end: ok HELD
# timeout: 30
# limits: {"openFiles": 256}
# unsandboxed: either because the number may be limited at every level

ENOUGH = 50000
count = 0
fds = []
try:
    while len(fds) < ENOUGH:
        fds.append(os.dup(0))
except OSError as error:
    note(len(fds), error)
count = len(fds)
for fd in fds[:100]:
    os.close(fd)
hidden = 0
try:
    keep = []
    while hidden < ENOUGH:
        left, right = socket.socketpair()
        keep.append((left, right))
        left.setblocking(False)
        try:
            while hidden < ENOUGH:
                socket_message = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 200))]
                left.sendmsg([b"x"], socket_message)
                hidden += 200
        except BlockingIOError:
            pass
except OSError as error:
    note(hidden, error)
if count >= ENOUGH:
    escaped("%d descriptors" % count)
if hidden >= ENOUGH:
    escaped("%d descriptors in messages" % hidden)
for fd in fds[100:]:
    os.close(fd)
finish()
