# tries: take memory as files that live in memory: /tmp, /dev/shm, the work directory
# strict: a full file system, or ended at the memory limit
# basic: not protected: there is no file system of its own; only single files are limited in size, and all are removed at the end
# end: ok HELD | exit MemoryLimitExceeded
# timeout: 120
# limits: {"memoryBytes": 134217728, "diskBytes": 67108864}
# unsandboxed: either because the size may be limited at every level

ENOUGH = 600 << 20
chunk = os.urandom(1 << 20)
total = 0
made = []
for top in {os.getcwd(), tempfile.gettempdir(), "/dev/shm", "/tmp", os.environ.get("HOME", ".")}:
    for number in range(20):
        name = os.path.join(top, "%s-%d-%d" % (LEFT, os.getpid(), number))
        try:
            fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except OSError:
            break
        made.append(name)
        try:
            for _ in range(64):
                total += os.write(fd, chunk)
                if total >= ENOUGH:
                    break
        except OSError as error:
            note(name, total, error)
        os.close(fd)
        if total >= ENOUGH:
            break
for name in made:
    os.unlink(name)
if total >= ENOUGH:
    escaped("%d MB of files" % (total >> 20))
finish()
