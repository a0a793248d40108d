"""Forks of a session: the work of its worker process when the session is to be forked.

The forks are children of the slot, as the worker is. Each has its own descriptors 0 to 2
and its own control socket, which it receives over the origin's. The rest of the process is
unchanged, random generators too. The system's fork would share files where they must not be
shared. So a fork copies the working directory, moves to the same place in it, and opens its
open files again, at the same offset.

The worker refuses a fork before it does anything if the fork would lack something of the
origin or share it: threads, child processes, sockets, pipes, shared memory mappings. The
error names them.

The code shares this process: see repl_worker.py. A fork is confined as the origin is, so it
can do nothing here that the origin could not.

Standard library only, Python 3.8 and later, Linux.
"""

import _socket
import fcntl
import os
import resource
import stat
import struct
import threading
import time

from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

CLONE_PARENT = 0x8000
O_TMPFILE, O_PATH = 0o20200000, 0o10000000
MOST_NAMED = 5  # obstacles in an error
NEEDED = 10  # free descriptors, for a moment


class Held:
    """A module as it was before the code could change it."""

    def __init__(self, module):
        self.__dict__.update(vars(module))


environ = os.environ
os, stat = Held(os), Held(stat)  # type: ignore[assignment]
_fcntl, F_GETFL, F_DUPFD_CLOEXEC = fcntl.fcntl, fcntl.F_GETFL, fcntl.F_DUPFD_CLOEXEC
_getrlimit, RLIMIT_NOFILE = resource.getrlimit, resource.RLIMIT_NOFILE
_Socket, SOL_SOCKET, SCM_RIGHTS, CMSG_LEN = _socket.socket, _socket.SOL_SOCKET, _socket.SCM_RIGHTS, _socket.CMSG_LEN
_unpack, _sleep = struct.unpack, time.sleep
_threads = threading._active  # type: ignore[attr-defined]
_main_thread = threading.main_thread()


class Refused(Exception):
    """The process cannot be forked as it is. The text says why."""


class Forker:
    """The program that forks a session, which the zygote prepares: see fork_steps.py."""

    def prepare(self, program, fork):
        fork.add_to(program, CLONE_PARENT)
        program.add("process supervision", "setsid")
        program.build()
        self.run, self.failure = program.run, program.failure


forker = Forker()


def fork(session, command):
    """Fork this process once for each directory in the command. It returns in the origin and
    in each fork."""
    control, id = session.control, command["id"]
    try:
        refuse(control.fd, session.loop)
    except Refused as error:
        control.send(id=id, type="refused", error=str(error))
        return
    except BaseException as error:  # the code has changed something that the checks use
        control.send(id=id, type="refused", error="it cannot be looked through: %s: %s" % (type(error).__name__, error))
        return
    control.send(id=id, type="forking")
    origin, failed = os.getpid(), False
    for place in command["to"]:
        fds = receive(control.fd)
        if not failed:
            pid = forker.run()
            if pid == 0:
                become(session, id, fds, place)
                return
            if os.getpid() != origin:
                os._exit(70)
            failed = pid < 0
            if failed:
                control.send(id=id, type="refused", error="the kernel refuses another process: %s; perhaps there are "
                             "as many as the session may have" % (forker.failure(pid)[2],))
            else:
                control.send(id=id, type="forked", pid=pid)
        close_all(fds)


def close_all(fds):
    for fd in fds:
        os.close(fd)


def receive(fd):
    """Receive the descriptors of one fork."""
    connection = _Socket(fileno=os.dup(fd))
    try:
        _, ancillary, _, _ = connection.recvmsg(1, CMSG_LEN(16), 0x40000000)  # MSG_CMSG_CLOEXEC
    finally:
        connection.close()
    for level, kind, body in ancillary:
        if (level, kind) == (SOL_SOCKET, SCM_RIGHTS) and len(body) == 16:
            return _unpack("4i", body)
    return os._exit(70)  # the runner is gone


# --- obstacles


def refuse(control, loop):
    """Raise Refused if the process has anything that a fork cannot have."""
    if _getrlimit(RLIMIT_NOFILE)[0] - len(os.listdir("/proc/self/fd")) < NEEDED:
        raise Refused("it has as many files open as it may; close some first")
    found = (list(task_names(loop)) + list(thread_names()) + list(child_names()) + list(descriptor_names(control))
             + list(map_names()))
    if found:
        more = len(found) - MOST_NAMED
        text = ", ".join(found[:MOST_NAMED]) + (" and %d more" % more if more > 0 else "")
        raise Refused("it has what a copy cannot have: %s; end or close that first" % text)


def task_names(loop):
    """The pending tasks of the event loop. Without tasks the loop still has descriptors, so it is
    closed. The next await makes another."""
    if loop.is_open():
        import asyncio

        tasks = [task for task in asyncio.all_tasks(loop.loop) if not task.done()] if not loop.loop.is_closed() else []
        if tasks:
            yield "%d asyncio tasks that are not done" % len(tasks)
        else:
            loop.close()


def thread_names():
    for _ in range(50):  # one that was joined may need a moment to be gone
        number = len(os.listdir("/proc/self/task")) - 1
        if number < len(_threads):
            break
        _sleep(0.001)
    names = ["the thread " + str(thread.name) for thread in list(_threads.values()) if thread is not _main_thread]
    yield from names[:number]
    if number > len(names):
        yield "%d threads that Python did not start" % (number - len(names))


def child_names():
    pid = os.getpid()
    for child in read("/proc/self/task/%d/children" % pid).split():
        try:
            fields = read("/proc/%s/stat" % child)
        except OSError:
            fields = "(?) ?"
        name = fields[fields.find("(") + 1:fields.rfind(")")]
        dead = fields[fields.rfind(")") + 2:][:1] == "Z"
        yield "the child process %s (%s)%s" % (child, name, ", for which nobody has waited" if dead else "")


def descriptors(control):
    """The descriptors of the code but 0 to 2, with what fstat says."""
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2 and fd != control:
            try:
                yield fd, os.fstat(fd)
            except OSError:
                pass  # the one that listed them


def standard():
    """The pipes of the descriptors 0 to 2. The code may have duplicates of them."""
    pipes = {}
    for fd in (2, 1, 0):
        try:
            st = os.fstat(fd)
        except OSError:
            continue
        if stat.S_ISFIFO(st.st_mode):
            pipes[st.st_dev, st.st_ino] = fd
    return pipes


def descriptor_names(control):
    ours = standard()
    for fd, st in descriptors(control):
        kind = stat.S_IFMT(st.st_mode)
        if kind in (stat.S_IFREG, stat.S_IFDIR) or (kind == stat.S_IFIFO and (st.st_dev, st.st_ino) in ours):
            continue
        if kind == stat.S_IFCHR and not os.isatty(fd) and not os.readlink("/proc/self/fd/%d" % fd).startswith("/dev/pts"):
            continue
        what = {stat.S_IFSOCK: "socket", stat.S_IFIFO: "pipe", stat.S_IFCHR: "terminal"}.get(kind)
        yield "the %s with descriptor %d" % (what or os.readlink("/proc/self/fd/%d" % fd), fd)


def map_names():
    for line in read("/proc/self/maps").splitlines():
        fields = line.split(None, 5)
        if "w" in fields[1] and "s" in fields[1]:
            yield "memory that is mapped to be shared: " + (fields[5] if len(fields) > 5 else "anonymous")


def read(path):
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while True:
            chunk = os.read(fd, 1 << 16)
            if not chunk:
                return b"".join(chunks).decode("utf-8", "replace")
            chunks.append(chunk)
    finally:
        os.close(fd)


# --- in a fork


def become(session, id, fds, place):
    """Give this process, which is a fork, its own descriptors and files."""
    control, pipes = session.control, standard()
    try:
        take_control(control, fds[3])
        for fd in (0, 1, 2):
            os.dup2(fds[fd], fd, True)
        close_all(fds)
        session.marks.adopt()
        if control.receive() is None:  # the runner does not want it any more
            os._exit(0)
        try:
            _main_thread._set_native_id()  # type: ignore[attr-defined]
        except AttributeError:
            pass  # Python 3.8
        move(session, place, pipes)
        session.home = place
        session.stdin.adopt()
        os.write(control.fd, session.ready)
    except BaseException as error:
        try:
            control.send(id=id, type="refused", error="its files cannot be copied: %s: %s" % (type(error).__name__, error))
        finally:
            os._exit(1)


def take_control(control, fd):
    """Give the fork its own control socket, at the origin's number. The limit of open files may be
    lower than that by now. Then the number is another one that code seldom uses."""
    os.close(control.fd)
    limit = _getrlimit(RLIMIT_NOFILE)[0]
    for number in (control.fd, limit - 1, limit // 2, 3):
        try:
            control.fd = _fcntl(fd, F_DUPFD_CLOEXEC, number)
            break
        except OSError:
            pass  # beyond the limit, or all above it are taken
    control.pid = os.getpid()


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
    if environ.get("HOME") == home:
        environ["HOME"] = place
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
    mounts in the directory: the libraries of an interpreter that is installed below /work."""

    def __init__(self, source, top):
        self.device = os.fstat(source).st_dev
        self.top = top
        self.links = {}  # of files with several names: the first one in the copy

    def copy(self, source, target, where):
        for name in os.listdir(source):
            st = os.stat(name, dir_fd=source, follow_symlinks=False)
            if st.st_dev != self.device:
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
        if st.st_dev != device:
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
