# tries: take leases on shared system files, so that others who open them have to wait
# strict: the files are not its own
# basic: seccomp refuses leases
# end: ok HELD

F_SETLEASE = 1024
for path in (os.__file__, os.path.join(os.path.dirname(os.__file__), "antigravity.py"), os.path.join(os.path.dirname(os.__file__), "this.py"),
             "/usr/bin/env", "/etc/passwd", "/etc/hosts", outside("file"), victim("file")):
    for kind in (fcntl.F_RDLCK, fcntl.F_WRLCK):
        try:
            fd = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        try:
            fcntl.fcntl(fd, F_SETLEASE, kind)
        except OSError as error:
            note("held", path, error)
            if error.errno == errno.EAGAIN:
                escaped("a lease of %s is a matter of time" % path)
        else:
            escaped("lease of " + path)
            fcntl.fcntl(fd, F_SETLEASE, fcntl.F_UNLCK)
        os.close(fd)
finish()
