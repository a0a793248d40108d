# tries: have the machine write all of its disks, at which everybody waits, and move pages between processes without copies
# strict: sync and syncfs do nothing; seccomp refuses vmsplice and tee
# basic: sync and syncfs do nothing; seccomp refuses vmsplice and tee
# end: ok HELD

# What does nothing does not look at its arguments.
for number in (-1, 1 << 20):
    result, code = raw("syncfs", number)
    if code:
        escaped("syncfs: " + errno.errorcode[code])
for _ in range(1000):
    if raw("sync") != (0, 0):
        escaped("sync fails")
reader, writer = os.pipe()
arrives("vmsplice", writer, None, 0, 0)
arrives("tee", -1, -1, 1, 0)
finish()
