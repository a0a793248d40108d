"""Kaa's worker: runs one piece of Python code in this process and says how it ended.

The zygote loads it once and calls prepare; each worker that it forks calls main. By
then the file descriptors 0 to 2 are pipes, which belong to the code, and there is a
private socket, on which the worker speaks lines of JSON:

    to the runner    {"type": "ready", "version": 2, "python": "3.11.2", "rehearsals": steps}
    from the runner  {"cmd": "rehearse"}, while the worker is parked: take one of these steps
    to the runner    {"type": "rehearsed", "rehearsals": steps that are left}
    from the runner  {"id": "...", "cmd": "exec", "code": "...", "envs": {...}, "limits": {...},
                      "results": bytes, "figureFormats": [...], "marks": "...", "main": "...", "modules": ["...", ...]}
                     {"id": "...", "cmd": "session", the same and "execution", "stdin", "session", "input"}
                     {"id": "...", "cmd": "input", ...}: see console.py
                     {"id": "...", "cmd": "fork", "to": ["...", ...]}
                     {"id": "...", "cmd": "shutdown"}
    to the runner    {"id": "...", "type": "result", ...}, any number: see display.py
                     {"id": "...", "type": "input_request", ...}, any number: see console.py
                     {"id": "...", "type": "error", "name", "value", "traceback"}
                     {"id": "...", "type": "status", "status", "exitCode", "dropped", "files"}
                     {"id": "...", "type": "refused", "error"}
                     {"id": "...", "type": "forking"}
                     {"id": "...", "type": "forked", "pid"}

After exec the process ends. After session it waits for the next one, in the same
namespace; shutdown then ends it in good order: see session.py. To fork the answer is
refused, or forking, then come the descriptors of the copies, and for each of them a
forked. Each copy receives go on its own socket, and answers ready there once its files are
copied: see fork.py.

The code shares this process, so it can break everything in here if it tries.
The runner knows that: it alone decides about time, output and the end. What
this file has to do is to serve code that is merely unusual. Therefore it holds
on to whatever it needs afterwards before the code runs, and trusts nothing then.

Standard library only, Python 3.8 and later.
"""

import builtins

# Functions defined from here on look their builtins up in this copy, so that
# code which replaces builtins.len or builtins.BaseException does not hurt us.
__builtins__ = dict(vars(builtins))  # type: ignore[assignment]

import _signal
import _thread
import atexit
import gc
import json
import os
import select
import sys
import threading
import time
from _json import encode_basestring_ascii as quote
from functools import partial

import console
import display
import errors
import frames
import main_module
import notebook
import session
import streams
from rehearsal import Rehearsal

# json.loads without its search for white space: fewer pages to touch.
parse = json.JSONDecoder().scan_once  # type: ignore[attr-defined]

TYPE_CHECKING = False  # a type checker takes it for true; the module typing would be in all workers
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, Optional

VERSION = 2
EXECUTION = "<stdin-"  # and its number: what the code is called in a session
SESSION_COMMANDS = ("session", "fork")
MAX_COMMAND = 32 * 1024  # bytes of a frame from a rehearsal
MOST_AT_ONCE = 1 << 16  # bytes that are read from the socket

SIGINT, SIG_BLOCK, SIG_UNBLOCK = _signal.SIGINT, _signal.SIG_BLOCK, _signal.SIG_UNBLOCK
INTERRUPT = (SIGINT,)
HAS_LAST_EXC = sys.version_info >= (3, 12)
LAST = ("last_exc", "last_type", "last_value", "last_traceback")
_exit = os._exit
_getcwd = os.getcwd
_getpid = os.getpid
_read = os.read
_pread = os.pread
_urandom = os.urandom
_write = os.write
_close = os.close
_stat = os.stat
_signal_get = _signal.getsignal
_signal_set = _signal.signal
_sigmask = _signal.pthread_sigmask
_collect = gc.collect
_join_threads = threading._shutdown  # type: ignore[attr-defined]
_active_threads = threading._active  # type: ignore[attr-defined]
_thread_exits = getattr(threading, "_threading_atexits", ())
_run_atexit = atexit._run_exitfuncs
_clear_atexit = atexit._clear


class Control:
    """The private socket. Processes that the code forks have no part in it."""

    def __init__(self):
        self.fd = self.pid = self.polled = -1
        self.poll = None
        self.rest = b""  # what has come after the last command
        self.lock = _thread.RLock()  # held to send: results may come from threads
        os.register_at_fork(after_in_child=self.close)

    def open(self, fd):
        self.fd = fd
        self.pid = _getpid()

    def close(self, _close=os.close):
        if self.fd >= 0:
            try:
                _close(self.fd)
            except OSError:
                pass
            self.fd = -1

    def is_ours(self):
        """False in a process that the code forked."""
        return _getpid() == self.pid

    def wait(self):
        """Wait until there is something to receive."""
        if self.rest:
            return
        if self.polled != self.fd:
            self.poll, self.polled = select.poll(), self.fd
            self.poll.register(self.fd, select.POLLIN)
        while not self.poll.poll():
            pass

    def receive(self):
        """Return the next command, or None when the runner is gone."""
        lines = self.rest
        while not lines.endswith(b"\n"):  # each is sent whole
            chunk = _read(self.fd, MOST_AT_ONCE)
            if not chunk:
                return None
            lines += chunk
        line, _, self.rest = lines.partition(b"\n")
        return parse(line.decode(), 0)[0]

    def send(self, **fields):
        """Send a frame; report whether it could be sent."""
        body = []
        for key, value in fields.items():
            if value is not None:
                body.append(quote(key) + ":" + (int.__repr__(value) if type(value) is int else quote(value)))
        data = ("{" + ",".join(body) + "}\n").encode("ascii")
        if self.fd < 0:
            return False
        try:
            with self.lock:
                while data:
                    data = data[_write(self.fd, data):]
        except OSError:
            return False
        return True


class Interrupts:
    """The effect of SIGINT. While Kaa's own code runs, it is only noted."""

    def __init__(self):
        self.notes = {}
        # Written in C, which no other signal can interrupt: under a hail of them a
        # handler in Python would be entered again and again until the stack is full.
        self.note = self.notes.setdefault
        self.handler = _signal.default_int_handler  # the code's; it may set its own
        self.shielded = False

    def shield(self):
        """From here on signals are noted. Whatever was on its way is noted too."""
        while not self.shielded:
            try:
                handler = _signal_get(SIGINT)
                _signal_set(SIGINT, self.note)
                if handler is not None and handler is not self.note:
                    self.handler = handler
                self.shielded = True
            except BaseException:  # from the signal itself, or from the code's handler
                self.note(SIGINT, None)

    def unshield(self):
        """From here on signals are the code's, also one that was noted before."""
        self.shielded = False
        _signal_set(SIGINT, self.handler)
        if self.notes:
            self.notes.clear()
            if callable(self.handler):
                self.handler(SIGINT, None)

    def begin(self):
        """The runner sent code: signals count from now on."""
        _signal_set(SIGINT, self.note)
        self.shielded = True


def tune_libc():
    """Make the C library pass on output at once, too.

    Returns the function that flushes its streams.
    """
    try:
        import ctypes

        libc = ctypes.CDLL(None)
        _IONBF = 2
        for name in ("stdout", "stderr"):
            libc.setvbuf(ctypes.c_void_p.in_dll(libc, name), None, _IONBF, ctypes.c_size_t(0))
        flush = libc.fflush
        flush.argtypes = [ctypes.c_void_p]
        return lambda: flush(None)
    except Exception:
        return lambda: None


def exit_code_of(exc):
    """Return what a SystemExit asks for, after printing it if it is a message."""
    try:
        code = exc.code
        if code is None:
            return 0
        if issubclass(type(code), int):
            # A number too large for C's long is -1, as in Python.
            magnitude = int.__invert__(code) if int.__lt__(code, 0) else code
            return int.__and__(code, 0xFF) if int.bit_length(magnitude) < 64 else 0xFF
        sys.stderr.write(errors.clip(str(code), 1 << 30) + "\n")
    except BaseException:
        pass
    return 1


class Outcome:
    """How the code ended. To begin with, as if a signal had come before it could."""

    status, exit_code = "error", 1
    error = ("KeyboardInterrupt", "", "KeyboardInterrupt\n")

    def was_interrupted(self):
        return self.error is not None and self.error[0] == "KeyboardInterrupt"


def execute(outcome, source, interrupts, namespace, filename, calls_hook=False):
    """Run source and record its end in outcome. calls_hook is for code that ends the process."""
    error = None
    try:
        try:
            interrupts.unshield()
            prepared.results.run(source, namespace, filename)
        finally:
            interrupts.shield()
        outcome.status, outcome.exit_code, outcome.error = "ok", 0, None
    except SystemExit as exc:
        interrupts.shield()
        errors.strip(exc)
        outcome.status, outcome.error = "exit", None
        outcome.exit_code = exit_code_of(exc)
    except BaseException as exc:
        interrupts.shield()
        errors.strip(exc)
        set_last(exc)
        outcome.error = main_module.with_held(errors.describe, exc)
        error = exc
    if calls_hook and error is not None:
        call_hook(outcome, interrupts, error)


def set_last(exc):
    """Leave the exception where debuggers look for it."""
    sys.last_type, sys.last_value, sys.last_traceback = type(exc), exc, errors.TRACEBACK(exc)
    if HAS_LAST_EXC:
        sys.last_exc = exc  # type: ignore[attr-defined]


def call_hook(outcome, interrupts, exc):
    """Let the code's sys.excepthook do what Python's would: that text is in the outcome."""
    hook = getattr(sys, "excepthook", None)
    if hook is prepared.excepthook or hook is None:
        return
    try:
        try:
            interrupts.unshield()
            prepared.enter(partial(hook, type(exc), exc, errors.TRACEBACK(exc)))
        finally:
            interrupts.shield()
    except SystemExit as again:
        interrupts.shield()
        outcome.status, outcome.exit_code, outcome.error = "exit", exit_code_of(again), None
    except BaseException as again:
        interrupts.shield()
        errors.strip(again)
        text = main_module.with_held(errors.describe, again)[2]
        try:
            sys.stderr.write("Error in sys.excepthook:\n%s\nOriginal exception was:\n%s" % (text, outcome.error[2]))
        except BaseException:
            pass


def show_figures(outcome, interrupts):
    """Show matplotlib's open figures, unless there is no time left."""
    if prepared.results.may_have_figures() and not outcome.was_interrupted():
        unshielded(interrupts, lambda: prepared.results.show_figures(last=True))


def close_loop(interrupts):
    if prepared.results.loop.is_open():
        unshielded(interrupts, prepared.results.loop.close)


def join_threads(rehearsal=False):
    """Do what Python does first at its end, by what is there now: gevent replaces it. It is
    for good, as what follows: threading and what has registered for its end take it for that."""
    join = getattr(threading, "_shutdown", _join_threads)
    if not rehearsal and (len(_active_threads) > 1 or _thread_exits or join is not _join_threads):
        prepared.enter(join)


def run_atexit(rehearsal=False):
    prepared.enter(_getpid if rehearsal else _run_atexit)


def clear_atexit(rehearsal):
    (_getpid if rehearsal else _clear_atexit)()


def forget_module():
    """Let go of the code's objects, so that their __del__ run while they can."""
    forget, names = [], vars(sys)
    if "last_value" in names:
        forget += [partial(names.__delitem__, name) for name in LAST if name in names]
    if "__main__" in sys.modules:
        forget.append(partial(sys.modules.__delitem__, "__main__"))
    prepared.enter(*forget, partial(_collect))


def unshielded(interrupts, step):
    """Do what an interpreter does at its end. The code's time limit still applies."""
    try:
        try:
            interrupts.unshield()
            step()
        finally:
            interrupts.shield()
    except BaseException:
        interrupts.shield()


def flush_all(streams, flush_libc):
    for get in (lambda: sys.stdout, lambda: sys.stderr, lambda: streams[0], lambda: streams[1]):
        try:
            get().flush()
        except BaseException:
            pass
    flush_libc()


def apply_envs(envs):
    os.environ.update(envs)
    if "TZ" in envs:
        time.tzset()


def has_files(work):
    """Return 1 if the working directory may have entries. Only then does the runner search it.

    Where it is a file system of its own the size tells, which grows with every entry, for
    a quarter of what listing it costs in a young process; and what tells the size of
    home without Python costs a quarter of that.
    """
    if work == prepared.home and prepared.is_empty is not None:
        return None if prepared.is_empty() == 0 else 1
    if prepared.empty_size is not None:
        try:
            if _stat(work).st_size == prepared.empty_size:
                return None
        except OSError:
            pass
    return 1


def report(control, command_id, outcome):
    """Send what the code raised at once: what follows may not come to its end."""
    if outcome.error is None:
        return True
    if control.is_ours():
        name, value, text = outcome.error
        if control.send(id=command_id, type="error", name=name, value=value, traceback=text):
            return True
    try:  # a forked child, or the code has closed our socket
        sys.stderr.write(outcome.error[2])
    except BaseException:
        pass
    return False


def serve(command, control, interrupts, set_limits, rehearsal=False):
    work = prepared.home or _getcwd()
    streams = (sys.stdout, sys.stderr)
    source = command.get("code") or ""
    envs = command.get("envs")
    if envs:
        apply_envs(envs)
    filename = "%s/%s" % (work, command.get("main") or main_module.NAME)
    sys.argv[0], sys.path[0] = filename, work
    if command.get("args"):
        sys.argv[1:] = command["args"]
    main_module.forget_sources()
    main_module.prime_linecache(source, filename)
    if command.get("modules"):
        main_module.let_shadow(command["modules"])
    namespaces = [main_module.new(filename, source)]  # not for longer than it runs
    set_limits(command.get("limits") or {})
    prepared.results.begin(command)

    outcome = Outcome()

    def finish():
        if control.is_ours():
            for fd in () if rehearsal else (1, 2):  # their end shows the runner that the output is complete
                try:
                    _close(fd)
                except OSError:
                    pass
            dropped = prepared.results.end() or None
            control.send(id=command["id"], type="status", status=outcome.status, exitCode=outcome.exit_code, dropped=dropped,
                         files=has_files(work))
        if rehearsal:
            raise Rehearsed
        _exit(outcome.exit_code)

    run_all(interrupts, [
        lambda: execute(outcome, source, interrupts, namespaces.pop(), filename, True),
        lambda: report(control, command["id"], outcome),
        lambda: show_figures(outcome, interrupts),
        lambda: close_loop(interrupts),
        lambda: unshielded(interrupts, partial(join_threads, rehearsal)),
        lambda: unshielded(interrupts, partial(run_atexit, rehearsal)),
        lambda: unshielded(interrupts, partial(clear_atexit, rehearsal)),
        lambda: unshielded(interrupts, forget_module),
        lambda: flush_all(streams, prepared.flush_libc),
        finish,
    ])


class Rehearsed(BaseException):
    """The end of a rehearsal."""


def run_all(interrupts, steps):
    """Take each step once, whatever it raises; the last, until it ends the process.

    A signal can come between the end of the code and the shield, and under a hail of them
    one comes wherever the interpreter looks: at the beginning of each function, shield
    too, and before a handler is changed. It does not look between an exception and the
    first call of a C function, and blocking a signal works even if that raises.
    """
    note = interrupts.note
    last = steps.pop()
    steps.reverse()
    tries = 100
    while tries:
        try:
            try:
                while steps:
                    interrupts.shield()
                    steps.pop()()
                interrupts.shield()
                tries -= 1
                last()
            except Rehearsed:
                return
            except BaseException:
                _sigmask(SIG_BLOCK, INTERRUPT)
                _signal_set(SIGINT, note)
                _sigmask(SIG_UNBLOCK, INTERRUPT)
        except BaseException:
            _signal_set(SIGINT, note)
            _sigmask(SIG_UNBLOCK, INTERRUPT)
    _exit(70)


class Prepared:
    """The state that the zygote has prepared for all its workers."""

    enter: "Callable[..., Any]"  # calls the code with none of Kaa's frames below it
    excepthook: "Callable[..., Any]"  # as it was before the code
    control: Control
    interrupts: Interrupts
    marks: streams.Marks
    results: display.Results
    console: console.Console
    patch_preloaded: "Callable[[], None]"
    flush_libc: "Callable[[], object]"
    main_thread: threading.Thread
    ready: bytes  # what a worker says when it is parked
    home: "Optional[str]" = None  # the working directory at the start, if it is the same for all workers
    # The size of the working directory while nothing is in it, if that tells anything; and
    # what returns 0 if home has this size.
    empty_size: "Optional[int]" = None
    is_empty: "Optional[Callable[[], int]]" = None
    differences: "Iterable[Callable[[], object]]" = ()  # what a worker does to be its own


prepared = Prepared()
preloaded = Rehearsal()


def prepare(plain_stack=False):
    """Do all that need not wait until a worker is forked."""
    prepared.enter = frames.install(plain_stack)
    errors.hidden = errors.Hidden((execute, display.split, prepared.enter, session.attempt, errors.describe, notebook.install,
                                   console.Console.begin, main_module.new, streams.open_streams))
    errors.install_hooks()
    prepared.excepthook = sys.excepthook
    prepared.control = Control()
    prepared.interrupts = Interrupts()
    prepared.marks = streams.Marks(prepared.control.lock)
    prepared.results = display.Results(prepared.control, prepared.marks, prepared.enter)
    prepared.console = console.Console(prepared.control, prepared.results.send, prepared.marks)
    patches = dict(main_module.patches(), **streams.patches(prepared.marks))
    patches["asyncio"] = lambda module: session.offer_loop(module, prepared.results.loop)
    prepared.patch_preloaded = notebook.install(prepared.results, patches)
    prepared.flush_libc = tune_libc()
    prepared.main_thread = threading.main_thread()
    say_ready()
    streams.open_streams(prepared.marks)
    session.prepare_stdin()
    # Bytecode is taken for that of a source with the same size and second of its last change:
    # programs are changed and imported again faster than that.
    sys.dont_write_bytecode = True
    sys.argv[:] = [""]
    sys.path.insert(0, "")


def say_ready():
    """Prepare what a worker says when it is parked."""
    prepared.ready = b'{"type":"ready","version":%d,"python":"%d.%d.%d","rehearsals":%d}\n' % (
        (VERSION,) + sys.version_info[:3] + (len(preloaded.steps),))


def rehearse_preloaded():
    """Find the steps that workers may rehearse with the modules loaded by now."""
    preloaded.prepare()
    say_ready()


def rehearse(interrupts, set_limits):
    """Execute a program that prints and has a value, to its end, on streams and a socket that
    pass nothing on. The first execution of a step costs a process copies of pages. This pays
    for them while no request waits."""
    control = Control.__new__(Control)  # its frames go nowhere
    control.fd, control.pid, control.rest, control.lock = -1, _getpid(), b"", prepared.control.lock
    touch()
    prepared.results.control = control
    prepared.marks.rehearse(True)
    interrupts.begin()
    serve(parse(REHEARSAL, 0)[0], control, interrupts, set_limits, rehearsal=True)
    end_rehearsal(interrupts)
    prepared.marks.rehearse(False)
    prepared.results.control = prepared.control


def touch():
    """Take the place that a command will have when it comes."""
    try:
        _pread(prepared.control.fd, MOST_AT_ONCE, 0)  # which sockets refuse, once there is room
    except OSError:
        pass


def end_rehearsal(interrupts):
    _signal_set(SIGINT, _signal.SIG_IGN)  # nothing to interrupt yet
    interrupts.notes.clear()


def train(fd, set_limits):
    """Rehearse in the zygote, as often as it takes the interpreter to adapt itself to this
    code: for output, an error, and a value. That makes it faster, and once adapted it
    looks at fewer objects. fd is the number that the control socket will have."""
    import _socket

    ours, theirs = _socket.socketpair()
    os.dup2(ours.fileno(), fd, inheritable=False)
    ours.close()
    prepared.marks.rehearse(True)
    for code in ("print(40)", "1/0", "40 + 2") * TRAININGS:
        theirs.sendall((COMMAND % (code, MAX_COMMAND)).encode() + b"\n")
        main(fd, set_limits, True, rehearsal=True)
        end_rehearsal(prepared.interrupts)
        while theirs.recv(MAX_COMMAND).count(b"status") == 0:
            pass
    prepared.marks.rehearse(False)
    prepared.control.fd = -1
    _close(fd)
    theirs.close()


# CPython 3.11 and later adapt code after 8 runs, and then some of it again.
TRAININGS = 20
COMMAND = ('{"id":"rehearsal","cmd":"exec","code":"%s","limits":{"core":0},"results":%d,"figureFormats":["png"],'
           '"marks":"rehearsal"}')
REHEARSAL = COMMAND % ("print(40)\\n40 + 2", MAX_COMMAND)


def find_differences():
    """Find the steps by which workers become different, given the loaded modules."""
    modules, steps = sys.modules, []
    if "random" in modules:
        steps.append(modules["random"].seed)
    if "numpy.random" in modules:
        steps.append(numpy_seed(modules["numpy.random"]))
    uuid, tempfile = modules.get("uuid"), modules.get("tempfile")
    if uuid is not None and getattr(uuid, "_generate_time_safe", None) is not None:
        steps.append(lambda: differ_in_uuids(uuid))
    if tempfile is not None:
        steps.append(lambda: differ_in_names(tempfile))
    process = modules.get("multiprocessing.process")
    if process is not None:
        steps.append(lambda: differ_in_keys(process))
    if "_sqlite3" in modules:
        forget_seed(modules["_sqlite3"])
    prepared.differences = steps


MT_WORDS = 624  # of numpy's MT19937; the position follows


def numpy_seed(module):
    """Return what seeds numpy's global generator. Its own function costs a young process 0.6 ms
    and 140 copies of pages. So random bytes become the state at once, if that is where and what
    it is said to be."""
    try:
        import ctypes

        module.seed()
        address = module.mtrand._rand._bit_generator.ctypes.state_address
        words = (ctypes.c_uint32 * (MT_WORDS + 1)).from_address(address)
        key = (ctypes.c_char * (MT_WORDS * 4)).from_address(address)

        def is_there():
            state = module.get_state(legacy=False)
            inner = state["state"]
            return (state["bit_generator"], state["has_gauss"]) == ("MT19937", 0) and [*map(int, inner["key"]), inner["pos"]] == list(words)

        def seed():
            key.raw = _urandom(MT_WORDS * 4)

        if is_there():
            seed()
            words[MT_WORDS] = MT_WORDS  # all of it is new
            if is_there():
                return seed
    except Exception:  # another version's ways
        pass
    return module.seed


def differ_in_uuids(uuid):
    # The C library's has its node and clock from the zygote, so that two workers in the
    # same microsecond would get the same.
    uuid._generate_time_safe = None
    uuid._node = int.from_bytes(os.urandom(6), "big") | 1 << 40


def differ_in_names(tempfile):
    tempfile._name_sequence = None
    if tempfile.tempdir != os.environ["TMPDIR"]:  # the zygote's
        tempfile.tempdir = None


def differ_in_keys(process):
    """Processes of multiprocessing know each other by this secret."""
    process.current_process().authkey = os.urandom(32)


def forget_seed(sqlite):
    """Have SQLite seed its generator when it is used next. It does so by itself only for files."""
    try:
        import ctypes

        randomness = ctypes.CDLL(getattr(sqlite, "__file__", None)).sqlite3_randomness
    except (OSError, AttributeError):
        return
    randomness(0, None)


def differ():
    """Let this worker be its own: the zygote's fork leaves to us what os.fork does."""
    for step in prepared.differences:
        step()
    prepared.main_thread._native_id = _getpid()  # type: ignore[attr-defined]


def complain(fd, message):
    """Report to the runner why there is no worker."""
    _write(fd, json.dumps(message).encode() + b"\n")


def main(fd, set_limits, awaited=False, rehearsal=False):
    """Serve as the worker of this process, on the control socket fd; never returns, unless
    it is a rehearsal."""
    differ()
    begin(fd, set_limits, awaited)
    command = park()
    control, interrupts = prepared.control, prepared.interrupts
    if command is not None and command["cmd"] in SESSION_COMMANDS:
        session.Session(control, interrupts, set_limits).serve(command)
    if command is None or command["cmd"] != "exec":
        _exit(0)
    serve(command, control, interrupts, set_limits, rehearsal)


def begin(fd, set_limits, awaited=False):
    """Prepare as much as possible before the first command. If a request waits already, there
    is no rehearsal, because it would delay the request."""
    prepared.control.open(fd)
    prepared.marks.adopt()
    if not awaited:
        rehearse(prepared.interrupts, set_limits)


def park():
    """Wait for a command. Until one comes, rehearse what is preloaded, a step whenever the
    runner says that processors are idle."""
    control, interrupts = prepared.control, prepared.interrupts
    _write(control.fd, prepared.ready)
    while True:
        control.wait()
        # Before the command is read: the runner takes an unread one for not begun, and
        # then does not trust in SIGINT.
        interrupts.begin()
        command = control.receive()
        if command is None or command["cmd"] != "rehearse":
            return command
        left = preloaded.step()
        end_rehearsal(interrupts)
        _write(control.fd, b'{"type":"rehearsed","rehearsals":%d}\n' % left)
