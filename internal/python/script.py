"""The exec command: runs a program, as a script. The process ends with the program.

Standard library only, Python 3.8 and later.
"""

import os
import sys
from functools import partial

import main_module
from execution import Outcome, apply_envs, close_loop, execute, execute_in, has_files, report, show_figures
from finalization import clear_atexit, flush_all, forget_module, join_threads, run_atexit
from interrupts import Rehearsed, run_all, unshielded
from prepared import prepared
from start import BUILTINS, load

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

_exit = os._exit
_getcwd = os.getcwd
_close = os.close


def serve(command, control, interrupts, set_limits, rehearsal=False):
    """Run the program of a command and end the process."""
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
    namespaces = [main_module.new(filename, source)]  # dropped when the program has ended
    set_limits(command.get("limits") or {})
    prepared.results.begin(command)
    if command.get("functions"):
        load("calls").begin(command, namespaces[0])

    outcome = Outcome()

    def finish():
        if control.is_ours():
            for fd in () if rehearsal else (1, 2):  # their end is the runner's sign that the output is complete
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

    def run():
        execute(outcome, source, interrupts, namespaces.pop(), filename, True)

    cwd = command.get("cwd")
    run_all(interrupts, [
        partial(execute_in, cwd, outcome, run) if cwd else run,
        lambda: report(control, command["id"], outcome),
        lambda: show_figures(outcome, interrupts),
        lambda: close_loop(interrupts),
        lambda: unshielded(interrupts, partial(join_threads, rehearsal)),
        lambda: unshielded(interrupts, partial(run_atexit, rehearsal)),
        lambda: unshielded(interrupts, partial(clear_atexit, rehearsal)),
        lambda: unshielded(interrupts, forget_module),
        prepared.marks.calm,
        lambda: flush_all(streams, prepared.flush_libc),
        finish,
    ])
