# tries: end or stop the supervisor, pid 1 of its namespace, with every signal
# strict: Landlock and the pid namespace refuse; the supervisor goes on
# basic: Landlock refuses, the supervisor being its parent
# end: ok HELD

targets = {os.getppid()} | ({1} if own_namespace("pid") else set())
for pid in targets - {0}:
    if own_namespace("pid"):
        for number in range(1, 65):
            try:
                os.kill(pid, number)
            except OSError:
                continue
    else:  # somebody of the host: asking is enough
        works("signal %d" % pid, os.kill, pid, 0)
        works("process group of %d" % pid, lambda: os.killpg(os.getpgid(pid), 0) if os.getpgid(pid) != os.getpgrp() else os.stat("/nonexistent"))
# The supervisor still does its work: it takes over orphans.
if own_namespace("pid"):
    time.sleep(0.3)
    reader, writer = os.pipe()
    if os.fork() == 0:
        if os.fork() == 0:
            time.sleep(0.2)
            os.write(writer, b"%d" % os.getppid())
            os._exit(0)
        os._exit(0)
    os.wait()
    if not os.read(reader, 20):
        escaped("orphans are not taken over")
finish()
