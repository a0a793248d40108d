"""A buffer for standard output while lines come fast.

Standard library only, Python 3.8 and later.
"""

import io
import os
from _thread import RLock, allocate_lock, get_native_id, start_new_thread
from time import monotonic, sleep

from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

_stat = os.stat
_raw_write = io.FileIO.write


class Flood:
    """Gives standard output a buffer while lines come fast.

    To pass on a line by itself costs ten times as much as to make it. So after FAST lines
    within WINDOW seconds there is a buffer, and a thread that passes on its content every
    PERIOD seconds. Both end after CALM periods without output.
    """

    FAST, WINDOW, PERIOD = 200, 0.02, 0.005
    CALM = 20  # periods
    LONGEST_WAIT = 5  # seconds to wait for the thread, which a busy machine may take long to run
    IN_A_WRITE = 0.1  # the same for a signal's handler in the midst of a write: the thread may wait for that

    def __init__(self, raw, stream):
        self.raw, self.stream = raw, stream
        self.lines, self.since = 0, monotonic()
        self.is_on = False
        self.bytes = 0  # passed on since it began
        self.thread = 0
        # Held to write, and by the thread from before it takes what the text layer holds: so nothing
        # overtakes that, and who has the lock knows that it is written.
        self.writing = RLock()
        self.wake, self.ended = allocate_lock(), allocate_lock()

    def count(self, size):
        self.bytes += size
        self.lines += 1
        if self.lines < self.FAST or self.is_on:
            return
        now = monotonic()
        if now - self.since < self.WINDOW and self.stream.line_buffering:
            self.start()
        self.lines, self.since = 0, now

    def start(self):
        self.wake, self.ended = allocate_lock(), allocate_lock()
        self.wake.acquire()
        self.ended.acquire()
        try:
            start_new_thread(self.pass_on, (self.wake, self.ended))
        except RuntimeError:  # the limit of threads is reached; lines are passed on one by one
            return
        self.is_on = True
        self.stream.reconfigure(line_buffering=False)

    def write(self, data):
        with self.writing:
            n = _raw_write(self.raw, data)
            return n if n == len(data) else self.raw.write_rest(data, n)

    def pass_on(self, wake, ended):
        """Run in the thread until stop wakes it or no output comes any more."""
        self.thread = get_native_id()
        try:
            calm, before = 0, -1
            while calm < self.CALM and not wake.acquire(timeout=self.PERIOD):
                calm = calm + 1 if self.bytes == before else 0
                before = self.bytes
                with self.writing:
                    self.stream.flush()
        except BaseException:
            pass  # the code has closed it
        finally:
            self.end()
            ended.release()

    def end(self):
        with self.writing:
            try:
                self.stream.reconfigure(line_buffering=True)
            except BaseException:
                pass
            self.is_on = False

    def settle(self):
        """Wait until the lines that the thread has taken are written. Later output comes after them."""
        if self.is_on and self.writing.acquire(timeout=self.LONGEST_WAIT):
            self.writing.release()

    def stop(self):
        """End the flood, and wait for its thread. The wait has a limit: this may be a signal's
        handler, and the code that it interrupted may hold a lock that the thread waits for."""
        if not self.is_on:
            return
        in_a_write = self.writing._is_owned()  # type: ignore[attr-defined]
        longest = self.IN_A_WRITE if in_a_write else self.LONGEST_WAIT
        wake, ended = self.wake, self.ended
        try:
            wake.release()
        except RuntimeError:
            pass  # another call has woken it
        if not ended.acquire(timeout=longest):
            return
        ended.release()
        # Python warns of forks in processes with threads, so the kernel must have removed it.
        until = monotonic() + longest
        while monotonic() < until:
            try:
                _stat("/proc/self/task/%d" % self.thread)
            except OSError:
                return
            sleep(0.0001)

    def leave(self):
        """Go on without the thread, in a process that the code has forked."""
        if self.is_on:
            self.writing = RLock()
            self.end()
