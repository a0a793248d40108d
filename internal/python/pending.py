"""Calls of the code that wait for an answer: see calls.py.

A thread of this script reads the answers, from the first call of an execution to the end of the execution. It also
ends calls that take too long. It gives the console the answers to its requests, because two threads cannot read the
socket.

Standard library only, Python 3.8 and later.
"""

import _signal
import _thread
import json
import os
import select
import time
from _json import encode_basestring_ascii as quote

from offers import ended, failure
from prepared import prepared
from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

ALL_SIGNALS = _signal.valid_signals()
LONGEST_WAIT = 5  # seconds that the end waits for the thread, which a busy machine may take long to run
_sigmask = _signal.pthread_sigmask
_read, _write, _close, _getpid = os.read, os.write, os.close, os.getpid
_poll, POLLIN = select.poll, select.POLLIN
_now, _sleep, _stat = time.monotonic, time.sleep, os.stat
_allocate_lock, _start_thread = _thread.allocate_lock, _thread.start_new_thread
parse = json.JSONDecoder().decode


class Call:
    """A call. Its answer or its error comes once; then the thread or the task that waits goes on."""

    __slots__ = ("data", "deadline", "error", "frame", "function", "future", "lock", "loop", "number", "text")

    def __init__(self, function, frame, size):
        self.function, self.frame, self.data = function, frame, size
        self.number = self.deadline = 0
        self.text = self.error = self.loop = self.future = None
        self.lock = _allocate_lock()
        self.lock.acquire()

    def settle(self, text, error):
        """Let the one that waits go on. Only the first call does anything."""
        if self.text is not None or self.error is not None:
            return
        self.text, self.error = text, error
        if self.loop is not None:
            try:
                self.loop.call_soon_threadsafe(self.wake)
            except RuntimeError:
                pass  # the loop is closed
        else:
            try:
                self.lock.release()
            except RuntimeError:
                pass  # another thread was faster

    def wake(self):
        if not self.future.done():
            self.future.set_result(None)


class Pending:
    """Calls that have no answer yet, and the thread that reads the answers."""

    def __init__(self):
        self.id = None  # of the execution that may call
        self.pid = -1
        self.lock = _thread.RLock()  # held to change anything below
        self.limits: dict = {}
        self.open: dict = {}  # calls by number that were sent and have no answer
        self.waiting: list = []  # calls that wait for their turn
        self.asked: dict = {}  # requests of the console by number
        self.early = None  # an answer for the console that came before it waited
        self.made = self.open_bytes = 0
        self.thread = None  # the lock that is released when the thread has ended
        self.native = 0  # the kernel's id of the thread
        self.pipe: tuple = ()  # wakes the thread
        self.broken = False
        os.register_at_fork(before=self.calm, after_in_child=self.leave)

    def has_room(self, call):
        return not self.open or (len(self.open) < self.limits["atOnce"] and self.open_bytes + call.data <= self.limits["open"])

    def send(self, call):
        """Send a call. The caller holds the lock. No signal's handler may come between the number and
        the frame."""
        before = _sigmask(_signal.SIG_BLOCK, ())
        try:
            with prepared.control.lock:
                _sigmask(_signal.SIG_BLOCK, ALL_SIGNALS)  # may raise what a handler raises
                if self.id is None:
                    raise ended(call.function.__name__)
                self.made += 1
                call.number, call.deadline = self.made, _now() + self.limits["seconds"]
                self.open[call.number] = call
                self.open_bytes += call.data
                frame = b'{"id":%b,"type":"call","request":%d' % (quote(self.id).encode("ascii"), call.number)
                prepared.results.write(frame + call.frame + prepared.marks.before_frame())
                call.frame = None
        finally:
            _sigmask(_signal.SIG_SETMASK, before)

    def drop(self, call, reason):
        """Forget a call without an answer, and notify the runner."""
        before = _sigmask(_signal.SIG_BLOCK, ())
        try:
            with self.lock:
                if call in self.waiting:
                    self.waiting.remove(call)
                    return
                if self.open.get(call.number) is not call:
                    return
                with prepared.control.lock:
                    _sigmask(_signal.SIG_BLOCK, ALL_SIGNALS)
                    if self.id is not None:
                        frame = '{"id":%s,"type":"call_end","request":%d,"value":"%s"}\n' % (quote(self.id), call.number, reason)
                        prepared.results.write(frame.encode("ascii"))
                self.close(call)
        finally:
            _sigmask(_signal.SIG_SETMASK, before)

    def close(self, call):
        """Take an open call out, and send those whose turn it is. The caller holds the lock."""
        if self.open.pop(call.number, None) is None:
            return
        self.open_bytes -= call.data
        while self.waiting and self.has_room(self.waiting[0]):
            self.send(self.waiting.pop(0))

    # The thread

    def listen(self, title):
        """Start the thread that reads answers. The caller holds the lock."""
        if self.thread is not None:
            return
        lock = _allocate_lock()
        lock.acquire()
        pipe = os.pipe()
        before = _sigmask(_signal.SIG_BLOCK, ())
        try:
            _sigmask(_signal.SIG_BLOCK, ALL_SIGNALS)  # the thread inherits that
            try:
                _start_thread(self.read, (lock, pipe[0]))
            except RuntimeError:
                for fd in pipe:
                    _close(fd)
                raise failure("CallError", "%s() was not called: the execution has no room for another thread (limits.processes)" % title) from None
            self.thread, self.pipe = lock, pipe
        finally:
            _sigmask(_signal.SIG_SETMASK, before)

    def stop(self):
        """End the thread, and wait for it."""
        with self.lock:
            thread, pipe, self.thread, self.pipe = self.thread, self.pipe, None, ()
        if thread is None:
            return
        try:
            _write(pipe[1], b"\0")
        except OSError:
            pass  # the code has closed it
        if not thread.acquire(timeout=LONGEST_WAIT):
            return  # it may still use the pipe
        # Python warns of forks in processes with threads, so the kernel must have removed it.
        until = _now() + LONGEST_WAIT
        while _now() < until:
            try:
                _stat("/proc/self/task/%d" % self.native)
            except OSError:
                break
            _sleep(0.0001)
        for fd in pipe:
            try:
                _close(fd)
            except OSError:
                pass

    def calm(self):
        """End the thread before a fork if nothing waits: Python warns of forks in processes with threads."""
        if self.thread is not None and not self.open and not self.waiting and not self.asked and _getpid() == self.pid:
            self.stop()

    def leave(self):
        """Forget everything in a child process."""
        self.open, self.waiting, self.asked = {}, [], {}
        self.thread, pipe, self.pipe = None, self.pipe, ()
        self.lock = _thread.RLock()
        for fd in pipe:
            try:
                _close(fd)
            except OSError:
                pass

    def read(self, thread, wake):
        self.native = _thread.get_native_id()
        try:
            while self.read_once(wake):
                pass
        except BaseException:
            self.fail()
        finally:
            thread.release()

    def read_once(self, wake):
        """Take what has come. Return whether there may be more."""
        control = prepared.control
        poll = _poll()
        poll.register(control.fd, POLLIN)
        poll.register(wake, POLLIN)
        while True:
            for fd, event in poll.poll(self.expire()):
                if event & ~POLLIN & ~select.POLLHUP:
                    self.fail()  # the code has closed the descriptor
                    return False
                if fd == wake:
                    return False
                chunk = _read(fd, 1 << 16)
                if not chunk:
                    self.fail()
                    return False
                control.rest += chunk
                self.take()

    def take(self):
        control = prepared.control
        while True:
            line, found, rest = control.rest.partition(b"\n")
            if not found:
                return
            control.rest = rest
            command = parse(line.decode())
            if command.get("id") != self.id:
                continue  # for an execution that has ended
            number = command.get("request")
            if command.get("cmd") == "reply":
                with self.lock:
                    call = self.open.get(number)
                    if call is None:
                        continue
                    self.close(call)
                call.settle(command.get("text") or "{}", None)
            elif command.get("cmd") == "input":
                with self.lock:
                    call = self.asked.get(number)
                    if call is None:
                        self.early = command  # the console has not come to answer_to yet
                    else:
                        call.settle(command, None)

    def expire(self):
        """End the calls that have waited too long. Return the milliseconds until the next one may have."""
        now, first = _now(), None
        with self.lock:
            late = []
            for call in self.open.values():
                if call.deadline <= now:
                    late.append(call)
                elif first is None or call.deadline < first:
                    first = call.deadline
            seconds = self.limits["seconds"]
        for call in late:
            self.drop(call, "timeout")
            call.settle(None, failure("TimeoutError", "%s() was not answered within %g s (limits.callSeconds)" % (call.function.__name__, seconds)))
        left = seconds if first is None else first - now
        return int(min(left, 3600) * 1000) + 1

    def fail(self):
        """No answer comes any more."""
        with self.lock:
            self.broken = True
            left = list(self.open.values()) + self.waiting
            self.open, self.waiting = {}, []
        for call in left:
            call.settle(None, failure("CallError", "%s() gets no answer: the code has closed a descriptor that calls need" % call.function.__name__))
