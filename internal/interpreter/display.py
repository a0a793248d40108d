"""Kaa's results: what code shows besides its output.

That is the value of its last expression, what it gives to display(), and matplotlib's
figures. repl_worker.py calls Results.run for each execution and sends what it collects
to the runner as frames:

    {"id", "type": "result", "main", "data": {mime: value}, "omitted": {mime: size}}

A value is a string (base64 where the MIME type is of bytes) or, with a JSON type, JSON.
"main" marks the value of the last expression. "omitted" are forms that were too large.

All of what is called here may be the code's: a __repr__ may do anything. What fails is
left out and never fails the execution.

Standard library only, Python 3.8 and later.
"""

import builtins

# See repl_worker.py.
__builtins__ = dict(vars(builtins))

import __future__
import _ast
import _signal
import binascii
import json
import os
import sys
import types
from _json import encode_basestring_ascii as quote
from functools import partial

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
# What display() leaves to the value of the last expression, if that is not too much.
RESERVE = 64 << 10
MAX_PLAIN = 64 << 10  # characters of text/plain
MAX_FORMS = 32
MAX_ROWS, MAX_COLUMNS = 1000, 200  # of a data frame as JSON
MAX_MIME = 200
MIME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$&^_.+-/; =")

PLAIN, HTML, PNG, JPEG, DATA = "text/plain", "text/html", "image/png", "image/jpeg", "application/json"
METHODS = (
    (HTML, "_repr_html_"),
    ("text/markdown", "_repr_markdown_"),
    ("image/svg+xml", "_repr_svg_"),
    (PNG, "_repr_png_"),
    (JPEG, "_repr_jpeg_"),
    ("text/latex", "_repr_latex_"),
    (DATA, "_repr_json_"),
    ("application/javascript", "_repr_javascript_"),
    ("application/pdf", "_repr_pdf_"),
)

MRO = type.__dict__["__mro__"].__get__
TYPE_NAME = type.__dict__["__name__"].__get__
ALL_SIGNALS = _signal.valid_signals()
to_json = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
from_json = json.JSONDecoder().decode
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

    def is_open(self):
        return self.loop is not None

    def run(self, coroutine):
        import asyncio

        if self.loop is None or self.loop.is_closed():
            self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        task = self.loop.create_task(coroutine)
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


# --- the forms of a value


def attempt(function, *args, **more):
    """Call what may be the code's; None if it fails. Only an interrupt comes through."""
    try:
        return function(*args, **more)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return None


def exact(text):
    """The str of a str, whatever its class makes of it."""
    return "".join(("", text))


def encode(mime, value):
    """Return a value as JSON; None for what cannot be."""
    if isinstance(value, tuple) and len(value) == 2:  # with metadata, as IPython has it
        value = value[0]
    if value is None:
        return None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return '"%s"' % binascii.b2a_base64(value, newline=False).decode()
    if isinstance(value, str):
        return quote(exact(value))
    if mime.split(";")[0].endswith("json"):
        return exact(to_json(value))
    return None


def plain_of(obj):
    """Return repr(obj), or what there is to say about an object without."""
    try:
        text = exact(repr(obj))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        text = "<%s object whose repr raised %s>" % (exact(TYPE_NAME(type(obj))), exact(TYPE_NAME(type(error))))
    return clip(text, MAX_PLAIN)


def clip(text, limit):
    if len(text) <= limit:
        return text
    half = limit // 2
    return "%s\n... [%d characters dropped] ...\n%s" % (text[:half], len(text) - 2 * half, text[-half:])


def call(obj, name, **more):
    """Call a method that obj's class has; IPython's protocol means no others."""
    method = getattr(type(obj), name, None)
    return None if method is None or isinstance(obj, type) else method(obj, **more)


def forms_of(obj, figure_formats):
    """Return the forms of obj as JSON, by MIME type. text/plain is always there, as text."""
    forms = attempt(bundle_of, obj) or {}
    if not forms:
        for name, make in SPECIAL:
            if attempt(is_a, obj, name):
                forms = attempt(encode_all, attempt(make, obj, figure_formats) or {}) or {}
        for mime, method in METHODS:
            if mime not in forms and not (mime == JPEG and PNG in forms):
                form = attempt(encode, mime, attempt(call, obj, method))
                if form is not None:
                    forms[mime] = form
    plain = forms.get(PLAIN)
    forms[PLAIN] = plain_of(obj) if plain is None else clip(from_json(plain), MAX_PLAIN)
    return forms


def bundle_of(obj):
    values = call(obj, "_repr_mimebundle_", include=None, exclude=None)
    if isinstance(values, tuple) and values:  # with metadata
        values = values[0]
    return encode_all(values) if isinstance(values, dict) else None


def encode_all(values):
    """Return the values of a bundle that can be sent."""
    forms = {}
    for mime, value in list(dict.items(values))[:MAX_FORMS]:
        if isinstance(mime, str) and is_mime(exact(mime)):
            mime = exact(mime)
            form = attempt(encode, mime, value)
            if form is not None and (mime != PLAIN or form.startswith('"')):
                forms[mime] = form
    return forms


def is_mime(text):
    return 0 < text.find("/") < len(text) - 1 < MAX_MIME and MIME_CHARACTERS.issuperset(text)


def is_a(obj, name):
    """Whether obj is of a library's class. The library need not be loaded to know."""
    package, _, class_name = name.partition(".")
    return any(TYPE_NAME(cls) == class_name and cls.__module__.split(".")[0] == package for cls in MRO(type(obj)))


def frame_forms(frame, _):
    return {HTML: frame._repr_html_(), DATA: attempt(columns_of, frame)}


def series_forms(series, _):
    frame = series.to_frame()
    return {HTML: frame._repr_html_(), DATA: attempt(columns_of, frame)}


def columns_of(frame):
    """A data frame as lists by column. An index that is more than numbers is a column."""
    frame = frame.iloc[:MAX_ROWS, :MAX_COLUMNS]
    if type(frame.index).__name__ != "RangeIndex":
        reset = attempt(frame.reset_index)  # its name may be taken
        frame = frame if reset is None else reset
    rows = from_json(frame.to_json(orient="split", date_format="iso", double_precision=15, default_handler=str))["data"]
    columns = {}
    for i, name in enumerate(map(str, frame.columns)):
        while name in columns:
            name += "_"
        columns[name] = [row[i] for row in rows]
    return columns


def figure_forms(figure, formats):
    import io

    forms = {}
    for name in formats:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=name, bbox_inches="tight")
        forms.update({PNG: buffer.getvalue()} if name == "png" else {"image/svg+xml": buffer.getvalue().decode()})
    return forms


FIGURE = "matplotlib.Figure"
SPECIAL = (("pandas.DataFrame", frame_forms), ("pandas.Series", series_forms), (FIGURE, figure_forms))


def fit(forms, room):
    """Return what goes into room, small ones first, and the sizes of the others."""
    fields, omitted = [], {}
    plain = forms.pop(PLAIN)
    text = quote(plain)
    limit = len(plain)
    while len(text) > room // 2 and limit > 16:
        limit = limit * 3 // 4
        text = quote(clip(plain, limit))
    for mime, form in [(PLAIN, text)] + sorted(forms.items(), key=lambda item: len(item[1])):
        size = len(mime) + len(form)
        if size > room:
            omitted[mime] = len(form)
        else:
            room -= size
            fields.append(quote(mime) + ":" + form)
    return fields, omitted, room


# --- results


class Results:
    """What executions show, one after the other, over the control socket."""

    def __init__(self, control, enter):
        self.control, self.enter = control, enter
        self.loop = Loop(enter)
        self.id = None  # between executions nothing is sent
        self.room = self.reserve = self.dropped = 0
        self.figure_formats = ("png",)
        self.figures = []  # that were shown by themselves
        self.futures = 0  # what `from __future__ import` has switched on, as at a prompt

    def begin(self, command):
        self.room = command.get("results", 0)
        self.reserve = min(RESERVE, self.room // 4)
        self.figure_formats = command.get("figures") or ("png",)
        self.id = command.get("id")

    def end(self):
        """From here on nothing is sent. Returns how many results were dropped."""
        with self.control.lock:
            self.id, self.figures = None, []
            dropped, self.dropped = self.dropped, 0
            return dropped

    def run(self, source, namespace, filename):
        """Run source and show the value of its last expression, unless that is None."""
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

    def show(self, obj, main=False, only=None):
        """Show an object in all its forms, or in those that only lets through."""
        if attempt(is_a, obj, FIGURE):
            self.figures.append(obj)
        forms = forms_of(obj, self.figure_formats)
        self.show_forms({mime: form for mime, form in forms.items() if only is None or mime == PLAIN or only(mime)}, main)

    def show_bundle(self, values):
        """Show values that are given by MIME type."""
        forms = encode_all(values)
        forms[PLAIN] = clip(from_json(forms[PLAIN]), MAX_PLAIN) if PLAIN in forms else ""
        self.show_forms(forms)

    def show_forms(self, forms, main=False):
        if not self.control.is_ours():  # a process that the code forked
            sys.stdout.write(forms[PLAIN] + "\n")
            return
        with self.control.lock:
            room = self.room - OVERHEAD - (0 if main else self.reserve)
            fields, omitted, left = fit(forms, room)
            if self.id is None or not fields:
                self.dropped += 1
                return
            self.room -= OVERHEAD + room - left
            frame = '{"id":%s,"type":"result","main":%s,"data":{%s}' % (quote(self.id), "true" if main else "false", ",".join(fields))
            if omitted:
                frame += ',"omitted":' + to_json(omitted)
            self.send((frame + "}\n").encode("ascii"))

    def send(self, frame):
        """Send a frame whole: no signal's handler may come in between."""
        before = _sigmask(_signal.SIG_BLOCK, ())
        try:
            _sigmask(_signal.SIG_BLOCK, ALL_SIGNALS)  # may raise what a handler raises
            self.write(frame)
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

    def show_figures(self):
        """Show the open figures of matplotlib, those that were not shown yet, and close them."""
        plt = sys.modules.get("matplotlib.pyplot")
        for number in attempt(lambda: list(plt.get_fignums())) or ():
            figure = attempt(lambda: plt.figure(number))
            if not any(figure is other for other in self.figures) and attempt(has_content, figure):
                self.show(figure)
            attempt(lambda: plt.close(figure))


def has_content(figure):
    return bool(figure.axes or figure.lines or figure.images or figure.texts)
