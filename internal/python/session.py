"""A session's executions: one after the other in one namespace, until shutdown.

repl_worker.py calls Session.serve with the first command of a session. The code shares this
process: see repl_worker.py.

Standard library only, Python 3.8 and later.
"""

import builtins
import linecache
import os
import sys
import time
from _thread import get_ident
from functools import partial

import fork
import main_module
from execution import Outcome, apply_envs, close_loop, execute, execute_in, has_files, report, show_figures
from finalization import flush_all, join_threads, run_atexit
from interrupts import run_all, take_all, unshielded
from last_expression import dedent
from prepared import prepared
from start import BUILTINS, load
from stdin import Stdin

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

COMMANDS = ("session", "fork", "enter")
EXECUTION = "<stdin-"  # and its number: the name of the code
MAX_SOURCES = 1000  # that tracebacks can show
_exit = os._exit
_exists = os.path.exists
ADDED = "/.packages"  # see added.py


class Session:
    """Serves one execution after the other in one namespace, until shutdown."""

    def __init__(self, control, interrupts, set_limits):
        self.control, self.interrupts, self.set_limits = control, interrupts, set_limits
        self.home = os.getcwd()
        self.ready, self.loop = prepared.ready, prepared.results.loop
        self.streams, self.marks = (sys.stdout, sys.stderr), prepared.marks
        main_module.forget_sources()
        sys.argv[0] = sys.path[0] = ""
        self.namespace = main_module.new()
        self.sources = []
        # The directory of packages that are added, and those in it that it knows. No code has run yet.
        self.packages, self.added = os.environ.get("TMPDIR", "") + ADDED, set()
        self.stdin = Stdin()
        self.shown = Shown(self.namespace)
        prepared.results.keep = self.shown.keep
        self.loop.is_offered = True
        if "asyncio" in sys.modules:  # it was preloaded
            offer_loop(sys.modules["asyncio"], self.loop)

    def serve(self, command):
        while command is not None and command["cmd"] in COMMANDS:
            if command["cmd"] == "session":
                self.run(command)
            elif command["cmd"] == "enter":
                self.enter(command)
            else:
                fork.fork(self, command)
            command = self.next()
        run_all(self.interrupts, [
            lambda: close_loop(self.interrupts),
            lambda: unshielded(self.interrupts, join_threads),
            lambda: unshielded(self.interrupts, run_atexit),
            lambda: _exit(0),
        ])

    def enter(self, command):
        """Begin as a context, whose files are those at home, in the directory cwd."""
        home, cwd = command["to"]
        try:
            os.chdir(home)
            if os.environ.get("HOME") == self.home:
                os.environ["HOME"] = home
            self.home = home
            if cwd:
                os.chdir(cwd)
        except OSError as error:
            self.control.send(id=command["id"], type="refused", error=str(error))
            return
        os.write(self.control.fd, self.ready)

    def next(self):
        while True:
            try:
                if not self.control.rest:  # else the command was read with a late answer, and a signal may be for it
                    self.control.wait()
                    # A signal that was meant for the previous execution is not for the next one.
                    self.interrupts.notes.clear()
                command = self.control.receive()
                if command is None or command["cmd"] not in ("input", "reply"):  # an answer that comes too late
                    return command
            except OSError:
                return None
            except BaseException:
                self.interrupts.shield()

    def run(self, command):
        outcome, undo, sent = Outcome(), [], []
        source = dedent(command.get("code") or "")
        filename = "%s%d>" % (EXECUTION, command["execution"])
        attempt(lambda: self.begin(command, source, filename, undo))

        def finish():
            if not self.control.is_ours():
                _exit(outcome.exit_code)  # a process that the code has forked
            dropped = prepared.results.end() or None
            if not self.control.send(id=command["id"], type="status", status=outcome.status, exitCode=outcome.exit_code,
                                     dropped=dropped, files=has_files(self.home)):
                _exit(70)
            sent.append(True)

        def run():
            execute(outcome, source, self.interrupts, self.namespace, filename)

        cwd = command.get("cwd")
        steps = [
            partial(execute_in, cwd, outcome, run, self.home) if cwd else run,
            lambda: report(self.control, command["id"], outcome),
            lambda: show_figures(outcome, self.interrupts),
            lambda: self.start_tasks(outcome),
            self.marks.calm,
            lambda: flush_all(self.streams, prepared.flush_libc),
            prepared.console.end,
            load("calls").end if command.get("functions") else nothing,
            lambda: undo_envs(undo),
            finish,
        ]
        take_all(self.interrupts, steps, sent)

    def start_tasks(self, outcome):
        """Begin the tasks that the execution has created, unless it was interrupted."""
        if self.loop.is_open() and not outcome.was_interrupted():
            unshielded(self.interrupts, self.loop.step)

    def begin(self, command, source, filename, undo):
        if command.get("workdir"):
            self.settle(command["workdir"], command["session"])
        if command.get("session"):
            apply_envs(command["session"])
        if _exists(self.packages):
            attempt(lambda: load("added").show(self.packages, self.added))
        envs = command.get("envs")
        if envs:
            for name in envs:
                undo.append((name, os.environ.get(name)))
            apply_envs(envs)
        if command.get("limits"):
            self.set_limits(command["limits"])
        prepared.results.begin(command)
        self.stdin.begin(command.get("stdin"))
        if command.get("input"):
            prepared.console.begin(command["id"], command.get("promptApart", False))
        if command.get("functions"):
            load("calls").begin(command, self.namespace)
        self.namespace.pop("__warningregistry__", None)  # each execution shows its warnings
        forget_directories()
        keep_loop(self.loop)
        main_module.prime_linecache(source, filename)
        self.sources.append(filename)
        if len(self.sources) > MAX_SOURCES:
            linecache.cache.pop(self.sources.pop(0), None)

    def settle(self, workdir, envs):
        """Go to the working directory by the path that the session has chosen."""
        try:
            os.chdir(workdir)
            self.home = workdir
            os.makedirs(envs["HOME"], exist_ok=True)
        except OSError:
            pass  # the steps that follow set limits


def nothing():
    pass


def attempt(step):
    try:
        step()
    except BaseException:
        pass


def undo_envs(undo):
    for name, value in undo:
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    if any(name == "TZ" for name, _ in undo):
        time.tzset()


class Shown:
    """Names for the values of last expressions: _ is the newest, __ and ___ are the two before.

    As in IPython, a name that the code has assigned keeps the code's value.
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
    """Let asyncio.create_task and similar functions find the session's loop outside of await.

    The loop does not run then, so asyncio.run and loop.run_until_complete work as in a script.
    This is called after the import of asyncio. Only a session's loop is offered.
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
    """Make it the thread's loop unless the code has set another one. asyncio.run leaves none."""
    events = sys.modules.get("asyncio.events")
    policy = getattr(events, "_event_loop_policy", None)
    if loop.is_offered and "asyncio" in sys.modules and getattr(getattr(policy, "_local", None), "_loop", None) is None:
        loop.get()


def forget_directories():
    """Forget the contents of directories that Python keeps for imports, so that it finds modules that
    were written since. The time of change of a directory may be the same."""
    for finder in sys.path_importer_cache.values():
        forget = getattr(finder, "invalidate_caches", None)
        if forget is not None:
            forget()
