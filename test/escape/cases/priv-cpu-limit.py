# tries: end by its own limit on CPU time, and go on after the warning
# strict: SIGXCPU, then SIGKILL; status exit
# basic: SIGXCPU, then SIGKILL; status exit
# end: exit
# timeout: 10
# unsandboxed: held because the limit is its own

signal.signal(signal.SIGXCPU, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_CPU, (1, 2))
while staying():
    pass
