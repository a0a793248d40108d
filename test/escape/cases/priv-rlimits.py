# tries: raise its resource limits, or find one missing
# strict: hard limits hold; descriptors, processes, file size, pending signals and core files are limited
# basic: hard limits hold; descriptors, processes, file size, pending signals and core files are limited
# end: ok HELD

def raise_limit(kind, name):
    soft, hard = resource.getrlimit(kind)
    for new in (resource.RLIM_INFINITY, hard + 1, hard * 2):
        if hard == resource.RLIM_INFINITY or new == hard:
            continue
        try:
            resource.setrlimit(kind, (soft, new))
            escaped("raised %s to %d" % (name, new))
            resource.setrlimit(kind, (soft, hard))
        except (OSError, ValueError, OverflowError):
            pass


for name in dir(resource):
    if name.startswith("RLIMIT_"):
        raise_limit(getattr(resource, name), name)
for kind, most in ((resource.RLIMIT_NOFILE, 1 << 16), (resource.RLIMIT_NPROC, 1 << 14), (resource.RLIMIT_FSIZE, 1 << 40), (resource.RLIMIT_CORE, 0),
                   (resource.RLIMIT_SIGPENDING, 1024)):
    hard = resource.getrlimit(kind)[1]
    if hard == resource.RLIM_INFINITY or hard > most:
        escaped("limit %d is %d" % (kind, hard))
for kind in (resource.RLIMIT_RTPRIO, resource.RLIMIT_NICE):
    hard = resource.getrlimit(kind)[1]
    if hard != 0:
        escaped("limit %d is %d" % (kind, hard))
code, text = output("sh", "-c", "ulimit -Hn unlimited || ulimit -Hn 999999")
if code == 0:
    escaped("the shell raised a limit")
finish()
