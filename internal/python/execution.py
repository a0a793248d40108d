"""One execution: runs the code, records how it ended, and reports the error.

Programs (script.py) and the executions of sessions (session.py) take these steps.

Standard library only, Python 3.8 and later.
"""

import os
import sys
import time
from functools import partial

import errors
import main_module
from interrupts import unshielded
from prepared import prepared
from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

HAS_LAST_EXC = sys.version_info >= (3, 12)
INTERRUPTED = 130  # the exit code of Python after an uncaught KeyboardInterrupt
_stat = os.stat
_chdir, _getcwd = os.chdir, os.getcwd


class Outcome:
    """How the code ended. The initial values are those of a signal before its beginning."""

    status, exit_code = "error", 1
    error = ("KeyboardInterrupt", "", "KeyboardInterrupt\n")

    def was_interrupted(self):
        return self.error is not None and self.error[0] == "KeyboardInterrupt"


def execute(outcome, source, interrupts, namespace, filename, calls_hook=False):
    """Run source and record in outcome how it ended. calls_hook is for code that ends the process."""
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
        if calls_hook and type(exc) is KeyboardInterrupt:
            outcome.exit_code = INTERRUPTED
        error = exc
    if calls_hook and error is not None:
        call_hook(outcome, interrupts, error)


def execute_in(cwd, outcome, run, home=None):
    """Call run in the directory cwd. If there is a home, a relative one begins there, and the process goes back afterwards.
    Without such a directory the outcome says so."""
    try:
        before = _getcwd() if home else None
    except OSError:
        before = home  # it was removed
    try:
        _chdir(cwd if home is None or cwd.startswith("/") else "%s/%s" % (home, cwd))
    except (OSError, ValueError) as error:
        name = type(error).__name__
        outcome.error = (name, str(error), "%s: %s\n" % (name, error))
        return
    run()
    if before:
        try:
            _chdir(before)
        except OSError:
            _chdir(home)


def set_last(exc):
    """Store the exception where debuggers look for it."""
    sys.last_type, sys.last_value, sys.last_traceback = type(exc), exc, errors.TRACEBACK(exc)
    if HAS_LAST_EXC:
        sys.last_exc = exc  # type: ignore[attr-defined]


def call_hook(outcome, interrupts, exc):
    """Call sys.excepthook if the code has replaced it. The outcome has the text of Python's own."""
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


def exit_code_of(exc):
    """Return the exit code of a SystemExit. Print its message if it has one."""
    try:
        code = exc.code
        if code is None:
            return 0
        if issubclass(type(code), int):
            # As in Python, a number that is too large for C's long counts as -1.
            magnitude = int.__invert__(code) if int.__lt__(code, 0) else code
            return int.__and__(code, 0xFF) if int.bit_length(magnitude) < 64 else 0xFF
        sys.stderr.write(errors.clip(str(code), 1 << 30) + "\n")
    except BaseException:
        pass
    return 1


def apply_envs(envs):
    os.environ.update(envs)
    if "TZ" in envs:
        time.tzset()


def has_files(work):
    """Return 1 if the working directory may have entries, else None. Only for 1 does the runner
    search it.

    If the directory is a file system of its own, its size grows with every entry. To read the
    size costs a young process a quarter of the time of a listing. To read it without Python,
    which works for home, costs a quarter of that.
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
    """Send the exception of the code at once, since the steps that follow may never end. Return
    whether it was sent."""
    if outcome.error is None:
        return True
    if control.is_ours():
        name, value, text = outcome.error
        if control.send(id=command_id, type="error", name=name, value=value, traceback=text):
            return True
    try:  # in a process that the code forked, or if the code has closed the socket
        sys.stderr.write(outcome.error[2])
    except BaseException:
        pass
    return False
