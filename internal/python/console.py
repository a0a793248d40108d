"""Kaa's standard input for code whose requests a caller answers while it runs.

For an execution with "input", sys.stdin asks for each line that the code reads and is not
there yet, as a terminal does:

    to the runner    {"id", "type": "input_request", "request": 1, "prompt": "...", "mark", "in"}
    from the runner  {"id", "cmd": "input", "request": 1, "text": "..."} or "eof": true

session.py calls begin and end. In between any thread of the code may ask, one after the
other. After an exception no thread waits for the answer any more. The answer then stays in the
socket, and the next reader of the socket skips it.

Standard library only, Python 3.8 and later.
"""

import _signal
import _thread
import builtins
import io
import json
import os
import select
import sys
from _json import encode_basestring_ascii as quote

from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

MAX_PROMPT = 1024  # characters
LOOK = 50  # milliseconds after which a thread looks whether its execution has ended
ALL_SIGNALS = _signal.valid_signals()
_sigmask = _signal.pthread_sigmask
_read = os.read
_poll = select.poll
parse = json.JSONDecoder().decode
read_line = builtins.input


class Lines(io.RawIOBase):
    """The bytes of the answers."""

    name, mode = "<stdin>", "rb"

    def __init__(self, ask):
        self.ask, self.rest = ask, b""

    def readable(self):
        return True

    def fileno(self):
        return 0

    def isatty(self):
        return False

    def readinto(self, buffer):
        if not self.rest:
            self.rest = self.ask()
        n = min(len(buffer), len(self.rest))
        buffer[:n], self.rest = self.rest[:n], self.rest[n:]
        return n


class Console:
    def __init__(self, control, send, marks):
        self.control, self.send, self.marks = control, send, marks
        self.id = None  # of the execution that may ask
        self.requests = 0
        self.prompt = ""
        self.apart = False  # whether a prompt is in the request only
        self.lock = _thread.RLock()  # held to read from the socket
        self.stream = self.before = None
        self.post = None  # waits for an answer in the place of answer_to while calls.py reads the socket

    def begin(self, command_id, apart=False):
        self.id, self.requests, self.prompt, self.apart = command_id, 0, "", apart
        self.before = sys.stdin
        self.stream = io.TextIOWrapper(io.BufferedReader(Lines(self.ask)), encoding="utf-8", errors="surrogateescape", newline="\n")
        self.stream.mode = "r"  # type: ignore[misc]
        sys.stdin, builtins.input = self.stream, self.input

    def end(self):
        """Allow no more requests. When it returns, no thread reads from the socket."""
        if self.id is None:
            return
        self.id = None
        with self.lock:
            pass
        if sys.stdin is self.stream:
            sys.stdin = self.before
        if builtins.input == self.input:
            builtins.input = read_line
        self.stream = self.before = None

    def input(self, prompt="", /):
        text = str(prompt)
        if sys.stdin is not self.stream:
            self.prompt = ""
            return line_from(text, text)
        self.prompt = text
        return line_from(text, text[:-MAX_PROMPT] if self.apart else text)

    def ask(self):
        """Return a line, or nothing at the end of the input."""
        mine, prompt, self.prompt = self.id, self.prompt, ""
        if mine is None or not self.control.is_ours():
            return b""
        while not self.lock.acquire(timeout=LOOK / 1000):
            if self.id != mine:
                return b""
        try:
            if self.id != mine:
                return b""
            self.marks.flush()
            self.requests += 1
            request = self.requests
            frame = '{"id":%s,"type":"input_request","request":%d,"prompt":%s' % (quote(mine), request, quote(prompt[-MAX_PROMPT:]))
            self.send(frame.encode("ascii"))
            return self.answer_to(mine, request)
        finally:
            self.lock.release()

    def answer_to(self, mine, request):
        if self.post is not None:
            return line_of(self.post(mine, request) or {"eof": True})
        poll = _poll()
        poll.register(self.control.fd, select.POLLIN)
        while self.id == mine:
            line, found, rest = self.control.rest.partition(b"\n")
            if not found:
                if poll.poll(LOOK) and not self.fetch():
                    return b""
                continue
            self.control.rest = rest
            command = parse(line.decode())
            if command.get("id") == mine and command.get("request") == request:
                return line_of(command)
        return b""

    def fetch(self):
        """Read what has come: no signal's handler may come in between, or it would be lost."""
        before = _sigmask(_signal.SIG_BLOCK, ())
        try:
            _sigmask(_signal.SIG_BLOCK, ALL_SIGNALS)  # may raise what a handler raises
            chunk = _read(self.control.fd, 1 << 16)
            self.control.rest += chunk
        finally:
            _sigmask(_signal.SIG_SETMASK, before)
        return chunk


def line_from(prompt, shown):
    """Do what Python's input does where sys.stdin is no terminal, and write the part of the prompt that is shown. Python's
    drops an exception of a signal's handler while it flushes, and so the interrupt of the code."""
    sys.audit("builtins.input", prompt)
    stdin, stdout, stderr = (stream_of(name) for name in ("stdin", "stdout", "stderr"))
    flush(stderr)
    stdout.write(shown)
    flush(stdout)
    line = stdin.readline()
    if not isinstance(line, str):
        raise TypeError("object.readline() returned non-string")
    if not line:
        raise EOFError("EOF when reading a line")
    line = line[:-1] if line.endswith("\n") else line
    sys.audit("builtins.input/result", line)
    return line


def stream_of(name):
    stream = getattr(sys, name, None)
    if stream is None:
        raise RuntimeError("input(): lost sys." + name)
    return stream


def flush(stream):
    try:
        stream.flush()
    except Exception:
        pass


def line_of(command):
    """Return the line that a command answers with; nothing at the end of the input."""
    if command.get("eof"):
        return b""
    text = command.get("text", "").encode("utf-8", "surrogatepass")
    return text if text.endswith(b"\n") else text + b"\n"
