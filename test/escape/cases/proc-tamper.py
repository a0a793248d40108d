# tries: change limits, priorities, processors and schedulers of the runner and of other executions
# strict: it sees no other processes but its supervisor
# basic: not protected: processes of the runner's user can be given other priorities and limits
# end: ok HELD

IOPRIO_WHO_PROCESS = 1
for pid in sorted({os.getppid()} | {pid for pid in HINTS.get("pids", {}).values() if pid and not is_ours(pid)}):
    works("limits of %d" % pid, lambda: resource.prlimit(pid, resource.RLIMIT_CORE, resource.prlimit(pid, resource.RLIMIT_CORE)))
    works("priority of %d" % pid, lambda: os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid)))
    works("processors of %d" % pid, lambda: os.sched_setaffinity(pid, os.sched_getaffinity(pid)))
    works("scheduler of %d" % pid, lambda: os.sched_setscheduler(pid, os.sched_getscheduler(pid), os.sched_getparam(pid)))
    result, code = raw("ioprio_set", IOPRIO_WHO_PROCESS, pid, 2 << 13 | 4)
    if result == 0:
        escaped("disk priority of %d" % pid)
finish()
