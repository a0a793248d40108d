# tries: watch the directories of the runner, of another execution and of the system, to learn names and times, and use up the watches of all
# strict: seccomp refuses
# basic: seccomp refuses
# end: ok HELD

F_NOTIFY, F_SETSIG, DN_ACCESS = 1026, 10, 1
arrives("inotify_init")
arrives("inotify_init1", 0, close=True)
arrives("inotify_add_watch", -1, b".", 0xFFF)
signal.signal(signal.SIGIO, signal.SIG_IGN)  # in which it would be told


def watch(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.fcntl(fd, F_NOTIFY, DN_ACCESS)
    finally:
        os.close(fd)  # which ends it


for path in (outside("dir"), victim("dir"), os.path.dirname(os.__file__), "/usr/bin", "/etc", "/", "."):
    works("watch " + path, watch, path)
fd = os.open(".", os.O_RDONLY)
arrives("fcntl", fd, F_NOTIFY | 1 << 32, 0, held=(errno.EINVAL,), what="watch with a wide number")
finish()
