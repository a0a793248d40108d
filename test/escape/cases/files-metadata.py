# tries: change modes, owners, times and attributes of files outside its directories
# strict: none is in its root but the system's own and devices, on mounts that are read-only
# basic: not protected: Landlock does not cover what is not contents; modes, times and attributes of files of the runner's user can be changed
# end: ok HELD

XATTR = "user.kaa"
devices = ["/dev/" + name for name in ("null", "zero", "full", "random", "urandom", "tty", "pts", "pts/ptmx")]
for path in [path for path in devices if os.path.exists(path)] + ["/dev"]:
    works("chmod " + path, lambda: os.chmod(path, stat.S_IMODE(os.stat(path).st_mode)))
    works("chown " + path, lambda: os.chown(path, os.stat(path).st_uid, os.stat(path).st_gid))
    works("utime " + path, lambda: os.utime(path, ns=(os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns)))
    works("touch " + path, os.utime, path)  # which all may who can write to it
with open("/dev/null", "wb", buffering=0) as null:
    works("touch an open device", os.utime, null.fileno())
    works("chown an open device", os.fchown, null.fileno(), -1, -1)
for path in (outside("file"), outside("dir"), outside("work dir"), victim("file"), victim("dir"), os.__file__, "/usr/bin/env", "/etc/passwd", "/usr", "/"):
    works("chmod " + path, lambda: os.chmod(path, stat.S_IMODE(os.stat(path).st_mode)))
    works("fchmod " + path, lambda: os.chmod("/proc/self/fd/%d" % os.open(path, os.O_PATH), stat.S_IMODE(os.stat(path).st_mode)))
    works("chown " + path, lambda: os.chown(path, os.stat(path).st_uid, os.stat(path).st_gid))
    works("utime " + path, lambda: os.utime(path, ns=(os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns)))
    works("touch " + path, lambda: os.utime(path) if path.startswith(outside("dir")) else os.stat("/nonexistent"))
    works("setxattr " + path, lambda: (os.setxattr(path, XATTR, b"1"), os.removexattr(path, XATTR)))
    works("truncate " + path, lambda: os.truncate(path, os.path.getsize(path)) if os.path.isfile(path) else os.stat("/nonexistent"))
finish()
