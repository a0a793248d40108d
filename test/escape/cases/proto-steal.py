# tries: read the next command from the control socket in place of the worker
# strict: no other comes: a worker serves once
# basic: no other comes: a worker serves once
# end: interrupted
# timeout: 1
# unsandboxed: held because a worker serves once at every level

got = []
for fd in range(3, 4096):
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            continue
        s = socket.socket(fileno=os.dup(fd))
        s.settimeout(60)
        data = s.recv(65536)
        if data:
            escaped("read %.100r" % data)
            finish()
    except OSError:
        pass
time.sleep(60)
