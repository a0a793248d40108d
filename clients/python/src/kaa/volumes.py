"""Volumes: the files of a session with `persist`, which outlive it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ._drivers import AsyncDriver, Driver
from ._lists import every
from ._steps import Request, Steps, at, send
from .options import moment_of

PATH = "/v1/volumes"


def path_of(name: str) -> str:
    return at("volumes", name)


def listing() -> Steps[list[dict[str, Any]]]:
    return every(PATH, "volumes", {"limit": "100"})


def look(name: str) -> Steps[dict[str, Any]]:
    answer = yield from send(Request("GET", path_of(name), repeatable=True))
    return dict(answer.json())


def delete(name: str) -> Steps[None]:
    yield from send(Request("DELETE", path_of(name)))


class _Record:
    """The last answer about a volume. docs/api/volumes.md has its fields."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.record = dict(record)

    @property
    def name(self) -> str:
        return str(self.record["name"])

    @property
    def size(self) -> int:
        """The size of the saved files, compressed."""
        return int(self.record.get("bytes", 0))

    @property
    def entries(self) -> int:
        """Files, directories and links."""
        return int(self.record.get("entries", 0))

    @property
    def saved_at(self) -> datetime | None:
        """When the files were saved. None: they have not been yet."""
        return moment_of(self.record.get("savedAt"))

    @property
    def session_id(self) -> str | None:
        """The session that uses it."""
        return self.record.get("sessionId")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self.entries} entries, {self.size} bytes>"


class Volume(_Record):
    """A volume."""

    def __init__(self, driver: Driver, record: Mapping[str, Any]) -> None:
        super().__init__(record)
        self._driver = driver

    def refresh(self) -> None:
        """Look the volume up."""
        self.record = self._driver.run(look(self.name))

    def delete(self) -> None:
        """Delete the volume with its files. Conflict: a session uses it."""
        self._driver.run(delete(self.name))


class AsyncVolume(_Record):
    """A volume."""

    def __init__(self, driver: AsyncDriver, record: Mapping[str, Any]) -> None:
        super().__init__(record)
        self._driver = driver

    async def refresh(self) -> None:
        """Look the volume up."""
        self.record = await self._driver.run(look(self.name))

    async def delete(self) -> None:
        """Delete the volume with its files. Conflict: a session uses it."""
        await self._driver.run(delete(self.name))
