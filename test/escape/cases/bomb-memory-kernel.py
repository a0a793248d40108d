# tries: take the kernel's memory: full pipes and socket buffers
# strict: bounded by the descriptors, the kernel's own limits or the memory limit
# basic: bounded by the descriptors, the kernel's own limits or the memory limit
# end: ok HELD | exit MemoryLimitExceeded
# timeout: 120
# limits: {"memoryBytes": 134217728, "openFiles": 256}
# unsandboxed: either because the kernel bounds it for ordinary users

ENOUGH = 500 << 20
F_SETPIPE_SZ = 1031
chunk = bytes(1 << 20)
total = 0
keep = []
try:
    while total < ENOUGH and len(keep) < 3000:
        reader, writer = os.pipe()
        keep.append(reader)
        try:
            fcntl.fcntl(writer, F_SETPIPE_SZ, 1 << 20)
        except OSError:
            pass
        os.set_blocking(writer, False)
        total += os.write(writer, chunk)
        left, right = socket.socketpair()
        keep += [left, right]
        left.setblocking(False)
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 26)
        for _ in range(64):
            total += left.send(chunk[:65536])
except OSError as error:
    note(total, len(keep), error)
    if error.errno == errno.EAGAIN and len(keep) < 3000:
        pass
time.sleep(0.2)
if total >= ENOUGH:
    escaped("%d MB in pipes and sockets" % (total >> 20))
finish()
