"""A Kaa of one's own, for tests and notebooks."""

from __future__ import annotations

import atexit
import os
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from time import monotonic, sleep
from typing import IO

import httpx

from .client import Kaa
from .errors import KaaError


class StartFailed(KaaError):
    """`kaa dev` did not start."""


class Local(Kaa):
    """A client whose Kaa ends with it."""

    def __init__(self, process: subprocess.Popen[bytes], log: IO[bytes], url: str, key: str) -> None:
        super().__init__(url, key)
        self.key = key
        self._process = process
        self._log = log
        atexit.register(self.close)

    def close(self) -> None:
        """Close the connections and end the Kaa."""
        super().close()
        _end(self._process)
        self._log.close()
        atexit.unregister(self.close)

    def __enter__(self) -> Local:
        return self


def local(*, binary: str = "kaa", python: str | None = None, env: Mapping[str, str] | None = None, start_timeout: float = 60.0) -> Local:
    """Start `kaa dev` on a free port, with a key of its own, and return its client: `with kaa.local() as k`.

    `python` is the interpreter that executes code (`KAA_PYTHON`), and `env` has further settings.
    """
    path = shutil.which(binary)
    if path is None:
        raise StartFailed(f"there is no {binary!r} on the PATH; build it with `make build`, or give its path as binary")
    key = secrets.token_hex(16)
    settings = {**os.environ, "KAA_ADDR": "127.0.0.1:0", "KAA_API_KEYS": key, "KAA_LOG_LEVEL": "WARN"}
    if python is not None:
        settings["KAA_PYTHON"] = python
    settings.update(env or {})
    log = tempfile.TemporaryFile()
    process = subprocess.Popen([path, "dev"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=settings)
    try:
        return Local(process, log, _ready(process, log, start_timeout), key)
    except BaseException:
        _end(process)
        log.close()
        raise


def _ready(process: subprocess.Popen[bytes], log: IO[bytes], timeout: float) -> str:
    """Wait until the Kaa is ready, and return its address."""
    until = monotonic() + timeout
    while monotonic() < until:
        ended = process.poll() is not None
        text = _text(log)
        if ended:
            raise StartFailed(f"`kaa dev` ended with exit code {process.returncode}:\n{text[-2000:]}")
        found = re.search(r"Kaa is ready on (http://\S+)", text)
        if found:
            try:
                if httpx.get(found[1] + "/readyz", trust_env=False).status_code == 200:
                    return found[1]
            except httpx.TransportError:
                pass
        sleep(0.02)
    raise StartFailed(f"`kaa dev` was not ready within {timeout:g} s:\n{_text(log)[-2000:]}")


def _text(log: IO[bytes]) -> str:
    return os.pread(log.fileno(), 1 << 20, 0).decode("utf-8", "replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
