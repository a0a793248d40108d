"""The steps that an interpreter takes at its end, for a worker that has executed a program.

Standard library only, Python 3.8 and later.
"""

import atexit
import gc
import os
import sys
import threading
from functools import partial

from prepared import prepared
from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

LAST = ("last_exc", "last_type", "last_value", "last_traceback")
_getpid = os.getpid
_collect = gc.collect
_join_threads = threading._shutdown  # type: ignore[attr-defined]
_active_threads = threading._active  # type: ignore[attr-defined]
_thread_exits = getattr(threading, "_threading_atexits", ())
_run_atexit = atexit._run_exitfuncs
_clear_atexit = atexit._clear


def join_threads(rehearsal=False):
    """Wait for the code's threads, as Python does first at its end. gevent replaces that function,
    so it is looked up now. As in Python, no thread can be started afterwards."""
    join = getattr(threading, "_shutdown", _join_threads)
    if not rehearsal and (len(_active_threads) > 1 or _thread_exits or join is not _join_threads):
        prepared.enter(join)


def run_atexit(rehearsal=False):
    prepared.enter(_getpid if rehearsal else _run_atexit)


def clear_atexit(rehearsal):
    (_getpid if rehearsal else _clear_atexit)()


def forget_module():
    """Drop the references to the code's objects, so that their __del__ methods run."""
    forget, names = [], vars(sys)
    if "last_value" in names:
        forget += [partial(names.__delitem__, name) for name in LAST if name in names]
    if "__main__" in sys.modules:
        forget.append(partial(sys.modules.__delitem__, "__main__"))
    prepared.enter(*forget, partial(_collect))


def flush_all(streams, flush_libc):
    for get in (lambda: sys.stdout, lambda: sys.stderr, lambda: streams[0], lambda: streams[1]):
        try:
            get().flush()
        except BaseException:
            pass
    flush_libc()


def tune_libc():
    """Take the buffers from the C library's streams, so that it passes on output at once.

    Return the function that flushes these streams.
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
