"""Kaa's results: the objects that code shows besides its output.

These are the value of its last expression, the arguments of display(), and matplotlib's
figures. execution.py calls Results.run, which sends them to the runner as frames:

    {"id", "type": "result", "main", "data": {mime: value}, "metadata": {mime: {…}}, "omitted": {mime: size},
     "reduced": {mime: size}, "truncated": {"rows": [now, all], "columns": …}, "errors": {name: message},
     "displayId", "update", "mark", "in"}
    {"id", "type": "clear", "wait", "mark", "in"}

A value is a string, in base64 if the MIME type is binary, or JSON if the MIME type is of JSON.
"main" marks the value of the last expression. "omitted" are forms that were too large,
"reduced" are forms that were made smaller, both with their original sizes. An "update" replaces
the result with the same "displayId". A "clear" removes all earlier results. For "mark" and "in"
see marks.py.

Standard library only, Python 3.8 and later.
"""

import _signal
import os
import sys
from functools import partial

import forms
from budget import fit
from event_loop import Loop
from last_expression import FUTURES, VALUE, add_line, compile_whole, is_async, split
from start import BUILTINS, load

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

# The size that a result counts beside its text. The runner has the same (results.go).
OVERHEAD = 256
# The room that display() leaves to the value of the last expression, or a quarter of all room.
RESERVE = 64 << 10
CALL = compile("call(*args, **more)", "", "eval", 0, True)

ALL_SIGNALS = _signal.valid_signals()
_sigmask = _signal.pthread_sigmask
_write = os.write


def line_of(expression):
    """Return the line at which the code of an expression begins, and returns its value. None is none."""
    if expression is None or not hasattr(expression, "co_lines"):
        return expression and expression.co_firstlineno  # up to Python 3.9
    return [line for _, _, line in expression.co_lines()][-1]


class Results:
    """Sends the results of one execution after the other over the control socket."""

    def __init__(self, control, marks, enter):
        self.control, self.marks, self.enter = control, marks, enter
        self.loop = Loop(enter)
        self.id = None  # None between executions: nothing is sent
        self.room = self.budget = self.reserve = self.dropped = 0
        self.clearing = False  # whether the next result clears the earlier ones
        self.charged = {}  # by display id: the sizes of the results that have it
        self.figure_formats = ("png",)
        self.figures = []  # those that the code has shown itself
        self.place = None, ""  # the name and the text of the code
        self.last = None  # its last expression, compiled
        self.keep = None  # called with the values of last expressions
        self.futures = 0  # flags of `from __future__ import`, which stay on, as at a prompt

    def begin(self, command):
        self.budget = command.get("results", 0)
        self.forget()
        self.figure_formats = command.get("figureFormats") or ("png",)
        self.id = command.get("id")
        self.marks.begin(command.get("marks"))

    def forget(self):
        """Reset the room to that of an execution without results."""
        self.room = self.budget
        self.reserve = min(RESERVE, self.room // 4)
        self.charged, self.clearing = {}, False

    def end(self):
        """Send nothing from here on. Return the number of results that were dropped."""
        with self.control.lock:
            self.id, self.figures = None, []
            self.marks.end()
            dropped, self.dropped = self.dropped, 0
            return dropped

    def run(self, source, namespace, filename):
        """Run source and show the value of its last expression, unless that is None."""
        self.place = filename, source
        try:
            body, expression = split(source, self.futures, filename)
        except SyntaxError as error:
            add_line(error, source, filename)
            raise
        before, self.last = self.futures, expression
        if body is not None:
            self.futures |= body.co_flags & FUTURES
        if is_async(body) or is_async(expression):
            value = self.run_async(body, expression, source, before, namespace, filename)
        elif expression is None:
            self.enter(partial(eval, body, namespace))
            return
        elif body is None:
            value = self.enter(partial(eval, expression, namespace))
        else:
            value = self.enter(partial(eval, body, namespace), partial(eval, expression, namespace))
        if value is not None:
            self.show(value, True)
            if self.keep is not None:
                self.keep(value)
            held = [value]
            value = None
            self.caller(True)(held.clear)  # what it warns of at its end is of the last line

    def run_async(self, body, expression, source, flags, namespace, filename):
        """Run code of which a part awaits. All of it runs in the loop, so that it can create tasks."""
        if body is None or expression is None:
            value = self.loop.run(eval(expression if body is None else body, namespace))
            return value if body is None else None
        try:
            self.loop.run(eval(compile_whole(source, flags, filename), namespace))
            return namespace.get(VALUE)
        finally:
            namespace.pop(VALUE, None)

    def show(self, obj, main=False, only=None, metadata=None, pictures=0, **as_what):
        """Show an object in all its forms, or in those for which only returns true."""
        if forms.attempt(forms.is_a, obj, forms.FIGURE):
            self.figures.append(obj)
        if type(obj) in forms.SIMPLE:
            shown = forms.of(obj, ())
        else:
            shown = forms.of(obj, self.figure_formats, self.caller(main))
        if shown is None:
            return  # it has shown itself
        shown.add_metadata(metadata)
        if only is not None:
            shown.keep(only)
        self.publish(shown, main, 1 if main else pictures, **as_what)

    def show_bundle(self, values, metadata=None, **as_what):
        """Show values that are given by MIME type."""
        self.publish(forms.of_bundle(values, metadata), **as_what)

    def caller(self, main):
        """Return a function that calls others from a frame with the name and the line of the code.
        So warnings of libraries name the code and not this script. The value of the last expression
        is shown when the code has ended, so its methods are called without Kaa's frames below them."""
        filename, source = self.place
        frame = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename != filename:
            frame = frame.f_back
        line = frame.f_lineno if frame is not None else line_of(self.last) or len(source.rstrip().splitlines())
        code = CALL.replace(co_filename=filename or "<kaa display>", co_firstlineno=line or 1)

        def run(call, *args, **more):
            names = {"__name__": "__main__", "__builtins__": __builtins__, "call": call, "args": args, "more": more}
            return self.enter(partial(eval, code, names)) if main else eval(code, names)

        return run

    def publish(self, shown, main=False, pictures=0, id=None, update=False):
        """Send the forms of an object that fit. An update replaces the result with its id."""
        if not self.control.is_ours():  # a process that the code forked
            sys.stdout.write(shown.plain + "\n")
            return
        self.marks.flush()
        with self.control.lock:
            if self.clearing:
                self.dropped = 0
                self.forget()
            old = self.charged.get(id, ()) if update else ()
            copies = len(old) or 1
            room = (self.room + sum(old) - (0 if main else self.reserve)) // copies
            frame = fit(shown, room - OVERHEAD, pictures)
            if self.id is None or frame is None:
                self.dropped += 1
                return
            size = room - frame.room
            self.room += sum(old) - size * copies
            if id is not None:
                self.charged[id] = [size] * copies if update else [*self.charged.get(id, ()), size]
            self.send(self.line(frame, shown, main, id, update))

    def line(self, frame, shown, main, id, update):
        parts = [b'"id":%s,"type":"result","main":%s' % (forms.quote(self.id), b"true" if main else b"false")]
        for name, members in frame.members.items():
            parts.append(b'"%s":{%s}' % (name.encode(), b",".join(members)))
        if shown.cut is not None and any(member.startswith(b'"%s":' % forms.DATA.encode()) for member in frame.members["data"]):
            parts.append(b'"truncated":{%s}' % b",".join(b'"%s":[%d,%d]' % (name.encode(), *part) for name, part in shown.cut.items()))
        if id is not None:
            parts.append(b'"displayId":%s' % forms.quote(id))
        if update:
            parts.append(b'"update":true')
        return b"{" + b",".join(parts)

    def clear(self, wait=False):
        """Remove all earlier results; with wait, when the next result comes."""
        if not self.control.is_ours():
            return
        self.marks.flush()
        with self.control.lock:
            if self.id is None or (wait and self.clearing):
                return
            if wait:
                self.clearing = True
            else:
                self.dropped = 0
                self.forget()
            self.send(b'{"id":%s,"type":"clear","wait":%s' % (forms.quote(self.id), b"true" if wait else b"false"))

    def send(self, frame):
        """Send a frame in its place among the output. The members that place it, and the end, are
        added here. Signals are blocked, so that no handler writes within the frame."""
        before = _sigmask(_signal.SIG_BLOCK, ())
        try:
            with self.control.lock:
                _sigmask(_signal.SIG_BLOCK, ALL_SIGNALS)  # may raise what a handler raises
                self.write(frame + self.marks.before_frame())
        finally:
            _sigmask(_signal.SIG_SETMASK, before)

    def write(self, frame):
        try:
            while frame:  # more than once only if the process was stopped during the write
                frame = frame[_write(self.control.fd, frame):]
        except OSError:  # the code has closed our socket
            pass

    def may_have_figures(self):
        return "matplotlib.pyplot" in sys.modules

    def show_figures(self, last=False):
        """Show matplotlib's open figures that were not shown yet, and close all.

        With last, they share the room that is left.
        """
        plt = sys.modules.get("matplotlib.pyplot")
        numbers = forms.attempt(lambda: list(plt.get_fignums())) or ()
        has_content = load("pictures").has_content
        for i, number in enumerate(numbers):
            figure = forms.attempt(lambda number=number: plt.figure(number))
            if not any(figure is other for other in self.figures) and forms.attempt(has_content, figure):
                self.show(figure, pictures=len(numbers) - i if last else 0)
            forms.attempt(lambda figure=figure: plt.close(figure))
