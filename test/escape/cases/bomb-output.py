# tries: drown the runner in output, on both streams and from many processes
# strict: the middle is dropped and counted, the run goes on
# basic: the middle is dropped and counted, the run goes on
# end: ok HELD
# timeout: 60
# unsandboxed: held because output is bounded at every level

pids = []
for number in range(4):
    pid = os.fork()
    if pid == 0:
        chunk = (b"%d" % number) * 65536
        for _ in range(1024):
            os.write(1 + number % 2, chunk)
        os._exit(0)
    pids.append(pid)
for pid in pids:
    os.waitpid(pid, 0)
print()
finish()
