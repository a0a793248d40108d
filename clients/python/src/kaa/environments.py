"""Environments: packages that are installed ahead of the executions that name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import jobs
from ._drivers import AsyncDriver, Driver
from ._lists import every
from ._steps import Request, Steps, at, send
from .errors import Gone, NotFound

PATH = "/v1/environments"


def create(packages: Sequence[str], preload: Sequence[str] | None, runtime: str | None) -> Steps[dict[str, Any]]:
    body: dict[str, Any] = {"packages": list(packages)}
    if preload is not None:
        body["preload"] = list(preload)
    if runtime is not None:
        body["runtime"] = runtime
    answer = yield from send(Request("POST", PATH, json=body, repeatable=True))
    return dict(answer.json())


def look(id: str) -> Steps[dict[str, Any]]:
    answer = yield from send(Request("GET", at("environments", id), repeatable=True))
    return dict(answer.json())


def listing() -> Steps[list[dict[str, Any]]]:
    return every(PATH, "environments")


def wait(record: Mapping[str, Any], timeout: float | None) -> Steps[dict[str, Any]]:
    """Wait for the end of the job that prepares it."""
    if record["state"] in ("queued", "building"):
        try:
            yield from jobs.wait(str(record["jobId"]), timeout)
        except (NotFound, Gone):
            pass  # the job was deleted, or has expired
    return (yield from look(str(record["id"])))


class _Record:
    """The last answer about an environment. docs/api/environments.md has its fields."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.record = dict(record)

    @property
    def id(self) -> str:
        return str(self.record["id"])

    @property
    def state(self) -> str:
        """queued, building, ready, failed or expired."""
        return str(self.record["state"])

    @property
    def packages(self) -> list[str]:
        return list(self.record["packages"])

    @property
    def size(self) -> int:
        """The size of the installed files."""
        return int(self.record.get("bytes", 0))

    @property
    def lock(self) -> str:
        """Each package with its version and hashes, as requirements.txt has them. Empty in lists, and until it is ready."""
        return str(self.record.get("lock", ""))

    @property
    def log(self) -> str:
        """Output of the installer. Empty in lists, and until it is ready."""
        return str(self.record.get("log", ""))

    @property
    def failure(self) -> str | None:
        """Why it failed."""
        failure = self.record.get("failure")
        return str(failure["message"]) if failure else None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}: {', '.join(self.packages)}: {self.state}>"


class Environment(_Record):
    """Packages that are installed ahead."""

    def __init__(self, driver: Driver, record: Mapping[str, Any]) -> None:
        super().__init__(record)
        self._driver = driver

    def refresh(self) -> None:
        """Look the environment up."""
        self.record = self._driver.run(look(self.id))

    def wait(self, timeout: float | None = None) -> str:
        """Wait until it is ready or has failed, and return its state. JobTimeout: it is still under way."""
        self.record = self._driver.run(wait(self.record, timeout))
        return self.state


class AsyncEnvironment(_Record):
    """Packages that are installed ahead."""

    def __init__(self, driver: AsyncDriver, record: Mapping[str, Any]) -> None:
        super().__init__(record)
        self._driver = driver

    async def refresh(self) -> None:
        """Look the environment up."""
        self.record = await self._driver.run(look(self.id))

    async def wait(self, timeout: float | None = None) -> str:
        """Wait until it is ready or has failed, and return its state. JobTimeout: it is still under way."""
        self.record = await self._driver.run(wait(self.record, timeout))
        return self.state
