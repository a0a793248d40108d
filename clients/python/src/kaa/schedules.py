"""Schedules: jobs at the times of a cron line."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ._drivers import AsyncDriver, Driver
from ._lists import every
from ._steps import Request, Steps, at, send
from .jobs import AsyncJob, Job
from .options import RunOptions, body_of, moment_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

PATH = "/v1/schedules"


class ScheduleOptions(RunOptions, total=False):
    """Options of a schedule, and of its jobs."""

    name: str | None
    time_zone: str | None
    overlap: str | None
    starting_deadline: float | None
    paused: bool | None
    queue: str | None
    max_attempts: int | None
    result_ttl: float | None
    metadata: Mapping[str, Any] | None
    webhook: Mapping[str, str] | None
    events: bool | None


# The other options are those of the job.
_OWN = ("name", "time_zone", "overlap", "starting_deadline", "paused")


def body(code: str, cron: str, options: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in options.items() if name in _OWN}
    job = {name: value for name, value in options.items() if name not in _OWN}
    return {"cron": cron, **body_of(own), "job": {"code": code, **body_of(job)}}


def create(request: Mapping[str, Any]) -> Steps[dict[str, Any]]:
    answer = yield from send(Request("POST", PATH, json=request))
    return dict(answer.json())


def listing() -> Steps[list[dict[str, Any]]]:
    return every(PATH, "schedules", {"limit": "100"})


def look(id: str) -> Steps[dict[str, Any]]:
    answer = yield from send(Request("GET", at("schedules", id), repeatable=True))
    return dict(answer.json())


def replace(id: str, request: Mapping[str, Any]) -> Steps[dict[str, Any]]:
    answer = yield from send(Request("PUT", at("schedules", id), json=request, repeatable=True))
    return dict(answer.json())


def tell(id: str, what: str) -> Steps[dict[str, Any]]:
    answer = yield from send(Request("POST", at("schedules", id, what), json={}))
    return dict(answer.json())


def delete(id: str) -> Steps[None]:
    yield from send(Request("DELETE", at("schedules", id)))


class _Record:
    """The last answer about a schedule. docs/api/schedules.md has its fields."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.record = dict(record)

    @property
    def id(self) -> str:
        return str(self.record["id"])

    @property
    def name(self) -> str:
        return str(self.record.get("name", ""))

    @property
    def cron(self) -> str:
        return str(self.record["cron"])

    @property
    def paused(self) -> bool:
        return bool(self.record.get("paused"))

    @property
    def next_runs(self) -> list[datetime]:
        """The next five times; none while it is paused."""
        return [moment for moment in map(moment_of, self.record.get("nextRuns") or ()) if moment]

    @property
    def job_ids(self) -> list[str]:
        """The ids of its last 20 jobs, the newest first. A schedule of a list has none before `refresh`."""
        return list(self.record.get("jobs") or ())

    @property
    def last_error(self) -> str | None:
        """Why the last run made no job."""
        return self.record.get("lastError")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.cron!r}{' paused' if self.paused else ''}>"


class Schedule(_Record):
    """A schedule. It goes on until it is deleted."""

    def __init__(self, driver: Driver, record: Mapping[str, Any]) -> None:
        super().__init__(record)
        self._driver = driver

    def refresh(self) -> None:
        """Look the schedule up."""
        self.record = self._driver.run(look(self.id))

    def replace(self, code: str, cron: str, **options: Unpack[ScheduleOptions]) -> None:
        """Replace the schedule as a whole: what is not given has its default."""
        self.record = self._driver.run(replace(self.id, body(code, cron, options)))

    def pause(self) -> None:
        """Leave its runs out."""
        self.record = self._driver.run(tell(self.id, "pause"))

    def resume(self) -> None:
        """Go on with its runs."""
        self.record = self._driver.run(tell(self.id, "resume"))

    def run(self) -> Job:
        """Make one more job now."""
        return Job(self._driver, self._driver.run(tell(self.id, "run")))

    def delete(self) -> None:
        """Delete the schedule. Its jobs stay."""
        self._driver.run(delete(self.id))


class AsyncSchedule(_Record):
    """A schedule. It goes on until it is deleted."""

    def __init__(self, driver: AsyncDriver, record: Mapping[str, Any]) -> None:
        super().__init__(record)
        self._driver = driver

    async def refresh(self) -> None:
        """Look the schedule up."""
        self.record = await self._driver.run(look(self.id))

    async def replace(self, code: str, cron: str, **options: Unpack[ScheduleOptions]) -> None:
        """Replace the schedule as a whole: what is not given has its default."""
        self.record = await self._driver.run(replace(self.id, body(code, cron, options)))

    async def pause(self) -> None:
        """Leave its runs out."""
        self.record = await self._driver.run(tell(self.id, "pause"))

    async def resume(self) -> None:
        """Go on with its runs."""
        self.record = await self._driver.run(tell(self.id, "resume"))

    async def run(self) -> AsyncJob:
        """Make one more job now."""
        return AsyncJob(self._driver, await self._driver.run(tell(self.id, "run")))

    async def delete(self) -> None:
        """Delete the schedule. Its jobs stay."""
        await self._driver.run(delete(self.id))
