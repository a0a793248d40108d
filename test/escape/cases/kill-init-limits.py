# tries: have the kernel end its supervisor, by limits that it sets on it from outside
# strict: refused, or it ends itself only
# basic: refused, or it ends itself only
# end: any
# timeout: 5
# unsandboxed: held because only a supervisor of the sandbox's own is attacked

if own_namespace("pid"):
    for kind in (resource.RLIMIT_CPU, resource.RLIMIT_NOFILE, resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_STACK, resource.RLIMIT_FSIZE):
        try:
            resource.prlimit(os.getppid(), kind, (0, 0))
        except (OSError, ValueError):
            pass
    for _ in range(200):  # keep it busy: it takes over orphans
        if os.fork() == 0:
            if os.fork() == 0:
                os._exit(0)
            os._exit(0)
        os.wait()
    time.sleep(2)
finish()
