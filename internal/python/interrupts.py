"""The effect of SIGINT on a worker, and steps that are taken whichever signals come.

While the code runs, SIGINT calls the code's handler. While Kaa's scripts run, it is recorded.

Standard library only, Python 3.8 and later.
"""

import _signal
import os

from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

SIGINT, SIG_BLOCK, SIG_UNBLOCK = _signal.SIGINT, _signal.SIG_BLOCK, _signal.SIG_UNBLOCK
INTERRUPT = (SIGINT,)
_exit = os._exit
_signal_get = _signal.getsignal
_signal_set = _signal.signal
_sigmask = _signal.pthread_sigmask


class Interrupts:
    """The handlers of SIGINT: the code's, or the one that records the signal."""

    def __init__(self):
        self.notes = {}
        # This handler is written in C, so no other signal interrupts it. With many signals at
        # once, a handler in Python would be entered again and again until the stack is full.
        self.note = self.notes.setdefault
        self.handler = _signal.default_int_handler  # the code's, which it may replace
        self.shielded = False

    def shield(self):
        """Record signals from here on, also one that is pending."""
        while not self.shielded:
            try:
                handler = _signal_get(SIGINT)
                _signal_set(SIGINT, self.note)
                if handler is not None and handler is not self.note:
                    self.handler = handler
                self.shielded = True
            except BaseException:  # raised by the signal, or by the code's handler
                self.note(SIGINT, None)

    def unshield(self):
        """Pass signals to the code from here on, also one that was recorded."""
        self.shielded = False
        _signal_set(SIGINT, self.handler)
        if self.notes:
            self.notes.clear()
            if callable(self.handler):
                self.handler(SIGINT, None)

    def begin(self):
        """Record signals from here on: the runner has sent code."""
        _signal_set(SIGINT, self.note)
        self.shielded = True


def unshielded(interrupts, step):
    """Take a step that runs the code's functions. The time limit still applies."""
    try:
        try:
            interrupts.unshield()
            step()
        finally:
            interrupts.shield()
    except BaseException:
        interrupts.shield()


class Rehearsed(BaseException):
    """Raised at the end of a rehearsal, in place of the end of the process."""


def run_all(interrupts, steps):
    """Take each step once, whichever exceptions come. Repeat the last one until it ends the process.

    A signal can come between the end of the code and the shield. With many signals, one comes
    wherever the interpreter checks for them: at the beginning of each function, of shield too,
    and before a handler is changed. The interpreter does not check between an exception and the
    first call of a C function. Blocking a signal works even if that call raises.
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


def take_all(interrupts, steps, done):
    """Take each step once, whichever exceptions come, until the list done has an entry."""
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
