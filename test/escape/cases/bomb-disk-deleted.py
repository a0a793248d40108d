# tries: fill the disk with files that have no name any more
# strict: no space beyond the limit
# basic: not protected: there is no file system of its own; only single files are limited in size, and all are removed at the end
# end: ok HELD | exit MemoryLimitExceeded
# timeout: 60
# limits: {"diskBytes": 67108864}
# unsandboxed: either because the size may be limited at every level

ENOUGH = 1 << 30
chunk = bytes(4 << 20)
total = 0
O_TMPFILE = 0o20200000
for number in range(40):
    try:
        if number % 2:
            fd = os.open(".", O_TMPFILE | os.O_WRONLY, 0o600)
        else:
            fd = os.open("gone", os.O_CREAT | os.O_WRONLY, 0o600)
            os.unlink("gone")
        for _ in range(16):
            total += os.write(fd, chunk)
        time.sleep(0.05)
    except OSError as error:
        note(total, error)
    if total >= ENOUGH:
        escaped("%d MB without a name" % (total >> 20))
        break
finish()
