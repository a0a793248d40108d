"""Executions: code in a fresh interpreter or in a session, with its events as they happen."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ._steps import ATTEMPTS, Call, Emit, Read, Request, Sleep, Steps, at, backoff, send
from ._tools import Tools
from .errors import ConnectionLost, KaaError, NotKaa, failure_of, problem_of
from .events import Event, Events
from .options import reading

EXECUTE = "/process/interpreter/execute"
SSE = {"Accept": "text/event-stream"}

Sink = Callable[[Event], Steps[None]]


@dataclass
class Listeners:
    """Functions of the caller for output and events as they come, and functions that the code may call."""

    stdout: Callable[[str], Any] | None = None
    stderr: Callable[[str], Any] | None = None
    event: Callable[[Event], Any] | None = None
    tools: Tools = field(default_factory=Tools)

    def __bool__(self) -> bool:
        return bool(self.stdout or self.stderr or self.event or self.tools)

    def sink(self, event: Event) -> Steps[None]:
        listener = getattr(self, event.stream) if event.type == "stream" and event.stream in ("stdout", "stderr") else None
        if listener:
            yield Call(listener, (event.text,))
        if self.event:
            yield Call(self.event, (event,))


def emit(event: Event) -> Steps[None]:
    """Pass an event on to the caller who iterates."""
    yield Emit(event)


@dataclass
class _Place:
    """The place in the events of a job from which another stream goes on."""

    job: str = ""
    last: str = ""
    broken: int = 0  # streams that broke without an event
    resumed: bool = False

    def see(self, event: Event) -> None:
        self.job = self.job or str(event.data.get("jobId", ""))
        if event.id:
            self.last, self.broken = event.id, 0

    def resume(self, error: KaaError, resumable: bool = True) -> None:
        """Raise the error that broke a stream unless another one may go on."""
        self.broken += 1
        if not self.job or not resumable or self.broken > ATTEMPTS:
            raise error


def events_of(job: str, last: str = "") -> Request:
    """Return the request for the events of a job after the last one seen."""
    return Request("GET", at("jobs", job, "events"), headers={**SSE, **({"Last-Event-ID": last} if last else {})}, stream=True)


def follow(request: Request, sink: Sink, owned: bool = False, job: str = "") -> Steps[Event]:
    """Pass the events of a job to sink, and return the last one. A stream that breaks is resumed.

    The server ends an owned job when the stream of its first request ends. After a resume this function does it.
    """
    place = _Place(job)
    try:
        while True:
            final = yield from _stream(request, sink, place)
            if final:
                return final
            place.resumed = True
            yield Sleep(backoff(place.broken))
            request = events_of(place.job, place.last)
    except BaseException:
        if owned and place.resumed:
            with suppress(KaaError):
                yield Request("DELETE", at("jobs", place.job), read=5.0)
        raise


def _stream(request: Request, sink: Sink, place: _Place) -> Steps[Event | None]:
    """Pass on the events of one stream. Return the last event of the job, or None if the stream broke and may be resumed."""
    parser = Events()
    try:
        answer = yield from send(request)
        if answer.status == 204:
            raise NotKaa("the events of the job had ended before its last one came")
        while True:
            piece = yield Read(answer.stream)
            if not piece:
                raise ConnectionLost("the stream of events broke off")
            for event in parser.feed(piece):
                place.see(event)
                if event.broken:
                    place.resume(_problem(event), bool(event.data["resumable"]))
                    return None
                yield from sink(event)
                if event.final:
                    return event
    except ConnectionLost as lost:
        place.resume(lost)
        return None


def _problem(event: Event) -> KaaError:
    return problem_of(503, {}, json.dumps(event.data).encode())


def execute(body: Mapping[str, Any], listeners: Listeners, path: str = EXECUTE) -> Steps[dict[str, Any]]:
    """Execute code and return the result as JSON has it."""
    read = reading(body.get("timeout"))
    if not listeners:
        answer = yield from send(Request("POST", path, json=body, read=read))
        return dict(answer.json())
    tools = listeners.tools
    body = {**body, **tools.offer()}

    def sink(event: Event) -> Steps[None]:
        if event.type == "call":
            yield from tools.answer(job[0], event)
        elif event.type == "status":
            job[0] = job[0] or str(event.data.get("jobId", ""))
        yield from listeners.sink(event)

    job = [""]
    final = yield from follow(Request("POST", path, json=body, headers=SSE, stream=True, read=read), sink, owned=True)
    return (yield from result_of(final, job[0]))


def stream(body: Mapping[str, Any], path: str = EXECUTE) -> Steps[None]:
    """Execute code and emit its events. A failure of Kaa raises."""
    request = Request("POST", path, json=body, headers=SSE, stream=True, read=reading(body.get("timeout")))
    final = yield from follow(request, emit, owned=True)
    if "status" not in final.data:
        raise failure_of(final.data)


def result_of(final: Event, job: str) -> Steps[dict[str, Any]]:
    """Return the whole result of a job whose last event has come."""
    if "status" not in final.data:
        raise failure_of({**final.data, "id": job})
    answer = yield from send(Request("GET", at("jobs", job), repeatable=True))
    return dict(answer.json()["result"], jobId=job)
