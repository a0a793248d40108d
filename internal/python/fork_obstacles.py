"""The obstacles to a fork of a session: the things that a fork cannot have.

The code shares this process: see repl_worker.py.

Standard library only, Python 3.8 and later, Linux.
"""

import resource
import threading
import time

from held import os, stat
from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

MOST_NAMED = 5  # obstacles in an error
NEEDED = 10  # free descriptors, for a moment
_getrlimit, RLIMIT_NOFILE = resource.getrlimit, resource.RLIMIT_NOFILE
_sleep = time.sleep
_threads = threading._active  # type: ignore[attr-defined]
_main_thread = threading.main_thread()


class Refused(Exception):
    """The process cannot be forked as it is. The text says why."""


def refuse(control, loop):
    """Raise Refused if the process has anything that a fork cannot have."""
    if _getrlimit(RLIMIT_NOFILE)[0] - len(os.listdir("/proc/self/fd")) < NEEDED:
        raise Refused("it has as many files open as it may; close some first")
    found = (list(task_names(loop)) + list(thread_names()) + list(child_names()) + list(descriptor_names(control))
             + list(map_names()))
    if found:
        more = len(found) - MOST_NAMED
        text = ", ".join(found[:MOST_NAMED]) + (" and %d more" % more if more > 0 else "")
        raise Refused("it has what a fork cannot have: %s; end or close that first" % text)


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
    for _ in range(1000):  # one that was joined may need a moment to be gone, on a busy machine a longer one
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
    """The descriptors of the code except 0 to 2, with their status."""
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
