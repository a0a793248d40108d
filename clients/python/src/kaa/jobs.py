"""Jobs: programs that run without a caller who waits."""

from __future__ import annotations

import threading
import uuid
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from time import monotonic
from typing import Any

from . import _execution
from ._drivers import AsyncDriver, Driver
from ._steps import Request, Steps, at, send
from .errors import Conflict, JobTimeout, KaaError, failure_of
from .events import FINAL, Event
from .files import AsyncResultFiles, ResultFiles
from .result import AsyncResult, Result

_POLL = 30.0  # seconds that one call waits


def submit(body: Mapping[str, Any], idempotency_key: str | None) -> Steps[dict[str, Any]]:
    headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
    answer = yield from send(Request("POST", "/v1/jobs", json=body, headers=headers, repeatable=True))
    return dict(answer.json())


def look(job: str, wait: float = 0) -> Steps[dict[str, Any]]:
    request = Request("GET", at("jobs", job), params={"wait": f"{wait:.3f}"} if wait else None, read=wait + 60, repeatable=True)
    answer = yield from send(request)
    return dict(answer.json())


def wait(job: str, timeout: float | None) -> Steps[dict[str, Any]]:
    """Wait for the end of a job."""
    until = None if timeout is None else monotonic() + timeout
    while True:
        left = _POLL if until is None else min(_POLL, max(0.0, until - monotonic()))
        record = yield from look(job, left)
        if record["state"] in FINAL:
            return record
        if until is not None and monotonic() >= until:
            raise JobTimeout(f"job {job} has not ended in {timeout:g} s; it is {record['state']}")


def cancel(job: str) -> Steps[bool]:
    try:
        yield from send(Request("DELETE", at("jobs", job)))
    except Conflict:
        return False
    return True


def follow(job: str) -> Steps[None]:
    yield from _execution.follow(_execution.events_of(job), _execution.emit, job=job)


def raw_result(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of a job that has ended; raise its failure if it has none."""
    if not record.get("result"):
        raise failure_of(record)
    return {**record["result"], "jobId": record["id"]}


class _Record:
    """The last answer about a job."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.record: dict[str, Any] = dict(record)

    @property
    def id(self) -> str:
        return str(self.record["id"])

    @property
    def state(self) -> str:
        """The state as of the last answer."""
        return str(self.record["state"])

    def _error(self) -> KaaError | None:
        try:
            raw_result(self.record)
        except KaaError as error:
            return error
        return None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.state}>"


class Job(_Record):
    """A submitted job, with the methods of a `concurrent.futures.Future`.

    A job goes on when its caller stops to wait. `with kaa.submit(…) as job:` cancels it at the end of the block unless
    it has ended.
    """

    def __init__(self, driver: Driver, record: Mapping[str, Any]) -> None:
        super().__init__(record)
        self._driver = driver

    def refresh(self) -> str:
        """Look the job up and return its state."""
        if self.state not in FINAL:
            self.record = self._driver.run(look(self.id))
        return self.state

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the end of the job. JobTimeout: it has not ended in time, and goes on."""
        if self.state not in FINAL or ("result" not in self.record and "failure" not in self.record):
            self.record = self._driver.run(wait(self.id, timeout))

    def result(self, timeout: float | None = None) -> Result:
        """Wait for the result. A job that Kaa could not carry out, or that was cancelled, raises."""
        self.wait(timeout)
        raw = raw_result(self.record)
        return Result(raw, ResultFiles(self._driver, raw))

    def exception(self, timeout: float | None = None) -> KaaError | None:
        """Wait for the end, and return the error that `result` would raise."""
        self.wait(timeout)
        return self._error()

    def cancel(self) -> bool:
        """Ask for the end of the job. False: it has ended already."""
        return self._driver.run(cancel(self.id))

    def cancelled(self) -> bool:
        return self.refresh() == "cancelled"

    def running(self) -> bool:
        return self.refresh() == "running"

    def done(self) -> bool:
        return self.refresh() in FINAL

    def add_done_callback(self, function: Callable[[Job], Any]) -> None:
        """Call a function with the job when it has ended, in a thread that waits for it."""

        def waiting() -> None:
            self.wait()
            function(self)

        threading.Thread(target=waiting, name=f"kaa job {self.id}", daemon=True).start()

    def events(self) -> Iterator[Event]:
        """Follow the job from its beginning to its end."""
        return self._driver.iterate(follow(self.id))

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *_: object) -> None:
        if self.state not in FINAL:
            self.cancel()


class AsyncJob(_Record):
    """A submitted job. `await job` waits for its result. `async with` cancels it at the end of the block unless it has ended."""

    def __init__(self, driver: AsyncDriver, record: Mapping[str, Any]) -> None:
        super().__init__(record)
        self._driver = driver

    async def refresh(self) -> str:
        """Look the job up and return its state."""
        if self.state not in FINAL:
            self.record = await self._driver.run(look(self.id))
        return self.state

    async def wait(self, timeout: float | None = None) -> None:
        """Wait for the end of the job. JobTimeout: it has not ended in time, and goes on."""
        if self.state not in FINAL or ("result" not in self.record and "failure" not in self.record):
            self.record = await self._driver.run(wait(self.id, timeout))

    async def result(self, timeout: float | None = None) -> AsyncResult:
        """Wait for the result. A job that Kaa could not carry out, or that was cancelled, raises."""
        await self.wait(timeout)
        raw = raw_result(self.record)
        return AsyncResult(raw, AsyncResultFiles(self._driver, raw))

    async def exception(self, timeout: float | None = None) -> KaaError | None:
        """Wait for the end, and return the error that `result` would raise."""
        await self.wait(timeout)
        return self._error()

    async def cancel(self) -> bool:
        """Ask for the end of the job. False: it has ended already."""
        return await self._driver.run(cancel(self.id))

    async def cancelled(self) -> bool:
        return await self.refresh() == "cancelled"

    async def running(self) -> bool:
        return await self.refresh() == "running"

    async def done(self) -> bool:
        return await self.refresh() in FINAL

    def events(self) -> AsyncIterator[Event]:
        """Follow the job from its beginning to its end."""
        return self._driver.iterate(follow(self.id))

    def __await__(self) -> Generator[Any, None, AsyncResult]:
        return self.result().__await__()

    async def __aenter__(self) -> AsyncJob:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.state not in FINAL:
            await self.cancel()
