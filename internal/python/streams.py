"""Kaa's standard output and error.

sys.stdout and sys.stderr pass on each line when it is complete, as on a terminal.

Standard library only, Python 3.8 and later.
"""

import codecs
import io
import os
import sys

from flood import Flood
from marks import STDERR, STDOUT, await_room
from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

_raw_write = io.FileIO.write


class Raw(io.FileIO):
    """The file below a stream. It has no buffer and so no lock, because a signal's handler may
    write at any time."""

    def __init__(self, fd, name, marks):
        super().__init__(fd, "wb", closefd=False)
        self.name, self.marks, self.number = name, marks, fd
        self.last = False  # whether the latest output was to this stream
        self.flood = None

    @property
    def raw(self):
        return self

    def write(self, data):
        if not self.last:
            self.marks.turn(self)
        flood = self.flood
        if flood is not None:
            flood.count(len(data))
            if flood.is_on:
                return flood.write(data)
        n = _raw_write(self, data)
        return n if n == len(data) else self.write_rest(data, n)

    def rehearse(self, data):
        return type(self).write(self, data[:0])

    def write_rest(self, data, n):
        """Write the rest after a signal, or a pipe that does not block, has ended a write early."""
        view = memoryview(data).cast("B")
        n = n or 0
        while n < len(view):
            more = _raw_write(self, view[n:])
            if more is None:
                await_room(self.number)
            else:
                n += more
        return n


class RawErrors(Raw):
    """The file below standard error. Before each write it passes on an incomplete line of standard
    output, which is in the buffer of that stream."""

    def write(self, data):
        if self.last:
            self.marks.flush_other(self)
        else:
            self.marks.turn(self)
        n = _raw_write(self, data)
        return n if n == len(data) else self.write_rest(data, n)


def encode_odd(error, _escape=codecs.lookup_error("surrogateescape")):  # noqa: B008 - the code may register another
    """Handle any encoding error, so that print never raises one."""
    try:
        return _escape(error)
    except UnicodeError:
        return b"\xef\xbf\xbd" * (error.end - error.start), error.end


def patches(marks):
    """Return the changes of modules at their import: see notebook.py. Output that was written
    before the start of a child comes before the child's output."""
    def patch(module):
        holder, name = (module, "_fork_exec") if hasattr(module, "_fork_exec") else (module._posixsubprocess, "fork_exec")
        setattr(holder, name, flushing(getattr(holder, name), marks))

    return {"subprocess": patch}


def flushing(function, marks):
    def flushed(*args):
        marks.flush_own()
        return function(*args)

    flushed.__name__ = flushed.__qualname__ = function.__name__
    flushed.__module__, flushed.__doc__ = function.__module__, function.__doc__
    return flushed


def open_streams(marks):
    codecs.register_error("kaa", encode_odd)
    for fd, name, kind, errors in ((STDOUT, "stdout", Raw, "kaa"), (STDERR, "stderr", RawErrors, "backslashreplace")):
        raw = kind(fd, "<%s>" % name, marks)
        stream = io.TextIOWrapper(raw, encoding="utf-8", errors=errors, newline="\n", line_buffering=True)
        stream.mode = "w"  # type: ignore[misc]
        setattr(sys, name, stream)
        setattr(sys, "__%s__" % name, stream)
        marks.streams += (stream,)
        marks.raws += (raw,)
    marks.flood = marks.raws[0].flood = Flood(marks.raws[0], marks.streams[0])
    os.system = flushing(os.system, marks)
