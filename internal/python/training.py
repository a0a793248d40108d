"""Executions that serve no request. They make the executions of requests cheap.

In the zygote they let the interpreter adapt itself to the scripts (train). In a parked worker
they pay for the copies of pages (rehearse). rehearsal.py has the steps for libraries.

Standard library only, Python 3.8 and later.
"""

import _signal
import os

from control import MOST_AT_ONCE, Control, parse
from prepared import prepared
from script import serve
from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

MAX_COMMAND = 32 * 1024  # bytes of a frame from a rehearsal
SIGINT = _signal.SIGINT
_close = os.close
_getpid = os.getpid
_pread = os.pread
_signal_set = _signal.signal

# CPython 3.11 and later adapt code after 8 runs, and parts of it again later.
TRAININGS = 20
COMMAND = ('{"id":"rehearsal","cmd":"exec","code":"%s","limits":{"core":0},"results":%d,"figureFormats":["png"],'
           '"marks":"rehearsal"}')
REHEARSAL = COMMAND % ("print(40)\\n40 + 2", MAX_COMMAND)


def rehearse(interrupts, set_limits):
    """Execute a program that prints and has a value, to its end. Its streams and its socket pass
    nothing on. The first execution of a function costs a process copies of pages. The worker
    makes these copies here, while no request waits."""
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
    """Allocate the memory that the next command will need."""
    try:
        _pread(prepared.control.fd, MOST_AT_ONCE, 0)  # Python allocates, then the socket refuses
    except OSError:
        pass


def end_rehearsal(interrupts):
    _signal_set(SIGINT, _signal.SIG_IGN)  # nothing to interrupt yet
    interrupts.notes.clear()


def train(main, fd, set_limits):
    """Rehearse in the zygote until the interpreter has adapted itself to the scripts, for output,
    an error, and a value. Adapted code is faster and looks at fewer objects. fd is the number
    that the control socket will have, main the function that serves it."""
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
