# tries: outlive its timeout under a storm of timers and signals to itself
# strict: killed after the grace
# basic: killed after the grace
# end: interrupted
# timeout: 1
# unsandboxed: held because the kill ladder works at every level

signal.signal(signal.SIGALRM, lambda *_: None)
signal.signal(signal.SIGPROF, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
signal.setitimer(signal.ITIMER_PROF, 0.0001, 0.0001)
parent = os.getpid()
if os.fork() == 0:
    while staying():
        os.kill(parent, signal.SIGALRM)
while staying():
    try:
        while staying():
            os.kill(parent, signal.SIGINT)
    except KeyboardInterrupt:
        pass
