"""The marks of the order of standard output, standard error and frames.

The runner reads two pipes and the control socket, and has to know the order of their contents.
A command has a prefix for the marks of its execution. Where the order matters, both pipes get
a mark at the same time:

    prefix, number of the mark as 8 hexadecimal digits, sum of its parties as 1 digit, "\\n"

The parties are 1 for standard output, 2 for standard error and 4 for a frame on the socket.
The frame is sent next. It has the number as "mark" and the sum of its parties as "in". The
runner passes on nothing that follows a mark until all its parties have come to the mark.

Standard library only, Python 3.8 and later.
"""

import os
import select
import stat
import sys
from _thread import get_ident

from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

STDOUT, STDERR, FRAME = 1, 2, 4
_write, _fstat = os.write, os.fstat
_poll, POLLOUT = select.poll, select.POLLOUT


class Marks:
    """Places the marks of one execution after the other."""

    def __init__(self, lock):
        self.lock = lock  # held to send frames
        self.prefix = None  # None between executions and in processes that the code forks: no marks
        self.number = 0
        self.missed = 0  # the mark of a frame that a pipe did not get, because the code had replaced its descriptor
        self.flushing = set()  # the threads that are in flush_other
        self.pipes = {}
        self.streams: tuple = ()
        self.raws: tuple = ()
        self.flood = None
        self.write_all = write_all
        os.register_at_fork(before=self.calm, after_in_child=self.leave)

    def adopt(self):
        """Record that the descriptors 1 and 2 are the runner's pipes now. The code may replace them."""
        self.pipes = {}
        for fd in (STDOUT, STDERR):
            found = identity(fd)
            if found is not None:
                self.pipes[fd] = found

    def begin(self, prefix):
        self.forget_last()
        self.number = self.missed = 0
        self.prefix = None if prefix is None else prefix.encode("ascii")

    def end(self):
        """Write no more marks. The caller ends an execution and holds the lock."""
        self.prefix = None

    def rehearse(self, is_on):
        """Have the streams take all steps of writing with no data, or end that."""
        self.write_all = write_nothing if is_on else write_all
        for raw in self.raws:
            if is_on:
                raw.write = raw.rehearse
            else:
                del raw.write

    def flush(self):
        """Pass on incomplete lines, also those of the code's own sys.stdout and sys.stderr."""
        for name, own in zip(("stdout", "stderr"), self.streams):
            stream = getattr(sys, name, own)
            if stream is not own:
                try:
                    stream.flush()
                except KeyboardInterrupt:
                    raise
                except BaseException:
                    pass
        self.flush_own()

    def calm(self):
        """Pass on all output, and end a flood with its thread. Forks and the end need that."""
        if self.flood is not None:
            self.flood.stop()
        self.flush_own()

    def leave(self):
        """Write no marks, in a process that the code has forked."""
        self.end()
        if self.flood is not None:
            self.flood.leave()

    def flush_own(self):
        for stream in self.streams:
            try:
                stream.flush()
            except ValueError:
                pass  # the code has closed it
        if self.flood is not None:
            self.flood.settle()

    def turn(self, raw):
        """Note that output to this stream follows output to the other one, or is the first."""
        if self.prefix is None:
            return
        self.flush_other(raw)
        with self.lock:
            made_up = not self.missed or self.make_up(raw.number)
            if any(other.last for other in self.raws):
                self.place(STDOUT | STDERR)
            for other in self.raws:
                other.last = other is raw and made_up

    def flush_other(self, raw):
        """Pass on the incomplete line of the other stream."""
        thread = get_ident()
        if thread in self.flushing:
            return
        self.flushing.add(thread)
        try:
            self.streams[self.raws[0] is raw].flush()
            if self.flood is not None and raw is not self.flood.raw:
                self.flood.settle()
        except ValueError:
            pass  # the code has closed it
        finally:
            self.flushing.discard(thread)

    def make_up(self, fd):
        """Write the mark of the last frame to a pipe that has its descriptor again, since output
        comes after that frame. Return whether it has it."""
        if fd not in self.pipes or identity(fd) != self.pipes[fd]:
            return False
        try:
            write_all(fd, b"%b%08x%d\n" % (self.prefix, self.missed, FRAME | fd))
        except OSError:
            pass  # the code has just closed it
        return True

    def before_frame(self):
        """Place the marks of a frame. Return the members that the frame needs for them. The caller
        has flushed, holds the lock, and has blocked signals."""
        self.forget_last()
        meet = self.place(FRAME)
        return b',"mark":%d,"in":%d}\n' % (self.number, meet)

    def forget_last(self):
        for raw in self.raws:
            raw.last = False

    def place(self, meet):
        if self.prefix is None:
            return 0
        there = [fd for fd in self.pipes if identity(fd) == self.pipes[fd]]
        if meet & FRAME:
            meet = sum(there, FRAME)
        elif len(there) < 2:
            return 0
        self.number += 1
        if meet & FRAME:
            self.missed = 0 if len(there) == len(self.pipes) else self.number
        mark = b"%b%08x%d\n" % (self.prefix, self.number, meet)
        for fd in there:
            try:
                self.write_all(fd, mark)
            except OSError:
                pass  # the code has just closed it
        return meet


def identity(fd):
    try:
        st = _fstat(fd)
    except OSError:
        return None
    return (st.st_dev, st.st_ino) if stat.S_ISFIFO(st.st_mode) else None


def write_all(fd, data):
    while data:
        try:
            data = data[_write(fd, data):]
        except BlockingIOError:
            await_room(fd)


def write_nothing(fd, data):
    _write(fd, data[:0])


def await_room(fd):
    """Wait until fd can be written to. The code has made it a descriptor that does not block."""
    poll = _poll()
    poll.register(fd, POLLOUT)
    poll.poll()
