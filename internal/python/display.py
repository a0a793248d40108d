"""Kaa's results: what code shows besides its output.

That is the value of its last expression, what it gives to display(), and matplotlib's
figures. repl_worker.py calls Results.run for each execution and sends what it collects
to the runner as frames:

    {"id", "type": "result", "main", "data": {mime: value}, "metadata": {mime: {…}}, "omitted": {mime: size},
     "reduced": {mime: size}, "truncated": {"rows": [now, all], "columns": …}, "errors": {name: message},
     "displayId", "update", "mark", "in"}
    {"id", "type": "clear", "wait", "mark", "in"}

A value is a string (base64 where the MIME type is of bytes) or, with a JSON type, JSON.
"main" marks the value of the last expression. "omitted" are forms that were too large,
"reduced" those that were made smaller, with their sizes. An "update" takes the place of what
was shown with the same "displayId"; after "clear" only what comes then is there.
For "mark" and "in" see streams.py.

Standard library only, Python 3.8 and later.
"""

import builtins

# See repl_worker.py.
__builtins__ = dict(vars(builtins))  # type: ignore[assignment]

import __future__

import _ast
import _signal
import os
import sys
import types
from functools import partial

import forms
from start import load

ONLY_AST, AWAIT = _ast.PyCF_ONLY_AST, _ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
EXPRESSION_STATEMENT, EXPRESSION = _ast.Expr, _ast.Expression
ASSIGN, NAME, STORE = _ast.Assign, _ast.Name, _ast.Store
VALUE = " value"  # no name that code can have
COROUTINE = 0x80  # in co_flags
FUTURES = 0
for _name in __future__.all_feature_names:
    FUTURES |= getattr(__future__, _name).compiler_flag

# What a result costs beside its text; the runner counts alike (results.go).
OVERHEAD = 256
RECORD = 16  # bytes that a size takes, of what is left out or made smaller
# What display() leaves to the value of the last expression, if that is not too much.
RESERVE = 64 << 10

ALL_SIGNALS = _signal.valid_signals()
_sigmask = _signal.pthread_sigmask
_write = os.write


# --- code


def split(source, flags, filename):
    """Compile source. Returns the code of its statements and of its last expression.

    Either can be None. Line numbers are those of source in both.
    """
    parts = split_simple(source, flags, filename)
    if parts is not None:
        return parts
    try:
        tree = compile(source, filename, "exec", flags | AWAIT | ONLY_AST, True)
        last = tree.body[-1] if tree.body else None
        if type(last) is not EXPRESSION_STATEMENT or is_silenced(source, last):
            return compile(tree, filename, "exec", flags | AWAIT, True), None
        tree.body.pop()
        body = None
        if tree.body:
            body = compile(tree, filename, "exec", flags | AWAIT, True)
            flags |= body.co_flags & FUTURES
        return body, compile(EXPRESSION(last.value), filename, "eval", flags | AWAIT, True)
    except RecursionError:  # trees have a narrower bound than code
        return compile(source, filename, "exec", flags | AWAIT, True), None


def add_line(error, source, filename):
    """Give an error the line that it is in. The compiler looks for that in a file."""
    if error.text is None and error.filename == filename and type(error.lineno) is int:
        lines = source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if 0 < error.lineno <= len(lines):
            error.text = lines[error.lineno - 1] + "\n"


# These begin statements, and are in no expression.
STATEMENTS = frozenset("import return raise assert del pass global nonlocal break continue".split())
COMPOUND = frozenset("for while if elif else def class with try except finally".split())


def split_simple(source, flags, filename):
    """What split returns, for code whose last line tells enough; else None.

    A syntax tree costs a young process a hundred copies of pages. Here the last line is
    an expression by itself and what is before it is complete, so together they mean what
    they mean apart.
    """
    text = source.rstrip()
    start = max(text.rfind("\n"), text.rfind("\r")) + 1
    last = text[start:]
    if ";" in last or last[:1] == "#":
        return None
    flags |= AWAIT
    quoted = '"""' in text or "'''" in text
    try:
        if last[:1] in (" ", "\t"):
            if quoted or not is_compound(text):
                return None
            return compile(source, filename, "exec", flags, True), None
        if start == 0:
            return None, compile(source, filename, "eval", flags, True)
        if last.split(None, 1)[0] in STATEMENTS and not quoted:
            return compile(source, filename, "exec", flags, True), None
        before = text[:start]
        lines = before.count("\n") + before.count("\r") - before.count("\r\n")
        place = "\n" * lines + last
        expression = compile(place, filename, "eval", flags, True)
        body = compile(before, filename, "exec", flags, True)
        if body.co_flags & FUTURES & ~flags:
            expression = compile(place, filename, "eval", flags | body.co_flags & FUTURES, True)
        return body, expression
    except (SyntaxError, RecursionError):
        return None


def is_compound(text):
    """Whether the last line, which is indented, is within a compound statement."""
    for line in reversed(text.splitlines()):
        if line[:1] not in ("", " ", "\t", "#"):
            return line.endswith(":") and line.rstrip(":").split(None, 1)[0].split("(")[0] in COMPOUND
    return False


def is_silenced(source, last):
    """Whether a semicolon follows the last expression: then nobody wants its value."""
    if ";" not in source:
        return False
    lines = source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    rest = lines[last.end_lineno - 1].encode("utf-8", "surrogatepass")[last.end_col_offset:]
    return rest.lstrip().startswith(b";")


def is_async(code):
    return code is not None and code.co_flags & COROUTINE


def compile_whole(source, flags, filename):
    """Compile code of which a part awaits, as one coroutine. It leaves the value of its last
    expression in its namespace."""
    tree = compile(source, filename, "exec", flags | AWAIT | ONLY_AST, True)
    last = tree.body[-1]
    place = {name: getattr(last.value, name) for name in ("lineno", "col_offset", "end_lineno", "end_col_offset")}
    tree.body[-1] = ASSIGN([NAME(VALUE, STORE(), **place)], last.value, **place)
    return compile(tree, filename, "exec", flags | AWAIT, True)


def trace_of(coroutine):
    """Return a traceback to where a coroutine waits: what interrupts it is raised elsewhere."""
    frames = []
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is None:
            break
        frames.append(frame)
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    trace = None
    for frame in reversed(frames):
        trace = types.TracebackType(trace, frame, frame.f_lasti, frame.f_lineno)
    return trace


class Loop:
    """The event loop for await outside of functions. It lives as long as the namespace."""

    def __init__(self, enter):
        self.loop, self.enter = None, enter
        self.is_offered = False  # to code that does not await: see session.py

    def is_open(self):
        return self.loop is not None

    def get(self):
        """Return the loop, and let asyncio take it for that of this thread."""
        import asyncio

        if self.loop is None or self.loop.is_closed():
            self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        return self.loop

    def step(self):
        """Let the tasks that wait for nothing go on, once."""
        import asyncio

        if not self.loop.is_closed() and asyncio.all_tasks(self.loop):
            self.enter(partial(self.loop.run_until_complete, asyncio.sleep(0)))

    def run(self, coroutine):
        task = self.get().create_task(coroutine)
        waiting = None
        try:
            return self.enter(partial(self.loop.run_until_complete, task))
        except BaseException as error:
            if not task.done():
                waiting = trace_of(coroutine)
                if waiting is not None:
                    raise error.with_traceback(waiting)
            raise
        finally:
            if not task.done():  # interrupted: it must not go on in the next execution
                self.cancel([task])

    def cancel(self, tasks):
        import asyncio

        for task in tasks:
            task.cancel()

        async def settle():
            await asyncio.gather(*tasks, return_exceptions=True)

        self.loop.run_until_complete(settle())

    def close(self):
        """What asyncio.run does at its end."""
        loop, self.loop = self.loop, None
        if loop is None or loop.is_closed():
            return
        import asyncio

        self.loop = loop
        try:
            tasks = asyncio.all_tasks(loop)
            if tasks:
                self.cancel(tasks)
            loop.run_until_complete(loop.shutdown_asyncgens())
            if hasattr(loop, "shutdown_default_executor"):  # Python 3.9
                loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            self.loop = None
            asyncio.set_event_loop(None)
            loop.close()


# --- what there is room for


class Frame:
    """What of an object there is room for, as members of a frame."""

    def __init__(self, room):
        self.room, self.members = room, {}

    def add(self, name, key, value):
        """Take a member of an object, which is JSON; False if there is no room."""
        size = len(key) + len(value)
        if size > self.room:
            return False
        self.room -= size
        self.members.setdefault(name, []).append(forms.quote(key) + b":" + value)
        return True

    def add_all(self, name, values):
        for key, value in values.items():
            self.add(name, key, value)


def fit(shown, room, pictures):
    """Return a Frame with what goes into room, small forms first; None without text/plain.

    pictures is by how many pictures the room is shared, 0 if nobody knows: then each may
    have half of what is left, or is made as small as a quarter of it.
    """
    frame = Frame(room)
    plain = limit = shown.plain
    text, limit = forms.quote(plain), len(plain)
    while len(text) > room // 2 and limit > 16:
        limit = limit * 3 // 4
        text = forms.quote(forms.clip(plain, limit))
    if not frame.add("data", forms.PLAIN, text):
        return None
    frame.add_all("errors", {name: forms.quote(message) for name, message in shown.errors.items()})
    todo = sorted(shown.data.items(), key=lambda item: len(item[1]))
    while todo:
        mime, form = todo.pop(0)
        frame.room -= len(mime) + RECORD
        small = form if len(form) <= most_of(mime, frame.room, pictures) else smaller(shown, mime, form, frame.room, pictures)
        if small is None or not frame.add("data", mime, small):
            frame.room += len(mime) + RECORD
            frame.add("omitted", mime, b"%d" % len(form))
            if mime in shown.instead:
                mime, make = shown.instead.pop(mime)
                shown.add("savefig", mime, shown.attempt("savefig", make))
                todo += [(mime, shown.data[mime])] if mime in shown.data else []
        elif small is not form:
            frame.room += len(mime) + RECORD
            if mime in (forms.PNG, forms.JPEG):
                frame.add("reduced", mime, b"%d" % len(form))
    frame.add_all("metadata", shown.metadata)
    return frame


def most_of(mime, room, pictures):
    if mime not in (forms.PNG, forms.JPEG):
        return room
    return room // pictures if pictures else room // 2


def smaller(shown, mime, form, room, pictures):
    """Return less of a form, to fit into its part of the room; None if that cannot be."""
    if mime in shown.smaller:
        return forms.attempt(shown.smaller[mime], form, room - len(mime))
    if mime not in (forms.PNG, forms.JPEG):
        return None
    most = (room // pictures if pictures else room // 4) - len(mime)
    return forms.attempt(load("pictures").smaller, form, most, mime)


# --- results


class Results:
    """What executions show, one after the other, over the control socket."""

    def __init__(self, control, marks, enter):
        self.control, self.marks, self.enter = control, marks, enter
        self.loop = Loop(enter)
        self.id = None  # between executions nothing is sent
        self.room = self.budget = self.reserve = self.dropped = 0
        self.clearing = False  # with the next result
        self.charged = {}  # by display id: what each result that has it takes
        self.figure_formats = ("png",)
        self.figures = []  # that were shown by themselves
        self.place = None, ""  # the name of the code, and its text
        self.keep = None  # what takes the values of last expressions
        self.futures = 0  # what `from __future__ import` has switched on, as at a prompt

    def begin(self, command):
        self.budget = command.get("results", 0)
        self.forget()
        self.figure_formats = command.get("figureFormats") or ("png",)
        self.id = command.get("id")
        self.marks.begin(command.get("marks"))

    def forget(self):
        """Begin anew: nothing has been shown."""
        self.room = self.budget
        self.reserve = min(RESERVE, self.room // 4)
        self.charged, self.clearing = {}, False

    def end(self):
        """From here on nothing is sent. Returns how many results were dropped."""
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
        before = self.futures
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
            self.enter(held.clear)  # what it says at its end names no line of ours

    def run_async(self, body, expression, source, flags, namespace, filename):
        """Run code of which a part awaits. All of it is in the loop then, to make tasks."""
        if body is None or expression is None:
            value = self.loop.run(eval(expression if body is None else body, namespace))
            return value if body is None else None
        try:
            self.loop.run(eval(compile_whole(source, flags, filename), namespace))
            return namespace.get(VALUE)
        finally:
            namespace.pop(VALUE, None)

    def show(self, obj, main=False, only=None, metadata=None, pictures=0, **as_what):
        """Show an object in all its forms, or in those that only lets through."""
        if forms.attempt(forms.is_a, obj, forms.FIGURE):
            self.figures.append(obj)
        if type(obj) in forms.SIMPLE:
            shown = forms.of(obj, ())
        else:
            shown = forms.of(obj, self.figure_formats, self.caller())
        if shown is None:
            return  # it has shown itself
        shown.add_metadata(metadata)
        if only is not None:
            shown.keep(only)
        self.publish(shown, main, 1 if main else pictures, **as_what)

    def show_bundle(self, values, metadata=None, **as_what):
        """Show values that are given by MIME type."""
        self.publish(forms.of_bundle(values, metadata), **as_what)

    def caller(self):
        """Return what calls a function from a frame that has the name and the line of the
        code, so that warnings of libraries name that and not this script."""
        filename, source = self.place
        frame = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename != filename:
            frame = frame.f_back
        line = frame.f_lineno if frame is not None else len(source.rstrip().splitlines())
        code = CALL.replace(co_filename=filename or "<kaa display>", co_firstlineno=line or 1)

        def run(call, *args, **more):
            return eval(code, {"__name__": "__main__", "__builtins__": __builtins__, "call": call, "args": args, "more": more})

        return run

    def publish(self, shown, main=False, pictures=0, id=None, update=False):
        """Send what of an object there is room for. An update takes the place of what has its id."""
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
        """Take back all that was shown; with wait, once there is something new."""
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
        """Send a frame, whose end is still to come, in its place among the output, and whole: no
        signal's handler may come in between."""
        before = _sigmask(_signal.SIG_BLOCK, ())
        try:
            with self.control.lock:
                _sigmask(_signal.SIG_BLOCK, ALL_SIGNALS)  # may raise what a handler raises
                self.write(frame + self.marks.before_frame())
        finally:
            _sigmask(_signal.SIG_SETMASK, before)

    def write(self, frame):
        try:
            while frame:  # once, unless the process was stopped in between
                frame = frame[_write(self.control.fd, frame):]
        except OSError:  # the code has closed our socket
            pass

    def may_have_figures(self):
        return "matplotlib.pyplot" in sys.modules

    def show_figures(self, last=False):
        """Show the open figures of matplotlib, those that were not shown yet, and close them.

        The last ones share what room there is.
        """
        plt = sys.modules.get("matplotlib.pyplot")
        numbers = forms.attempt(lambda: list(plt.get_fignums())) or ()
        has_content = load("pictures").has_content
        for i, number in enumerate(numbers):
            figure = forms.attempt(lambda number=number: plt.figure(number))
            if not any(figure is other for other in self.figures) and forms.attempt(has_content, figure):
                self.show(figure, pictures=len(numbers) - i if last else 0)
            forms.attempt(lambda figure=figure: plt.close(figure))


CALL = compile("call(*args, **more)", "", "eval", 0, True)
