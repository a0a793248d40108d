"""The control socket between a worker and the runner. repl_worker.py lists its frames.

Standard library only, Python 3.8 and later.
"""

import _thread
import json
import os
import select
from _json import encode_basestring_ascii as quote

from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

# json.loads without its search for white space, which would touch more pages.
parse = json.JSONDecoder().scan_once  # type: ignore[attr-defined]

MOST_AT_ONCE = 1 << 16  # bytes that are read from the socket

_getpid = os.getpid
_read = os.read
_write = os.write


class Control:
    """The control socket. Processes that the code forks do not have it."""

    def __init__(self):
        self.fd = self.pid = self.polled = -1
        self.poll = None
        self.rest = b""  # bytes that came after the last command
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
        """Return the next command, or None if the runner has closed the socket."""
        lines = self.rest
        while not lines.endswith(b"\n"):  # each is sent whole
            chunk = _read(self.fd, MOST_AT_ONCE)
            if not chunk:
                return None
            lines += chunk
        line, _, self.rest = lines.partition(b"\n")
        return parse(line.decode(), 0)[0]

    def send(self, **fields):
        """Send a frame. Return whether that worked."""
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
