# tries: watch the directories of the runner and of another execution, to learn names and times
# strict: they are not in its root
# basic: not protected: Landlock does not cover inotify; names and times show, contents do not
# end: ok HELD

fd = libc.inotify_init1(0)
IN_ALL_EVENTS = 0xFFF
for path in (outside("dir"), outside("file"), outside("work dir"), victim("dir"), victim("file"), os.path.dirname(os.path.dirname(os.getcwd())) + "/work", "/root", "/var/log", "/home"):
    if os.path.realpath(path) in ("/work", "/"):
        continue
    ctypes.set_errno(0)
    if fd >= 0 and libc.inotify_add_watch(fd, os.fsencode(path), IN_ALL_EVENTS) >= 0:
        escaped("watch " + path)
finish()
