"""Run untrusted Python on Kaa.

    import kaa

    print(kaa.run("print(6 * 7)").stdout)

The functions of this module use one client, whose address and key are in `KAA_URL` and `KAA_API_KEY`. `Kaa` is a client of
one's own, and `AsyncKaa` one for asyncio.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .async_client import AsyncKaa
from .async_session import AsyncCheckpoint, AsyncSession
from .client import Kaa, default
from .commands import AsyncCommand, AsyncTerminal, Command, Terminal
from .contexts import AsyncContext, Context
from .environments import AsyncEnvironment, Environment
from .errors import (
    Conflict,
    ConnectionLost,
    ExecutionError,
    ExecutionLost,
    FileTooLarge,
    Forbidden,
    Gone,
    InvalidRequest,
    JobCancelled,
    JobFailed,
    JobTimeout,
    KaaError,
    LimitReached,
    NotFound,
    NotKaa,
    NotReachable,
    Problem,
    ServerError,
    SessionEnded,
    TooLarge,
    Unauthorized,
    Unavailable,
    Unserializable,
)
from .events import Event
from .files import FileInfo
from .functions import Function, Pending, ValueMissing, function
from .jobs import AsyncJob, Job
from .local import Local, StartFailed, local
from .result import AsyncResult, ErrorInfo, Result, Value
from .schedules import AsyncSchedule, Schedule
from .session import Checkpoint, Session
from .volumes import AsyncVolume, Volume
from .watches import AsyncWatch, Change, Watch

__all__ = [
    "AsyncCheckpoint",
    "AsyncCommand",
    "AsyncContext",
    "AsyncEnvironment",
    "AsyncJob",
    "AsyncKaa",
    "AsyncResult",
    "AsyncSchedule",
    "AsyncSession",
    "AsyncTerminal",
    "AsyncVolume",
    "AsyncWatch",
    "Change",
    "Checkpoint",
    "Command",
    "Conflict",
    "ConnectionLost",
    "Context",
    "Environment",
    "ErrorInfo",
    "Event",
    "ExecutionError",
    "ExecutionLost",
    "FileInfo",
    "FileTooLarge",
    "Forbidden",
    "Function",
    "Gone",
    "InvalidRequest",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobTimeout",
    "Kaa",
    "KaaError",
    "LimitReached",
    "Local",
    "NotFound",
    "NotKaa",
    "NotReachable",
    "Pending",
    "Problem",
    "Result",
    "Schedule",
    "ServerError",
    "Session",
    "SessionEnded",
    "StartFailed",
    "Terminal",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
    "Unserializable",
    "Value",
    "ValueMissing",
    "Volume",
    "Watch",
    "__version__",
    "command",
    "default",
    "function",
    "job",
    "local",
    "map",
    "run",
    "stream",
    "submit",
]

if TYPE_CHECKING:
    # A type checker sees the methods of one client.
    _client = Kaa()
    command = _client.command
    job = _client.job
    map = _client.map
    run = _client.run
    stream = _client.stream
    submit = _client.submit
else:

    def run(code: str, **options: Any) -> Result:
        return default().run(code, **options)

    def command(command: Any, **options: Any) -> Result:
        return default().command(command, **options)

    def stream(code: str, **options: Any) -> Iterator[Event]:
        return default().stream(code, **options)

    def submit(code: str, **options: Any) -> Job:
        return default().submit(code, **options)

    def job(id: str) -> Job:
        return default().job(id)

    def map(programs: Any, **options: Any) -> Iterator[Any]:
        return default().map(programs, **options)

    for _function in (run, command, stream, submit, job, map):
        _function.__doc__ = getattr(Kaa, _function.__name__).__doc__
