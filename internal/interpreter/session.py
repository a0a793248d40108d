"""A session's executions: one after the other in one namespace, until shutdown.

repl_worker.py hands its process over to Session with the first command, and what they share
stays there. The code shares the process as well: see there.

Standard library only, Python 3.8 and later.
"""

import builtins

__builtins__ = dict(vars(builtins))  # see repl_worker.py

import _signal
import linecache
import os
import sys
import time

# Scripts, which whoever loads this one puts here: repl_worker.py and branch.py.
worker = branch = None

MAX_SOURCES = 1000  # that tracebacks can show
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
        self.streams = (sys.stdout, sys.stderr)
        worker.main_module.forget_sources()
        sys.argv[0] = sys.path[0] = ""
        self.namespace = worker.main_module.new()
        self.sources = []
        self.fed = False

    def serve(self, command):
        while command is not None and command["cmd"] in worker.SESSION_COMMANDS:
            if command["cmd"] == "session":
                self.run(command)
            else:
                branch.fork(self, command)
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
            lambda: worker.flush_all(self.streams, worker.prepared.flush_libc),
            worker.prepared.console.end,
            lambda: undo_envs(undo),
            finish,
        ]
        take_all(self.interrupts, steps, sent)

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
        stdin = command.get("stdin")
        if stdin or self.fed:
            self.fed = bool(stdin)
            feed(stdin)
        if command.get("input"):
            worker.prepared.console.begin(command["id"])
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


def feed(text):
    """Give an execution its own standard input, with an end; what the one before has
    left of its is gone."""
    if text:
        try:
            fd = os.memfd_create("stdin")
        except (AttributeError, OSError):
            import tempfile

            file = tempfile.TemporaryFile(buffering=0)
            fd = os.dup(file.fileno())
        data = text.encode("utf-8", "surrogatepass")
        while data:
            data = data[_write(fd, data):]
        os.lseek(fd, 0, os.SEEK_SET)
    else:
        fd = os.open(os.devnull, os.O_RDONLY)
    os.dup2(fd, 0)
    _close(fd)
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)
