# tries: fill the disk with large files
# strict: no space beyond the limit
# basic: not protected: there is no file system of its own; only single files are limited in size, and all are removed at the end
# end: ok HELD | exit MemoryLimitExceeded
# timeout: 60
# limits: {"diskBytes": 67108864}
# unsandboxed: either because the size may be limited at every level

ENOUGH = 1 << 30
chunk = bytes(4 << 20)
total = 0
names = []
for number in range(40):
    name = "big-%d" % number
    names.append(name)
    fd = os.open(name, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        try:
            os.posix_fallocate(fd, 0, 256 << 20)
            total += 256 << 20
        except OSError:
            pass
        for _ in range(64):
            total += os.write(fd, chunk)
            if total >= ENOUGH:
                break
    except OSError as error:
        note(total, error)
    os.close(fd)
    if total >= ENOUGH:
        break
if total >= ENOUGH:
    escaped("%d MB on the disk" % (total >> 20))
for name in names:
    os.unlink(name)
finish()
