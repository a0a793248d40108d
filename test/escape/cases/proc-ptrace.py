# tries: trace the runner, the supervisor, its own child and itself
# strict: seccomp refuses ptrace
# basic: seccomp refuses ptrace
# end: ok HELD

PTRACE_TRACEME, PTRACE_ATTACH, PTRACE_DETACH, PTRACE_SEIZE, PTRACE_PEEKDATA = 0, 16, 17, 0x4206, 2
for pid in strangers():
    if arrives("ptrace", PTRACE_SEIZE, pid, 0, 0, held=(errno.ESRCH,), what="seize %d" % pid):
        raw("ptrace", PTRACE_DETACH, pid, 0, 0)
child = os.fork()
if child == 0:
    time.sleep(10)
    os._exit(0)
if arrives("ptrace", PTRACE_SEIZE, child, 0, 0, what="seize a child"):
    raw("ptrace", PTRACE_DETACH, child, 0, 0)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
in_child(lambda: arrives("ptrace", PTRACE_TRACEME, 0, 0, 0, what="traceme"))
finish()
