# tries: reach its supervisor or the runner through its process group and session
# strict: they are not in its group
# basic: they are not in its group
# end: ok HELD
# unsandboxed: held because each interpreter has a process group of its own at every level

group = os.getpgrp()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
if group == 0:
    escaped("its process group is outside")
elif own_namespace("pid") or group == os.getpid():
    for number in (signal.SIGTERM, signal.SIGHUP):
        os.killpg(0, number)
        os.kill(0, number)
else:
    escaped("process group %d is not its own" % group)
works("join the parent's group", lambda: os.setpgid(0, os.getpgid(os.getppid())) if os.getpgid(os.getppid()) not in (0, os.getpgrp()) else os.stat("/nonexistent"))
works("terminal", lambda: os.tcsetpgrp(0, os.getpgrp()))
time.sleep(0.2)
finish()
