# tries: take away from the worker, by limits on itself, what it needs to end in order
# strict: it may hurt itself only: the execution ends
# basic: it may hurt itself only: the execution ends
# end: any
# timeout: 5
# unsandboxed: held because it hurts itself only

for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC, resource.RLIMIT_STACK, resource.RLIMIT_DATA, resource.RLIMIT_AS):
    resource.setrlimit(kind, (0, 0))
raise ValueError("x")
