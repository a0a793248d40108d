"""The standard input of sessions: each execution has its own.

Standard library only, Python 3.8 and later.
"""

import io
import os
import sys
from fcntl import fcntl as _fcntl

from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

SMALL_PIPE = 4096  # bytes for which each pipe has room, also if its user has many
F_SETPIPE_SZ = 1031  # fcntl has it from Python 3.10 on
_close, _write = os.close, os.write


class Stdin:
    """The standard input of the executions. Each has its own, with an end. Input that an execution
    has not read is dropped.

    The code may have closed descriptor 0, for example by open(0).read(). A file that it opened
    afterwards may have the number 0. Such a file stays open.
    """

    def __init__(self):
        self.stream = sys.stdin
        self.fed = False
        self.adopt()

    def adopt(self):
        """Record that descriptor 0 is Kaa's input now."""
        self.own = identity(0)

    def begin(self, text):
        at_zero = identity(0)
        if not text and not self.fed and at_zero == self.own and not is_closed(self.stream):
            return
        replaced = sys.stdin is not self.stream and not is_closed(sys.stdin)
        self.fed = bool(text)
        is_free = at_zero in (None, self.own)
        fd = open_text(text or "", is_free)
        if fd and is_free:
            os.dup2(fd, 0)
            _close(fd)
            fd = 0
        elif fd == 0:
            os.set_inheritable(fd, True)
        if fd == 0:
            self.adopt()
        self.stream = open_stdin(fd)
        sys.__stdin__ = self.stream  # type: ignore[misc]
        if text or not replaced:
            sys.stdin = self.stream


def identity(fd):
    """Return the identity of the file of a descriptor, or None if the descriptor is closed."""
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def is_closed(stream):
    try:
        return stream.closed
    except BaseException:  # an object of the code in the place of a stream
        return False


def open_text(text, in_pipe):
    """Return a descriptor from which text can be read. It is a pipe, as in a fresh interpreter,
    if in_pipe is true and a pipe has room for all of it."""
    data = text.encode("utf-8", "surrogatepass")
    if in_pipe:
        fd = open_pipe(data)
        if fd is not None:
            return fd
    try:
        fd = os.memfd_create("stdin")
    except (AttributeError, OSError):
        import tempfile

        file = tempfile.TemporaryFile(buffering=0)
        fd = os.dup(file.fileno())
    while data:
        data = data[_write(fd, data):]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def open_pipe(data):
    """Return the reading end of a pipe that contains data, or None if there is no room for it."""
    fd, entrance = os.pipe()
    try:
        os.set_blocking(entrance, False)
        if len(data) > SMALL_PIPE:
            _fcntl(entrance, F_SETPIPE_SZ, len(data))
        if _write(entrance, data) == len(data):
            return fd
    except OSError:
        pass
    finally:
        _close(entrance)
    _close(fd)
    return None


def open_stdin(fd):
    """Return a stream such as Python makes for its standard input when it starts."""
    raw = io.FileIO(fd, "rb", closefd=fd != 0)
    raw.name = "<stdin>"
    stream = io.TextIOWrapper(io.BufferedReader(raw), encoding="utf-8", errors="surrogateescape", newline="\n")
    stream.mode = "r"  # type: ignore[misc]
    return stream


def prepare_stdin():
    """Make sys.stdin for the pipe that descriptor 0 will be. A file object keeps from its creation
    whether its file can seek."""
    if identity(0) is None:
        return
    before, (end, entrance) = os.dup(0), os.pipe()
    os.dup2(end, 0)
    sys.stdin = sys.__stdin__ = open_stdin(0)  # type: ignore[misc]
    os.dup2(before, 0)
    for fd in (before, end, entrance):
        _close(fd)
