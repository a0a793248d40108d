# tries: make device nodes, and open those it made
# strict: seccomp refuses
# basic: seccomp refuses
# end: ok HELD

for kind, name in ((stat.S_IFCHR, "chr"), (stat.S_IFBLK, "blk")):
    for device in (os.makedev(1, 3), os.makedev(1, 1), os.makedev(8, 0), 0):
        for where in (os.getcwd(), tempfile.gettempdir(), "/dev/shm", "/dev"):
            path = os.fsencode(os.path.join(where, "%s-%s" % (LEFT, name)))
            for call, arguments in (("mknod", ()), ("mknodat", (AT_FDCWD,))):
                result, code = raw(call, *arguments, path, kind | 0o600, device)
                if result == 0:
                    os.unlink(path)
                    escaped("%s %s in %s" % (call, name, where))
                elif code not in REFUSED + (errno.EROFS, errno.ENOENT):
                    escaped("%s: %s" % (call, errno.errorcode[code]))
    arrives("mknodat", AT_FDCWD, b"high", kind | 1 << 32 | 0o600, os.makedev(1, 3), what="mknodat with a high bit")
finish()
