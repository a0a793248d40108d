# tries: leave a core dump, in its directory or by the system's handler
# strict: no core is dumped
# basic: no core is dumped
# end: ok HELD

def crash(number):
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        pass
    libc.prctl(4, 1, 0, 0, 0)  # dumpable
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    time.sleep(5)


for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGQUIT):
    pid = os.fork()
    if pid == 0:
        crash(number)
        os._exit(0)
    if os.WCOREDUMP(os.waitpid(pid, 0)[1]):
        escaped("core dump by signal %d" % number)
for where in (".", "/tmp", "/", "/var/crash", "/var/lib/systemd/coredump"):
    try:
        cores = [n for n in os.listdir(where) if n.startswith("core")]
    except OSError:
        continue
    for name in cores:
        escaped("%s/%s" % (where, name))
        if where == ".":
            os.unlink(name)
finish()
