# tries: outlive its timeout in a wait that only SIGKILL ends: a parent of vfork
# strict: killed after the grace, with the child
# basic: killed after the grace, with the child
# end: interrupted
# timeout: 1
# unsandboxed: held because the kill ladder works at every level

CLONE_VFORK = 0x4000
pid, code = raw("clone", CLONE_VFORK | signal.SIGCHLD, 0, 0, 0, 0)
if pid == 0:
    libc.prctl(15, b"kaa-left", 0, 0, 0)
    while staying():
        time.sleep(1)
# The parent is back only if the child could not be made or has ended.
escaped("vfork: %d %d" % (pid, code))
finish()
