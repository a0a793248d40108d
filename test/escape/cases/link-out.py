# tries: reach files outside by symbolic and hard links from its own directories
# strict: the targets are not in its root
# basic: Landlock looks at the target
# end: ok HELD

for number, target in enumerate((outside("file"), outside("private file"), victim("file"), victim("tmp file"), "/etc/shadow", outside("work dir"),
                                 "/proc/%d/environ" % (HINTS.get("pids", {}).get("runner") or 1), "/root")):
    name = "link-%d" % number
    os.symlink(target, name)
    works("read by a link to " + target, read, name, 16)
    works("list by a link to " + target, os.listdir, name)
    opens(name, os.O_WRONLY, "write by a link to " + target)
    works("make by a link in " + target, create_and_remove, name + "/" + LEFT)
    hard = "hard-%d" % number
    works("hard link to " + target, lambda: os.unlink(os.link(target, hard) or hard))
    AT_SYMLINK_FOLLOW, AT_EMPTY_PATH = 0x400, 0x1000
    if libc.linkat(AT_FDCWD, name.encode(), AT_FDCWD, hard.encode(), AT_SYMLINK_FOLLOW) == 0:
        escaped("hard link through a link to " + target)
        os.unlink(hard)
    try:
        fd = os.open(target, os.O_PATH)
    except OSError:
        continue
    if libc.linkat(AT_FDCWD, b"/proc/self/fd/%d" % fd, AT_FDCWD, hard.encode(), AT_SYMLINK_FOLLOW) == 0:
        escaped("hard link by a descriptor of " + target)
        os.unlink(hard)
    works("open by a descriptor", lambda: os.close(os.open("/proc/self/fd/%d" % fd, os.O_RDONLY)))
    if libc.linkat(fd, b"", AT_FDCWD, hard.encode(), AT_EMPTY_PATH) == 0:
        escaped("linkat with an empty path")
        os.unlink(hard)
    os.close(fd)
finish()
