"""Kaa's standard output and error, and the marks of their order.

sys.stdout and sys.stderr pass on each line when it is complete, as on a terminal. The
runner reads two pipes and the control socket, and has to know what came before what. A
command brings it a prefix for its execution, and where the order matters each pipe gets a
mark at the same time:

    prefix, its number as 8 hexadecimal digits, which of them meet there as 1 digit, "\\n"

1 stands for standard output, 2 for standard error, and 4 for a frame on the socket, which
is sent next and has the same number as "mark", and as "in" those that meet. The runner
passes nothing on that comes after a mark until all who meet there have come to it.

Standard library only, Python 3.8 and later.
"""

import builtins

__builtins__ = dict(vars(builtins))  # type: ignore[assignment]  # see repl_worker.py

import codecs
import io
import os
import select
import stat
import sys
from _thread import RLock, allocate_lock, get_native_id, start_new_thread
from time import monotonic, sleep

STDOUT, STDERR, FRAME = 1, 2, 4
_write, _fstat, _stat = os.write, os.fstat, os.stat
_raw_write = io.FileIO.write
_poll, POLLOUT = select.poll, select.POLLOUT


class Marks:
    """Places the marks of one execution after the other."""

    def __init__(self, lock):
        self.lock = lock  # held to send frames
        self.prefix = None  # between executions, and in processes that the code forks, there are no marks
        self.number = 0
        self.missed = 0  # the mark of a frame that a pipe did not get, since something else was in its place
        self.flushing = False
        self.pipes = {}
        self.streams: tuple = ()
        self.raws: tuple = ()
        self.flood = None
        self.write_all = write_all
        os.register_at_fork(before=self.calm, after_in_child=self.end)

    def adopt(self):
        """The descriptors 1 and 2 are the runner's pipes: the code may put others in their places."""
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
        """Write no more marks. The caller, which ends an execution, holds the lock."""
        self.prefix = None

    def rehearse(self, is_on):
        """Let the streams do all that they do to write, with nothing: or no longer."""
        self.write_all = write_nothing if is_on else write_all
        for raw in self.raws:
            if is_on:
                raw.write = raw.rehearse
            else:
                del raw.write

    def flush(self):
        """Pass on incomplete lines, also of streams by which the code has replaced Kaa's."""
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
        """Pass on what there is, and end a flood with its thread: for forks and the end."""
        if self.flood is not None:
            self.flood.stop()
        self.flush_own()

    def flush_own(self):
        for stream in self.streams:
            try:
                stream.flush()
            except ValueError:
                pass  # the code has closed it

    def turn(self, raw):
        """Output to a stream comes, and the last was to the other one, or there was none."""
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
        """Pass on what is not a complete line of the other stream."""
        if self.flushing:
            return
        self.flushing = True
        try:
            self.streams[self.raws[0] is raw].flush()
        except ValueError:
            pass  # the code has closed it
        finally:
            self.flushing = False

    def make_up(self, fd):
        """A pipe that is back in its place gets the mark of the last frame: what is written now
        comes after it. Returns whether it is back."""
        if fd not in self.pipes or identity(fd) != self.pipes[fd]:
            return False
        try:
            write_all(fd, b"%b%08x%d\n" % (self.prefix, self.missed, FRAME | fd))
        except OSError:
            pass  # the code has just closed it
        return True

    def before_frame(self):
        """Place marks for a frame. Returns what it has to have. The caller has flushed, holds
        the lock, and lets no signals come in between."""
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
    """Wait until something can be written to fd, which the code has made one that does not block."""
    poll = _poll()
    poll.register(fd, POLLOUT)
    poll.poll()


class Raw(io.FileIO):
    """The file below a stream. It has no buffer, so it holds no lock while a signal's
    handler runs, which may write, too."""

    def __init__(self, fd, name, marks):
        super().__init__(fd, "wb", closefd=False)
        self.name, self.marks, self.number = name, marks, fd
        self.last = False  # it was written to after the other stream
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
        """Write what a signal, or a pipe that does not block, has left."""
        view = memoryview(data).cast("B")
        n = n or 0
        while n < len(view):
            more = _raw_write(self, view[n:])
            if more is None:
                await_room(self.number)
            else:
                n += more
        return n


class Flood:
    """Lets standard output have a buffer while lines come fast.

    To pass on a line by itself costs ten times as much as to make it. So after FAST lines
    within WINDOW seconds there is a buffer, and a thread that passes on what is in it every
    PERIOD seconds. When nothing has come for CALM periods, there is neither.
    """

    FAST, WINDOW, PERIOD = 200, 0.02, 0.005
    CALM = 20  # periods without output end it
    PATIENCE = 0.1

    def __init__(self, raw, stream):
        self.raw, self.stream = raw, stream
        self.lines, self.since = 0, monotonic()
        self.is_on = False
        self.bytes = 0  # passed on since it began
        self.thread = 0
        self.writing = RLock()  # or one thread's piece would go ahead of another's
        self.wake, self.ended = allocate_lock(), allocate_lock()

    def count(self, size):
        self.bytes += size
        self.lines += 1
        if self.lines < self.FAST or self.is_on:
            return
        now = monotonic()
        if now - self.since < self.WINDOW and self.stream.line_buffering:
            self.start()
        self.lines, self.since = 0, now

    def start(self):
        self.wake, self.ended = allocate_lock(), allocate_lock()
        self.wake.acquire()
        self.ended.acquire()
        try:
            start_new_thread(self.pass_on, (self.wake, self.ended))
        except RuntimeError:  # as many as there may be: lines go on one by one
            return
        self.is_on = True
        self.stream.reconfigure(line_buffering=False)

    def write(self, data):
        with self.writing:
            n = _raw_write(self.raw, data)
            return n if n == len(data) else self.raw.write_rest(data, n)

    def pass_on(self, wake, ended):
        """Run in the thread, until it is woken or has nothing to do."""
        self.thread = get_native_id()
        try:
            calm, before = 0, -1
            while calm < self.CALM and not wake.acquire(timeout=self.PERIOD):
                calm = calm + 1 if self.bytes == before else 0
                before = self.bytes
                self.stream.flush()
        except BaseException:
            pass  # the code has closed it
        finally:
            self.end()
            ended.release()

    def end(self):
        if self.is_on:
            self.is_on = False
            try:
                self.stream.reconfigure(line_buffering=True)
            except BaseException:
                pass

    def stop(self):
        """End it, and wait for the thread: not for long, since a signal's handler may have come
        in between while this thread has what the other waits for."""
        if not self.is_on:
            return
        wake, ended = self.wake, self.ended
        try:
            wake.release()
        except RuntimeError:
            pass  # it has been woken
        if not ended.acquire(timeout=self.PATIENCE):
            return
        ended.release()
        # Python warns of forks in processes with threads, so the kernel has to be done with it.
        until = monotonic() + self.PATIENCE
        while monotonic() < until:
            try:
                _stat("/proc/self/task/%d" % self.thread)
            except OSError:
                return
            sleep(0.0001)


class RawErrors(Raw):
    """The file below standard error. Before each of its lines, an incomplete line of print on
    standard output is passed on, which no code of Kaa's sees otherwise."""

    def write(self, data):
        if self.last:
            self.marks.flush_other(self)
        else:
            self.marks.turn(self)
        n = _raw_write(self, data)
        return n if n == len(data) else self.write_rest(data, n)


def encode_odd(error, _escape=codecs.lookup_error("surrogateescape")):  # noqa: B008 - the code may register another
    """An encoding error handler that never fails: print must not raise."""
    try:
        return _escape(error)
    except UnicodeError:
        return b"\xef\xbf\xbd" * (error.end - error.start), error.end


def patches(marks):
    """Return the changes to modules at their import: see notebook.py. They keep a child's
    output behind the output written before its start."""
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
