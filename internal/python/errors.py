"""Kaa's tracebacks: the texts of the code's exceptions.

They show the frames of the program's files, whatever the names and directories of these are.
They leave out frames of Kaa's scripts and of libraries, which are the files below the
directories of the interpreter and its packages.

Up to Python 3.12 the interpreter's own printer is written in C. It reads lines from files
only, and up to 3.11 it alone suggests names for a misspelt one. So there Kaa's hooks print the
same text, and suggest names.

Standard library only, Python 3.8 and later.
"""

import linecache
import sys
import threading
import traceback
import types
from _thread import get_ident

import main_module
from start import BUILTINS, HERE

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

OWN = "<kaa "  # begins the names of Kaa's code
MAX_NAME = 256
# In characters. A character takes at most 12 bytes as ASCII JSON, so an error frame with a
# value and a traceback stays below the runner's limit of 1 MiB.
MAX_TEXT = 32 * 1024
MAX_FRAMES = 1000  # of a traceback, like CPython's own
LIBRARIES = ("<frozen ", "<__array_function__ ")  # without files

TYPE_NAME = type.__dict__["__name__"].__get__
TRACEBACK, SET_TRACEBACK = BaseException.__dict__["__traceback__"].__get__, BaseException.__dict__["__traceback__"].__set__
C_PRINTER = sys.version_info < (3, 13)
SUGGESTS = (3, 10) <= sys.version_info < (3, 12)
NAMES_MAIN = sys.version_info < (3, 11)  # the interpreter's own printer does, before a class of the main module
ASKS = sys.version_info[:2] == (3, 12)  # it ends a suggestion of an import with a question mark
# As in CPython: the most names, the longest name, and the cost of a changed letter.
MOST_NAMES, LONGEST_NAME, CHANGE = 750, 40, 2


def clip(text, limit):
    """Return text as an exact str that keeps head and tail within the limit."""
    text = "".join(("", text))
    if len(text) <= limit:
        return text
    half = limit // 2
    return "%s\n... [%d characters dropped] ...\n%s" % (text[:half], len(text) - 2 * half, text[-half:])


def shown(text, limit):
    """Return text as standard error shows it, within the limit: half a surrogate pair, which has no UTF-8, is an escape."""
    text = "".join(("", text))
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return clip(text, limit)


class Hidden:
    """Decides which frames are not the program's."""

    def __init__(self):
        places = [path.rstrip("/") + "/" for path in sys.path if path.startswith("/")]
        self.prefixes = tuple(places) + LIBRARIES + (OWN,)

    def has(self, filename):
        return filename.startswith(self.prefixes) or is_script(filename)

    def own(self, filename):
        return filename.startswith(OWN) or is_script(filename)


def is_script(filename):
    """Return whether it is start.py, or in tests another script. Working directories may be below."""
    return filename.rpartition("/")[0] == HERE


hidden: "Hidden" = None  # repl_worker.py puts it here


def strip(exc):
    """Let the traceback of exc begin with the program's frame."""
    trace = TRACEBACK(exc)
    while trace is not None and hidden.own(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    SET_TRACEBACK(exc, trace)


def describe(exc):
    """Return name, value and traceback, also of hostile exceptions."""
    name = shown(TYPE_NAME(type(exc)), MAX_NAME)
    try:
        value = shown(str(exc), MAX_TEXT)
    except BaseException:
        value = "<exception str() failed>"
    for chain in (True, False):
        try:
            return name, value, shown(render(exc, chain), MAX_TEXT)
        except BaseException:
            continue
    return name, value, clip("%s: %s\n" % (name, value), MAX_TEXT)


def keep_lines(trace):
    """Store for code in no file that it has no lines. Otherwise linecache would take the lines of its
    module, which may be the main module."""
    while trace is not None:
        code, names = trace.tb_frame.f_code, trace.tb_frame.f_globals
        name = code.co_filename
        if name not in linecache.cache and isinstance(names.get("__loader__"), main_module.Loader) and not linecache.getlines(name):
            linecache.cache[name] = (0, None, [], name)
        trace = trace.tb_next


def render(exc, chain, everything=False):
    """Return the text of a traceback, with all frames or those of the program only."""
    keep_lines(TRACEBACK(exc))
    report = traceback.TracebackException(type(exc), exc, TRACEBACK(exc), limit=-MAX_FRAMES)
    most = getattr(sys, "tracebacklimit", None)
    todo, seen = [(report, exc)], set()
    while todo:
        part, cause = todo.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        if part.stack is not None and not (everything and most is None):
            frames = part.stack if everything else [frame for frame in part.stack if not hidden.has(frame.filename)]
            if isinstance(most, int):
                frames = frames[-most:] if most > 0 else []
            part.stack[:] = frames
            if not frames:  # a syntax error; format must print no heading
                part.exc_traceback = None  # type: ignore[attr-defined]
                part.stack = NoStack()
        if SUGGESTS:
            add_suggestion(part, cause)
        if NAMES_MAIN:
            name_main(part)
        if ASKS and issubclass(part.exc_type, NameError):
            end_question(part)
        todo += [(part.__cause__, cause.__cause__), (part.__context__, cause.__context__)]
        todo += zip(getattr(part, "exceptions", None) or [], getattr(cause, "exceptions", None) or [])
    return "".join(report.format(chain=chain))


class NoStack(traceback.StackSummary):
    pass


def end_question(part):
    if part._str.endswith("'") and "did you forget to import '" in part._str.lower():
        part._str += "?"


def name_main(part):
    """Let a part of a report name the exception as the interpreter's own printer does up to Python 3.10."""
    kind = part.exc_type
    if part._str == "<unprintable %s object>" % kind.__name__:
        part._str = "<exception str() failed>"
    if kind.__module__ == "__main__" and not issubclass(kind, SyntaxError):
        lines = list(part.format_exception_only())
        name = kind.__qualname__ if sys.version_info >= (3, 9) else kind.__name__
        lines[0] = "__main__." + name + lines[0][len(kind.__qualname__):]
        part.format_exception_only = lambda: lines


# --- suggestions


def add_suggestion(part, exc):
    name = suggestion(exc)
    if name is not None:
        part._str = "%s. Did you mean: '%s'?" % (part._str, name)


def suggestion(exc):
    """Return the name that is probably meant, or None."""
    if type(exc) is AttributeError:
        places = lambda: [dir(exc.obj)]
    elif type(exc) is NameError and TRACEBACK(exc) is not None:
        places = lambda: names_in(TRACEBACK(exc))
    else:
        return None
    try:
        name = exc.name
        if type(name) is not str or not 0 < len(name) <= LONGEST_NAME:
            return None
        for names in places():
            found = closest(name, names)
            if found is not None:
                return found
    except Exception:
        pass
    return None


def names_in(trace):
    while trace.tb_next is not None:
        trace = trace.tb_next
    frame = trace.tb_frame
    return frame.f_code.co_varnames + frame.f_code.co_cellvars + frame.f_code.co_freevars, frame.f_globals, frame.f_builtins


def closest(name, names):
    found, least = None, None
    if len(names) >= MOST_NAMES:
        return None
    for other in names:
        if type(other) is str and other != name and len(other) <= LONGEST_NAME:
            most = (len(name) + len(other) + 3) * CHANGE // 6
            if least is not None:
                most = min(most, least - 1)
            cost = distance(name, other, most)
            if cost <= most:
                found, least = other, cost
    return found


def distance(a, b, most):
    """Return the cost of changing a into b, or most + 1 if it is more than most. An added, removed or
    replaced letter costs 2, a change of its case 1."""
    if abs(len(a) - len(b)) * CHANGE > most:
        return most + 1
    above = [CHANGE * i for i in range(len(b) + 1)]
    for i, x in enumerate(a):
        row = [CHANGE * (i + 1)]
        for j, y in enumerate(b):
            change = 0 if x == y else 1 if x.lower() == y.lower() else CHANGE
            row.append(min(above[j] + change, above[j + 1] + CHANGE, row[j] + CHANGE))
        if min(row) > most:
            return most + 1
        above = row
    return above[-1]


# --- hooks


def print_exception(kind, value, trace, heading=""):
    """Print an exception as Python's own sys.excepthook does."""
    if isinstance(value, BaseException) and trace is not TRACEBACK(value) and isinstance(trace, (types.TracebackType, type(None))):
        SET_TRACEBACK(value, trace)
    stderr = sys.stderr
    if stderr is not None:
        stderr.write(heading + render(value, True, everything=True))
        stderr.flush()


def excepthook(exctype, value, trace, /):
    """Handle an exception by displaying it with a traceback on sys.stderr."""
    print_exception(exctype, value, trace)


def thread_excepthook(args, /):
    """Handle uncaught Thread.run() exception."""
    if args.exc_type is SystemExit:
        return
    thread = args.thread
    print_exception(args.exc_type, args.exc_value, args.exc_traceback,
                    "Exception in thread %s:\n" % (get_ident() if thread is None else thread.name))


def unraisablehook(unraisable, /):
    """Handle an unraisable exception."""
    stderr, exc = sys.stderr, unraisable.exc_value
    if stderr is None:
        return
    text = unraisable.err_msg or "Exception ignored in"
    if unraisable.object is not None:
        try:
            text += ": " + repr(unraisable.object)
        except Exception:
            text += ": <object repr() failed>"
        text += "\n"
    else:
        text += ":\n"
    if exc is None:
        text += "%s\n" % unraisable.exc_type.__qualname__
    else:
        report = traceback.TracebackException(type(exc), exc, unraisable.exc_traceback)
        report.__cause__ = report.__context__ = None
        text += "".join(report.format(chain=False))
    stderr.write(text)
    stderr.flush()


def install_hooks():
    """Replace the hooks of Python that cannot show the program's lines."""
    if C_PRINTER:
        excepthook.__module__, thread_excepthook.__module__ = "sys", "_thread"
        sys.excepthook = sys.__excepthook__ = excepthook
        threading.excepthook = thread_excepthook
        if hasattr(threading, "__excepthook__"):
            threading.__excepthook__ = thread_excepthook
    unraisablehook.__module__ = "sys"
    sys.unraisablehook = sys.__unraisablehook__ = unraisablehook
