"""Calls of the code to functions that its caller offers.

For an execution with "functions" the namespace of the code has a Function for each of them:

    to the runner    {"id", "type": "call", "request": 1, "name", "arguments": {...}, "positional": [...], "mark", "in"}
                     {"id", "type": "call_end", "request": 1, "value": "timeout" or "cancelled"}
    from the runner  {"id", "cmd": "reply", "request": 1, "text": "..."}, JSON with "value" or "error"

A call waits in the thread or the task that makes it. pending.py has the calls that wait, and the thread that reads
the answers.

Standard library only, Python 3.8 and later.
"""

import json
import os
from _json import encode_basestring_ascii as quote

from offers import OVERHEAD, CallError, Function, bind, ended, failure, running_loop, to_json
from pending import Call, Pending
from prepared import prepared
from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

_getpid = os.getpid
parse = json.JSONDecoder().decode


class Calls(Pending):
    """The calls of one execution after the other."""

    def __init__(self):
        Pending.__init__(self)
        self.epoch = 0  # counts executions that may call
        self.bytes = 0  # of all calls and answers of the execution

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


calls = Calls()


def begin(command, namespace):
    calls.begin(command, namespace)


def end():
    calls.end()
