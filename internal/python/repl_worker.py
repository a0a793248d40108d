"""Kaa's worker: runs Python code in this process and reports how it ended.

The zygote loads this script once and calls prepare. Each worker that a slot forks calls main.
By then the file descriptors 0 to 2 are pipes, which belong to the code. On a private socket
(control.py) worker and runner send lines of JSON:

    to the runner    {"type": "ready", "version": 2, "python": "3.11.2", "rehearsals": steps}
    from the runner  {"cmd": "rehearse"}, while the worker is parked: take one of these steps
    to the runner    {"type": "rehearsed", "rehearsals": steps that are left}
    from the runner  {"id": "...", "cmd": "exec", "code": "...", "envs": {...}, "limits": {...},
                      "results": bytes, "figureFormats": [...], "marks": "...", "main": "...", "modules": ["...", ...]}
                     {"id": "...", "cmd": "session", the same and "execution", "stdin", "session", "input"}
                     {"id": "...", "cmd": "input", ...}: see console.py
                     {"id": "...", "cmd": "fork", "to": ["...", ...]}: see fork.py
                     {"id": "...", "cmd": "enter", "to": [home, cwd]}: it is a context; the answer is ready or refused
                     {"id": "...", "cmd": "shutdown"}
    to the runner    {"id": "...", "type": "result", ...}, any number: see display.py
                     {"id": "...", "type": "input_request", ...}, any number: see console.py
                     {"id": "...", "type": "error", "name", "value", "traceback"}
                     {"id": "...", "type": "status", "status", "exitCode", "dropped", "files"}
                     {"id": "...", "type": "refused", "error"}
                     {"id": "...", "type": "forking"}
                     {"id": "...", "type": "forked", "pid"}

After exec (script.py) the process ends. After session (session.py) it waits for the next
command, in the same namespace, until shutdown ends it. The answer to fork is refused, or
forking. After forking the runner sends the descriptors for the forks, and the worker sends a
forked for each of them. Each fork receives go on its own socket, and answers ready there once
its files are copied.

The code shares this process, so hostile code can break everything in the scripts. The runner
knows that: the runner alone decides about time, output and the end. The scripts serve code
that is merely unusual. Therefore they take references to the functions that they need after
the code before the code runs, and rely on no global state after it.

Standard library only, Python 3.8 and later.
"""

import json
import os
import sys
import threading

import console
import display
import errors
import frames
import main_module
import notebook
import session
import stdin
import streams
from control import Control
from differences import differ
from finalization import tune_libc
from interrupts import Interrupts
from marks import Marks
from prepared import prepared
from rehearsal import Rehearsal
from script import serve
from start import BUILTINS
from training import end_rehearsal, rehearse

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

VERSION = 2

_exit = os._exit
_write = os.write
preloaded = Rehearsal()


def prepare(plain_stack=False):
    """Do all preparations that can be done before a worker is forked."""
    prepared.enter = frames.install(plain_stack)
    errors.hidden = errors.Hidden()
    errors.install_hooks()
    prepared.excepthook = sys.excepthook
    prepared.control = Control()
    prepared.interrupts = Interrupts()
    prepared.marks = Marks(prepared.control.lock)
    prepared.results = display.Results(prepared.control, prepared.marks, prepared.enter)
    prepared.console = console.Console(prepared.control, prepared.results.send, prepared.marks)
    patches = dict(main_module.patches(), **streams.patches(prepared.marks))
    patches["asyncio"] = lambda module: session.offer_loop(module, prepared.results.loop)
    prepared.patch_preloaded = notebook.install(prepared.results, patches, main_module.MODULE, main_module.write_for_import)
    prepared.flush_libc = tune_libc()
    prepared.main_thread = threading.main_thread()
    say_ready()
    streams.open_streams(prepared.marks)
    stdin.prepare_stdin()
    # Python takes bytecode for valid if its source has the same size and second of change.
    # Programs are changed and imported again within a second.
    sys.dont_write_bytecode = True
    sys.argv[:] = [""]
    sys.path.insert(0, "")


def say_ready():
    """Prepare the frame that a worker sends when it is parked."""
    prepared.ready = b'{"type":"ready","version":%d,"python":"%d.%d.%d","rehearsals":%d}\n' % (
        (VERSION,) + sys.version_info[:3] + (len(preloaded.steps),))


def rehearse_preloaded():
    """Find the steps that workers may rehearse with the modules that are loaded."""
    preloaded.prepare()
    say_ready()


def import_in_workers(names):
    """Have parked workers import modules of their set of packages."""
    preloaded.add_imports(names)
    say_ready()


def complain(fd, message):
    """Report to the runner why there is no worker."""
    _write(fd, json.dumps(message).encode() + b"\n")


def main(fd, set_limits, awaited=False, rehearsal=False):
    """Serve as the worker of this process, on the control socket fd. It never returns, unless
    it is a rehearsal."""
    differ()
    begin(fd, set_limits, awaited)
    command = park()
    control, interrupts = prepared.control, prepared.interrupts
    if command is not None and command["cmd"] in session.COMMANDS:
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
    """Wait for a command. Until one comes, take a step of the libraries' rehearsal whenever the
    runner sends rehearse, which it does while processors are idle."""
    control, interrupts = prepared.control, prepared.interrupts
    _write(control.fd, prepared.ready)
    while True:
        control.wait()
        # This comes before the command is read. The runner takes an unread command for one
        # that has not begun, and does not rely on SIGINT then.
        interrupts.begin()
        command = control.receive()
        if command is None or command["cmd"] != "rehearse":
            return command
        left = preloaded.step()
        end_rehearsal(interrupts)
        _write(control.fd, b'{"type":"rehearsed","rehearsals":%d}\n' % left)
