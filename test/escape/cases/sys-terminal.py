# tries: type on the runner's terminal
# strict: there is none
# basic: there is none
# end: ok HELD

TIOCSTI, TIOCLINUX, TIOCCONS, TIOCSCTTY, TIOCSETD = 0x5412, 0x541C, 0x541D, 0x540E, 0x5423


def attempts():
    os.setsid()  # what is won is the child's alone
    for path in ("/dev/tty", "/dev/console", "/dev/tty0", "/dev/tty1", "/dev/pts/0", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            continue
        if os.isatty(fd):
            for name, number, data in (("TIOCSTI", TIOCSTI, b" "), ("TIOCLINUX", TIOCLINUX, b"\x0c"), ("TIOCSCTTY", TIOCSCTTY, 0)):
                if name != "TIOCSTI" or path.startswith("/proc"):
                    works("%s on %s" % (name, path), fcntl.ioctl, fd, number, data)
        os.close(fd)


in_child(attempts)
for fd in range(3):
    if os.isatty(fd):
        escaped("descriptor %d is a terminal" % fd)
if int(read("/proc/self/stat").rsplit(b")", 1)[1].split()[4]):
    escaped("has a controlling terminal")
finish()
