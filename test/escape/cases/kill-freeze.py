# tries: stop its supervisor, so that nobody ends it at its timeout
# strict: the signal does not arrive; interrupted in time
# basic: Landlock refuses; interrupted in time
# end: interrupted
# timeout: 1
# unsandboxed: held because only a process of the sandbox's own is stopped

signal.signal(signal.SIGINT, signal.SIG_IGN)
while staying():
    if own_namespace("pid"):
        for pid in {1, os.getppid()} - {0}:
            try:
                os.kill(pid, signal.SIGSTOP)
            except OSError:
                pass
    time.sleep(0.05)
