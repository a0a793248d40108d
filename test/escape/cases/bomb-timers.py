# tries: use up timers, queued signals, inotify instances, epolls, eventfds and locks
# strict: bounded by its limits
# basic: bounded by its limits
# end: ok HELD
# timeout: 30
# unsandboxed: held because the kernel bounds them for everybody

timer = ctypes.c_void_p()
made = 0
while made < 20000 and libc.timer_create(1, None, ctypes.byref(timer)) == 0:
    made += 1
watches = 0
for _ in range(300):
    fd = libc.inotify_init1(0)
    if fd < 0:
        break
    libc.inotify_add_watch(fd, b".", 0xFFF)
    watches += 1
locks = os.open("locks", os.O_CREAT | os.O_RDWR, 0o600)
try:
    for i in range(0, 10000, 2):  # the kernel looks at all of them for each
        fcntl.lockf(locks, fcntl.LOCK_EX, 1, i)
except OSError:
    pass
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
info = struct.pack("iii", signal.SIGRTMIN, 0, -1) + bytes(116)
queued = 0
while queued < 20000 and raw("rt_sigqueueinfo", os.getpid(), signal.SIGRTMIN, info)[0] == 0:
    queued += 1
# Timers count as well: a user has a number of both for all sandboxes together.
if made + queued > 1024:
    escaped("%d timers and %d signals" % (made, queued))
finish()
