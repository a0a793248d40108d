"""The steps that operations consist of, without input or output.

An operation is a generator: it yields a step, gets what came of it, and returns its value. The drivers
(`_drivers.py`) carry steps out, one with blocking calls and one with asyncio. So every operation is written once.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, Union
from urllib.parse import quote

from .errors import ConnectionLost, NotKaa, Problem, problem_of

T = TypeVar("T")

# Code of a request that was answered with one of these may have run in part, so it is not sent again.
MAY_HAVE_RUN = frozenset({"drained", "worker_failed", "result_not_kept"})

ATTEMPTS = 7  # after a lost connection, without anything that comes in between


def backoff(lost: int) -> float:
    """Return the seconds to wait after so many lost connections in a row: 25 s for all attempts."""
    return 0.1 * float(2**lost)


def segment(text: str) -> str:
    """Return a text as one part of a path. HTTP clients resolve `.` and `..`, unless they are written otherwise."""
    return text.replace(".", "%2E") if text in (".", "..") else quote(text, safe="")


def at(*parts: str) -> str:
    """Return the path of an operation. Its parts may be what a caller has given as an id or a name."""
    if "" in parts:
        raise ValueError("an id or a name is empty")
    return "/v1/" + "/".join(segment(part) for part in parts)


def tail(path: str, file: str) -> str:
    """Return the path of a file below another path."""
    return path + "/" + "/".join(segment(part) for part in file.split("/"))


@dataclass
class Request:
    """A request. Its answer is an `Answer`."""

    method: str
    path: str
    json: Any = None
    content: bytes | Path | None = None
    params: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    read: float = 90.0  # seconds until something of the answer has to arrive
    stream: bool = False  # the answer's body is read in pieces
    repeatable: bool = False  # a second one does no harm, so it is sent again after a lost connection


@dataclass
class Answer:
    """An answer. The driver fills in for how long it may be asked again."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    stream: Any = None
    retry_for: float = 0.0

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            raise NotKaa(f"the answer is no JSON; is this the address of a Kaa? It begins with {self.body[:100]!r}") from None


@dataclass
class Read:
    """The next piece of a stream: bytes, none at its end."""

    stream: Any


@dataclass
class Sleep:
    """A pause."""

    seconds: float


@dataclass
class Emit:
    """An item for the caller who iterates over the operation."""

    item: Any


@dataclass
class Emits:
    """Several items for the caller, one after the other."""

    items: list[Any]


@dataclass
class Call:
    """A call of a function of the caller, which may be a coroutine function."""

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


Step = Union[Request, Read, Sleep, Emit, Emits, Call]
Steps = Generator[Step, Any, T]


class Stopped(BaseException):
    """The caller does not iterate any more. It is raised in an operation, which may then clean up with further steps."""


def send(request: Request) -> Steps[Answer]:
    """Send a request, again after 429 and 503 as `Retry-After` says, and raise the problem that it is answered with."""
    waited, lost = 0.0, 0
    while True:
        try:
            answer: Answer = yield request
        except ConnectionLost:
            lost += 1
            if not request.repeatable or lost > 3:
                raise
            yield Sleep(0.1 * 2**lost)
            continue
        if answer.status < 400:
            return answer
        problem = problem_of(answer.status, answer.headers, answer.body)
        pause = _pause(problem, request)
        if pause is None or waited + pause > answer.retry_for:
            raise problem
        waited += pause
        yield Sleep(pause * (1 + random.random() / 10))  # callers that were refused together do not come back together


def _pause(problem: Problem, request: Request) -> float | None:
    """Return the seconds after which the request may be sent again, None if it may not be."""
    if problem.status not in (429, 503) or problem.code in MAY_HAVE_RUN:
        return None
    if problem.code == "unavailable" and not request.repeatable:
        return None  # it may have been recorded
    return problem.retry_after
