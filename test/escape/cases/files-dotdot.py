# tries: climb out of the root with dot-dot, directory descriptors, openat2 and a chroot inside
# strict: its root is a root of its own: nothing is above
# basic: Landlock looks at the file, not at the way to it
# end: ok HELD

target = outside("file").lstrip("/")
up = "../" * 40
works("climb", read, up + target)
for top in (".", "/", tempfile.gettempdir(), "/proc/self/cwd", "/proc/self/root", "/proc/self/fd", "/dev", "/usr/lib", "/dev/shm"):
    works("climb from " + top, read, os.path.join(top, up + target))
    try:
        fd = os.open(top, os.O_PATH | os.O_DIRECTORY)
    except OSError:
        continue
    works("openat from " + top, lambda: os.close(os.open(up + target, os.O_RDONLY, dir_fd=fd)))
    for resolve in (0, 0x10, 0x08):  # RESOLVE_IN_ROOT, RESOLVE_BENEATH
        result, code = raw("openat2", fd, (up + target).encode() + b"\0", struct.pack("QQQ", os.O_RDONLY, 0, resolve), 24)
        if result >= 0:
            escaped("openat2 from %s with %#x" % (top, resolve))
    try:
        os.fchdir(fd)
    except OSError:
        continue
    for _ in range(40):
        os.chdir("..")
    works("climb by chdir from " + top, read, target)
os.chdir(os.environ.get("HOME", "/tmp"))


def chroot_twice():
    fd = os.open(".", os.O_RDONLY)
    os.mkdir("jail")
    os.chroot("jail")
    os.fchdir(fd)
    for _ in range(40):
        os.chdir("..")
    os.chroot(".")
    return read("/" + target)


in_child(works, "chroot twice", chroot_twice)
finish()
