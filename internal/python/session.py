"""A session's executions: one after the other in one namespace, until shutdown.

repl_worker.py hands its process over to Session with the first command, and what they share
stays there. The code shares the process as well: see there.

Standard library only, Python 3.8 and later.
"""

import builtins

__builtins__ = dict(vars(builtins))  # type: ignore[assignment]  # see repl_worker.py

import _signal
import io
import linecache
import os
import sys
import time
from _thread import get_ident
from fcntl import fcntl as _fcntl

import fork
import repl_worker as worker

MAX_SOURCES = 1000  # that tracebacks can show
SMALL_PIPE = 4096  # has room for as much, however many pipes there are
F_SETPIPE_SZ = 1031  # fcntl has it from Python 3.10 on
_exit, _write, _close = os._exit, os.write, os.close
SIGINT, SIG_BLOCK, SIG_UNBLOCK = _signal.SIGINT, _signal.SIG_BLOCK, _signal.SIG_UNBLOCK
INTERRUPT = (SIGINT,)
_signal_set, _sigmask = _signal.signal, _signal.pthread_sigmask


class Session:
    """Serves one execution after the other in one namespace, until shutdown."""

    def __init__(self, control, interrupts, set_limits):
        self.control, self.interrupts, self.set_limits = control, interrupts, set_limits
        self.home = os.getcwd()
        self.ready, self.loop = worker.prepared.ready, worker.prepared.results.loop
        self.streams, self.marks = (sys.stdout, sys.stderr), worker.prepared.marks
        worker.main_module.forget_sources()
        sys.argv[0] = sys.path[0] = ""
        self.namespace = worker.main_module.new()
        self.sources = []
        self.stdin = Stdin()
        self.shown = Shown(self.namespace)
        worker.prepared.results.keep = self.shown.keep
        self.loop.is_offered = True
        if "asyncio" in sys.modules:  # it was preloaded
            offer_loop(sys.modules["asyncio"], self.loop)

    def serve(self, command):
        while command is not None and command["cmd"] in worker.SESSION_COMMANDS:
            if command["cmd"] == "session":
                self.run(command)
            else:
                fork.fork(self, command)
            command = self.next()
        worker.run_all(self.interrupts, [
            lambda: worker.close_loop(self.interrupts),
            lambda: worker.unshielded(self.interrupts, worker.join_threads),
            lambda: worker.unshielded(self.interrupts, worker.run_atexit),
            lambda: _exit(0),
        ])

    def next(self):
        while True:
            try:
                self.control.wait()
                # What was meant for the execution before is not for the next one.
                self.interrupts.notes.clear()
                command = self.control.receive()
                if command is None or command["cmd"] != "input":  # that comes too late
                    return command
            except OSError:
                return None
            except BaseException:
                self.interrupts.shield()

    def run(self, command):
        outcome, undo, sent = worker.Outcome(), [], []
        source = command.get("code") or ""
        filename = "%s%d>" % (worker.EXECUTION, command["execution"])
        attempt(lambda: self.begin(command, source, filename, undo))

        def finish():
            if not self.control.is_ours():
                _exit(outcome.exit_code)  # a process that the code has forked
            dropped = worker.prepared.results.end() or None
            if not self.control.send(id=command["id"], type="status", status=outcome.status, exitCode=outcome.exit_code,
                                     dropped=dropped, files=worker.has_files(self.home)):
                _exit(70)
            sent.append(True)

        steps = [
            lambda: worker.execute(outcome, source, self.interrupts, self.namespace, filename),
            lambda: worker.report(self.control, command["id"], outcome),
            lambda: worker.show_figures(outcome, self.interrupts),
            lambda: self.start_tasks(outcome),
            self.marks.calm,
            lambda: worker.flush_all(self.streams, worker.prepared.flush_libc),
            worker.prepared.console.end,
            lambda: undo_envs(undo),
            finish,
        ]
        take_all(self.interrupts, steps, sent)

    def start_tasks(self, outcome):
        """Let tasks that the execution has made begin, unless there is no time left."""
        if self.loop.is_open() and not outcome.was_interrupted():
            worker.unshielded(self.interrupts, self.loop.step)

    def begin(self, command, source, filename, undo):
        if command.get("session"):
            worker.apply_envs(command["session"])
        envs = command.get("envs")
        if envs:
            for name in envs:
                undo.append((name, os.environ.get(name)))
            worker.apply_envs(envs)
        if command.get("limits"):
            self.set_limits(command["limits"])
        worker.prepared.results.begin(command)
        self.stdin.begin(command.get("stdin"))
        if command.get("input"):
            worker.prepared.console.begin(command["id"])
        self.namespace.pop("__warningregistry__", None)  # what was warned of is, again
        forget_directories()
        keep_loop(self.loop)
        worker.main_module.prime_linecache(source, filename)
        self.sources.append(filename)
        if len(self.sources) > MAX_SOURCES:
            linecache.cache.pop(self.sources.pop(0), None)


def attempt(step):
    try:
        step()
    except BaseException:
        pass


def take_all(interrupts, steps, done):
    """Take each step once, whatever it raises, until something is in done."""
    note = interrupts.note
    steps.reverse()
    tries = 100
    while steps and not done and tries:
        tries -= 1
        try:
            try:
                while steps:
                    interrupts.shield()
                    steps.pop()()
            except BaseException:
                _sigmask(SIG_BLOCK, INTERRUPT)  # see run_all
                _signal_set(SIGINT, note)
                _sigmask(SIG_UNBLOCK, INTERRUPT)
        except BaseException:
            _signal_set(SIGINT, note)
            _sigmask(SIG_UNBLOCK, INTERRUPT)
    if not done:
        _exit(70)


def undo_envs(undo):
    for name, value in undo:
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    if any(name == "TZ" for name, _ in undo):
        time.tzset()


class Stdin:
    """The standard input of the executions: each has its own, with an end, and what the one
    before has left of its is gone.

    The code may have closed descriptor 0, by open(0).read() or so, and what it opened after
    that may have got the number. That is the code's then, and stays.
    """

    def __init__(self):
        self.stream = sys.stdin
        self.fed = False
        self.adopt()

    def adopt(self):
        """Take what descriptor 0 is now for what was put there."""
        self.own = identity(0)

    def begin(self, text):
        at_zero = identity(0)
        if not text and not self.fed and at_zero == self.own and not is_closed(self.stream):
            return
        replaced = sys.stdin is not self.stream and not is_closed(sys.stdin)
        self.fed = bool(text)
        is_free = at_zero in (None, self.own)
        fd = open_text(text or "", is_free)
        if fd and is_free:
            os.dup2(fd, 0)
            _close(fd)
            fd = 0
        elif fd == 0:
            os.set_inheritable(fd, True)
        if fd == 0:
            self.adopt()
        self.stream = open_stdin(fd)
        sys.__stdin__ = self.stream  # type: ignore[misc]
        if text or not replaced:
            sys.stdin = self.stream


def identity(fd):
    """What tells the file of a descriptor from others; None if it is closed."""
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def is_closed(stream):
    try:
        return stream.closed
    except BaseException:  # whatever the code has put there
        return False


def open_text(text, in_pipe):
    """Return a descriptor from which text can be read: of a pipe, as a fresh interpreter has
    it, if in_pipe and one has room for all of it."""
    data = text.encode("utf-8", "surrogatepass")
    if in_pipe:
        fd = open_pipe(data)
        if fd is not None:
            return fd
    try:
        fd = os.memfd_create("stdin")
    except (AttributeError, OSError):
        import tempfile

        file = tempfile.TemporaryFile(buffering=0)
        fd = os.dup(file.fileno())
    while data:
        data = data[_write(fd, data):]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def open_pipe(data):
    """Return the end of a pipe with data in it, or None if it has no room."""
    fd, entrance = os.pipe()
    try:
        os.set_blocking(entrance, False)
        if len(data) > SMALL_PIPE:
            _fcntl(entrance, F_SETPIPE_SZ, len(data))
        if _write(entrance, data) == len(data):
            return fd
    except OSError:
        pass
    finally:
        _close(entrance)
    _close(fd)
    return None


def open_stdin(fd):
    """Return what Python makes of its standard input when it starts."""
    raw = io.FileIO(fd, "rb", closefd=fd != 0)
    raw.name = "<stdin>"
    stream = io.TextIOWrapper(io.BufferedReader(raw), encoding="utf-8", errors="surrogateescape", newline="\n")
    stream.mode = "r"  # type: ignore[misc]
    return stream


def prepare_stdin():
    """Make sys.stdin for the pipe that descriptor 0 will be: a file remembers from its
    beginning whether one can seek in it."""
    if identity(0) is None:
        return
    before, (end, entrance) = os.dup(0), os.pipe()
    os.dup2(end, 0)
    sys.stdin = sys.__stdin__ = open_stdin(0)  # type: ignore[misc]
    os.dup2(before, 0)
    for fd in (before, end, entrance):
        _close(fd)


class Shown:
    """Names for the values of last expressions: _ is the newest one, __ and ___ those before.

    As in IPython, a name that the code uses for something else stays the code's.
    """

    names = ("_", "__", "___")

    def __init__(self, namespace):
        self.namespace, self.values = namespace, ()

    def keep(self, value):
        names, namespace = self.names, self.namespace
        ours = "_" not in vars(builtins)  # gettext.install puts it there
        for name, known in zip(names, self.values):
            if namespace.get(name, known) is not known:
                ours = False
        if len(self.values) < len(names) and names[len(self.values)] in namespace:
            ours = False
        self.values = ((value,) + self.values)[:len(names)]
        if ours:
            namespace.update(zip(names, self.values))


def offer_loop(asyncio, loop):
    """Let asyncio.create_task and the like find the session's loop outside of await, too.

    Nothing runs in it then, so asyncio.run and loop.run_until_complete work as in a script.
    It is called when asyncio has been imported. Only a session's loop is offered.
    """
    if not loop.is_offered:
        return
    events, main = asyncio.events, get_ident()
    running = events._get_running_loop

    def get_running_loop():
        """Return the running event loop; in a session, the one that its await uses."""
        found = running()
        if found is None:
            if get_ident() != main:
                raise RuntimeError("no running event loop")
            found = loop.get()
        return found

    get_running_loop.__module__ = events.__name__
    events.get_running_loop = asyncio.get_running_loop = get_running_loop
    keep_loop(loop)


def keep_loop(loop):
    """Let it be the thread's loop unless the code has set another: asyncio.run leaves none."""
    events = sys.modules.get("asyncio.events")
    policy = getattr(events, "_event_loop_policy", None)
    if loop.is_offered and "asyncio" in sys.modules and getattr(getattr(policy, "_local", None), "_loop", None) is None:
        loop.get()


def forget_directories():
    """Let modules be found that were written since the last look into their directories: these
    have the same time of change if that was just now."""
    for finder in sys.path_importer_cache.values():
        forget = getattr(finder, "invalidate_caches", None)
        if forget is not None:
            forget()
