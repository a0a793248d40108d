# tries: use up the runner's descriptors by sending it some over the control socket
# strict: the runner does not receive them
# basic: the runner does not receive them
# end: any
# timeout: 10
# unsandboxed: held because the runner does not receive descriptors at any level

fds = array.array("i", [os.open("/dev/null", os.O_RDONLY) for _ in range(50)])
sent = 0
for fd in range(3, 4096):
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            continue
    except OSError:
        continue
    s = socket.socket(fileno=os.dup(fd))
    s.setblocking(False)
    for _ in range(200):
        try:
            sent += s.sendmsg([b" "], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        except OSError:
            break
if not sent:
    raise RuntimeError("found no socket")
time.sleep(1)
finish()
