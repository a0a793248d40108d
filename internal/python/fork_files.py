"""The files of a fork of a session: its own copy of the working directory, and its open files.

The code shares this process: see repl_worker.py.

Standard library only, Python 3.8 and later, Linux.
"""

import fcntl

from fork_obstacles import descriptors
from held import environ, os, stat
from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

O_TMPFILE, O_PATH = 0o20200000, 0o10000000
_fcntl, F_GETFL = fcntl.fcntl, fcntl.F_GETFL


def move(session, place, pipes):
    """Copy the working directory to its new place, and continue there."""
    home = session.home.rstrip("/")
    try:
        cwd = os.getcwd()
    except OSError:
        cwd = home  # it was removed
    if not os.path.isdir(place):
        os.mkdir(place, 0o700)
    source = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    target = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    empty(target)
    Tree(source, target).copy(source, target, "")
    os.close(source)
    os.close(target)

    def moved(path):
        return place + path[len(home):] if path == home or path.startswith(home + "/") else None

    if moved(cwd):
        os.chdir(moved(cwd))
    if moved(environ.get("HOME", "")):
        environ["HOME"] = moved(environ["HOME"])
    again = Reopened(place, moved)
    for fd, st in descriptors(session.control.fd):
        if stat.S_ISFIFO(st.st_mode):
            os.dup2(pipes[st.st_dev, st.st_ino], fd, os.get_inheritable(fd))
        elif stat.S_ISREG(st.st_mode) or stat.S_ISDIR(st.st_mode):
            again.open(fd, st)
    again.close()


class Reopened:
    """Opens files again, so that neither their offsets nor their content is shared."""

    def __init__(self, place, moved):
        self.place, self.moved = place, moved
        self.unlinked = {}

    def open(self, fd, st):
        link = "/proc/self/fd/%d" % fd
        path = self.moved(os.readlink(link)) if st.st_nlink else None
        if path is None and stat.S_ISDIR(st.st_mode):
            return
        flags = _fcntl(fd, F_GETFL) & ~(O_TMPFILE | os.O_NOFOLLOW)
        if not st.st_nlink:
            path = "/proc/self/fd/%d" % self.copy(link, st)
        fresh = os.open(path or link, flags | os.O_CLOEXEC)
        if stat.S_ISREG(st.st_mode) and not flags & O_PATH:
            os.lseek(fresh, os.lseek(fd, 0, os.SEEK_CUR), os.SEEK_SET)
        os.dup2(fresh, fd, os.get_inheritable(fd))
        os.close(fresh)

    def copy(self, link, st):
        """A copy of a file that has no name any more, or never had one."""
        key = st.st_dev, st.st_ino
        if key not in self.unlinked:
            source = os.open(link, os.O_RDONLY | os.O_CLOEXEC)
            # The filter refuses O_TMPFILE.
            name = os.path.join(self.place, ".kaa-copy-%d-%d" % key)
            target = os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
            os.unlink(name)
            copy_data(source, target, st.st_size)
            os.close(source)
            self.unlinked[key] = target
        return self.unlinked[key]

    def close(self):
        for fd in self.unlinked.values():
            os.close(fd)


class Tree:
    """Copies a directory: data, links of both kinds, modes, times. It leaves out sockets and all
    mounts in the directory, with the directories around them: the libraries of an interpreter that
    is installed below /work."""

    def __init__(self, source, top):
        self.device = os.fstat(source).st_dev
        self.top = top
        self.links = {}  # of files with several names: the first one in the copy

    def copy(self, source, target, where):
        for name in os.listdir(source):
            st = os.stat(name, dir_fd=source, follow_symlinks=False)
            if not own(st, self.device):
                continue
            kind = stat.S_IFMT(st.st_mode)
            if kind == stat.S_IFDIR:
                try:
                    os.mkdir(name, 0o700, dir_fd=target)
                except FileExistsError:
                    pass  # something is mounted in it, so empty has left it
                inner = [os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
                         for fd in (source, target)]
                self.copy(inner[0], inner[1], where + name + "/")
                finish(inner, st)
            elif kind == stat.S_IFLNK:
                os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            elif kind == stat.S_IFIFO:
                os.mkfifo(name, stat.S_IMODE(st.st_mode), dir_fd=target)
            elif kind == stat.S_IFREG:
                self.copy_file(source, target, name, where, st)

    def copy_file(self, source, target, name, where, st):
        key = st.st_dev, st.st_ino
        if st.st_nlink > 1 and key in self.links:
            os.link(self.links[key], name, src_dir_fd=self.top, dst_dir_fd=target, follow_symlinks=False)
            return
        files = [os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source),
                 os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)]
        copy_data(files[0], files[1], st.st_size)
        finish(files, st)
        self.links[key] = where + name


def own(st, device):
    """Return whether an entry is the session's. A mount is on another device, and the directories
    around it are root's: the code can neither write there nor change them."""
    return st.st_dev == device and st.st_uid == os.getuid()


def finish(fds, st):
    """Give the copied file its mode and times, and close both files."""
    os.fchmod(fds[1], stat.S_IMODE(st.st_mode))
    os.utime(fds[1], ns=(st.st_atime_ns, st.st_mtime_ns))
    for fd in fds:
        os.close(fd)


def copy_data(source, target, size):
    """Copy the data of a file, but not its holes, which may be larger than any disk."""
    at = 0
    while at < size:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
            end = os.lseek(source, at, os.SEEK_HOLE)
        except OSError:
            break  # a hole up to its end
        os.lseek(target, at, os.SEEK_SET)
        while at < end:
            n = os.sendfile(target, source, at, min(end - at, 1 << 30))
            if n == 0:
                return
            at += n
    os.ftruncate(target, size)


def empty(directory):
    """Delete the content of a directory, except mounts. Return whether nothing is left."""
    device, left = os.fstat(directory).st_dev, False
    for name in os.listdir(directory):
        st = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if not own(st, device):
            left = True
            continue
        if not stat.S_ISDIR(st.st_mode):
            os.unlink(name, dir_fd=directory)
            continue
        os.chmod(name, 0o700, dir_fd=directory)
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        if empty(inner):
            os.rmdir(name, dir_fd=directory)
        else:
            left = True
        os.close(inner)
    return not left
