# tries: signal the runner and another execution, in every way there is
# strict: it has another pid namespace
# basic: Landlock refuses
# end: ok HELD

gentle = (0, signal.SIGURG, signal.SIGWINCH)  # ignored where nobody asked for them
info = struct.pack("iii", 0, 0, -1) + bytes(116)
pids = {pid for pid in HINTS.get("pids", {}).values() if pid and not is_ours(pid)} | {os.getppid()}
pids.discard(0)
for pid in pids:
    if pid == 1 and own_namespace("pid"):
        continue  # the supervisor: kill-init tries that
    for number in gentle if pid != 1 else (0,):
        works("kill %d" % pid, os.kill, pid, number)
        if pid > 1:
            works("killpg %d" % pid, os.killpg, pid, number)
        for name, arguments in (("tkill", (pid, number)), ("tgkill", (pid, pid, number)), ("rt_sigqueueinfo", (pid, number, info)),
                                ("rt_tgsigqueueinfo", (pid, pid, number, info))):
            arrives(name, *arguments, held=(errno.ESRCH,), what="%s %d" % (name, pid))
    if pid == 1:
        continue
    # A signal on behalf of a descriptor.
    left, right = socket.socketpair()
    try:
        fcntl.fcntl(left, fcntl.F_SETOWN, pid)
        fcntl.fcntl(left, 10, signal.SIGURG)  # F_SETSIG
        fcntl.fcntl(left, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        right.send(b"x")
    except OSError:
        pass
finish()
