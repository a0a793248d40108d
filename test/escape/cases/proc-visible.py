# tries: see other processes
# strict: only those that it has started
# basic: not protected: there is no pid namespace; ids and names of processes may show, their environment and memory do not
# end: ok HELD

found = [pid for pid in visible_pids() if (pid != 1 or own_namespace("pid")) and not is_ours(pid)]
if found:
    escaped("processes %s" % found[:20])
if not own_namespace("pid"):
    escaped("the host's pid namespace")
for name, pid in HINTS.get("pids", {}).items():
    if pid and pid > 100:
        finds("%s by stat" % name, os.path.exists, "/proc/%d" % pid)
        finds("%s by getpgid" % name, os.getpgid, pid)
        finds("%s by getsid" % name, os.getsid, pid)
        finds("%s by scheduler" % name, lambda: os.sched_getaffinity(pid))
load = "/proc/self/sched"
if os.path.exists("/proc/self/status"):
    chain = status_of("self").get("NSpid", "").split()
    if len(chain) > 1:
        escaped("knows its pid outside: %s" % chain)
finish()
