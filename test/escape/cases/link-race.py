# tries: exchange a directory for a link again and again while the clean-up runs
# strict: its file systems end without being walked, its processes before
# basic: its processes end before the clean-up
# end: ok HELD
# unsandboxed: held because processes end before the clean-up at every level, and the test looks at the target afterwards

os.mkdir("x")
for i in range(50):
    os.makedirs("x/d%d/e" % i)
    with open("x/d%d/e/f" % i, "w"):
        pass
os.symlink(outside("dir"), "y")
pid = os.fork()
if pid == 0:
    os.setsid()
    libc.prctl(15, b"kaa-left", 0, 0, 0)
    os.closerange(0, 1024)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        libc.renameat2(AT_FDCWD, b"x", AT_FDCWD, b"y", 2)
        for i in range(0, 50, 7):
            libc.renameat2(AT_FDCWD, b"x/d%d" % i, AT_FDCWD, b"y", 2)
    os._exit(0)
time.sleep(0.05)
finish()
