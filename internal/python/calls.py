"""Calls of the code to functions that its caller offers.

For an execution with "functions" the namespace of the code has a Function for each of them:

    to the runner    {"id", "type": "call", "request": 1, "name", "arguments": {...}, "positional": [...], "mark", "in"}
                     {"id", "type": "call_end", "request": 1, "value": "timeout" or "cancelled"}
    from the runner  {"id", "cmd": "reply", "request": 1, "text": "..."}, JSON with "value" or "error"

A call waits in the thread or the task that makes it. A thread of this script reads the answers, from
the first call of an execution to the end of the execution. It also ends calls that take too long. It
gives the console the answers to its requests, because two threads cannot read the socket.

Standard library only, Python 3.8 and later.
"""

import _signal
import _thread
import json
import os
import select
import time
from _json import encode_basestring_ascii as quote

from offers import OVERHEAD, CallError, Function, bind, ended, failure, running_loop, to_json
from prepared import prepared
from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

ALL_SIGNALS = _signal.valid_signals()
LONGEST_WAIT = 1.0  # seconds that the end waits for the thread
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


class Calls:
    """The calls of one execution after the other."""

    def __init__(self):
        self.id = None  # of the execution that may call
        self.epoch = 0  # counts such executions
        self.pid = -1
        self.lock = _thread.RLock()  # held to change anything below
        self.limits: dict = {}
        self.open: dict = {}  # calls by number that were sent and have no answer
        self.waiting: list = []  # calls that wait for their turn
        self.asked: dict = {}  # requests of the console by number
        self.early = None  # an answer for the console that came before it waited
        self.made = self.bytes = self.open_bytes = 0
        self.thread = None  # the lock that is released when the thread has ended
        self.native = 0  # the kernel's id of the thread
        self.pipe: tuple = ()  # wakes the thread
        self.broken = False
        os.register_at_fork(before=self.calm, after_in_child=self.leave)

    def begin(self, command, namespace):
        """Offer the functions of an execution. end has to be called after its code."""
        with self.lock:
            self.limits = command["functions"]
            self.id, self.pid, self.epoch = command["id"], _getpid(), self.epoch + 1
            self.made = self.bytes = self.open_bytes = 0
            self.broken, self.early = False, None
        for offer in self.limits["offers"]:
            namespace[offer["name"]] = Function(self, offer)
        namespace["CallError"] = CallError
        if command.get("input"):
            prepared.console.post = self.answer_to

    def end(self):
        """Allow no more calls. When it returns, no thread reads from the socket."""
        with prepared.control.lock:  # held to send
            self.id = None
        prepared.console.post = None
        with self.lock:
            left = list(self.open.values()) + self.waiting
            self.open, self.waiting = {}, []
        for call in left:
            call.settle(None, ended(call.function.__name__))
        self.stop()

    # Making a call

    def prepare(self, function, args, kwargs):
        """Return a call, or raise what keeps the code from making it."""
        title = function.__name__
        if self.id is not None and _getpid() != self.pid:
            raise RuntimeError("%s() cannot be called in a child process: only the process of the code can call functions of the caller" % title)
        if self.id is None or function._epoch != self.epoch:
            raise ended(title)
        named, others = bind(function, args, kwargs)
        depth = self.limits["depth"]
        data = b',"arguments":' + to_json(named, depth)
        if others:
            data += b',"positional":' + to_json(others, depth)
        if len(data) > self.limits["most"]:
            raise ValueError("the arguments of %s() are %d bytes of JSON, the limit is %d" % (title, len(data), self.limits["most"]))
        return Call(function, b',"name":' + quote(title).encode("ascii") + data, len(data) + OVERHEAD)

    def start(self, call):
        """Send a call, or let it wait for its turn."""
        title = call.function.__name__
        prepared.marks.flush()
        with self.lock:
            if self.id is None or call.function._epoch != self.epoch:
                raise ended(title)
            if self.made + len(self.waiting) >= self.limits["calls"]:
                raise failure("CallLimitExceeded", "%s() was not called: the execution has made its %d calls (limits.calls)" % (title, self.limits["calls"]))
            if self.bytes + call.data > self.limits["bytes"]:
                raise self.full(title + "() was not called")
            if self.broken:
                raise failure("CallError", "%s() was not called: the code has closed a descriptor that calls need" % title)
            self.listen(title)
            self.bytes += call.data
            if self.waiting or not self.has_room(call):
                self.waiting.append(call)
            else:
                self.send(call)

    def full(self, what):
        text = "%s: the arguments and answers of the execution have reached %d bytes (limits.callBytes)"
        return failure("CallLimitExceeded", text % (what, self.limits["bytes"]))

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

    # Waiting

    def wait(self, function, args, kwargs):
        """Call a function. The thread waits for the answer."""
        call = self.prepare(function, args, kwargs)
        try:
            self.start(call)
            call.lock.acquire()
        except BaseException:
            self.drop(call, "cancelled")
            raise
        return self.outcome(call)

    def coroutine(self, function, args, kwargs):
        found = self.awaited(self.prepare(function, args, kwargs))
        found.__name__ = found.__qualname__ = function.__name__  # type: ignore[attr-defined]
        return found

    async def awaited(self, call):
        loop = running_loop()
        if loop is None:
            raise RuntimeError("%s() can be awaited in an event loop of asyncio only" % call.function.__name__)
        call.loop, call.future = loop, loop.create_future()
        try:
            self.start(call)
            await call.future
        except BaseException:
            self.drop(call, "cancelled")
            raise
        return self.outcome(call)

    def outcome(self, call):
        if call.error is not None:
            raise call.error
        title = call.function.__name__
        with self.lock:
            self.bytes += len(call.text)
            if self.bytes > self.limits["bytes"] and call.function._epoch == self.epoch:
                raise self.full("the answer to %s() has no room" % title)
        try:
            answer = parse(call.text)
        except (ValueError, RecursionError) as error:
            raise failure("CallError", "the answer to %s() cannot be read: %s" % (title, error)) from None
        raised = answer.get("error")
        if raised is None:
            return answer.get("value")
        raise failure(raised.get("name") or "CallError", raised.get("message") or "")

    def answer_to(self, mine, request):
        """Return the command that answers a request of the console; None if there is none."""
        call = Call(None, None, 0)
        with self.lock:
            if self.id != mine:
                return None
            self.listen("input")
            early, self.early = self.early, None
            if early is not None and early.get("request") == request:
                return early
            self.asked[request] = call
        try:
            while not call.lock.acquire(timeout=0.05):
                if self.id != mine:
                    return None
            return call.text
        finally:
            self.asked.pop(request, None)

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
        thread.acquire(timeout=LONGEST_WAIT)
        # Python warns of forks in processes with threads, so the kernel must have removed it.
        until = _now() + 0.1
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


calls = Calls()


def begin(command, namespace):
    calls.begin(command, namespace)


def end():
    calls.end()
