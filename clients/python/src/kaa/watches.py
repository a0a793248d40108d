"""Watches on directories of a session."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from ._drivers import AsyncDriver, Driver
from ._steps import Emit, Read, Request, Steps, at, send
from .errors import ConnectionLost, ended
from .events import Event, Events

_OPENED = object()  # emitted when the watch sees changes


@dataclass(frozen=True)
class Change:
    """A change in a directory. docs/api/session-files.md lists the types.

    `path` is below the watched directory. `escaped`: the name is no UTF-8, and its wrong bytes are written as `\\xNN`.
    """

    type: str
    path: str
    directory: bool = False
    escaped: bool = False


def changes(session: str, path: str, recursive: bool) -> Steps[None]:
    """Emit _OPENED, and the changes of a directory until it is gone. The end of the session raises."""
    params = {"path": path, "recursive": "true" if recursive else "false"}
    headers = {"Accept": "text/event-stream"}
    answer = yield from send(Request("GET", at("sessions", session, "fs", "watch"), params=params, headers=headers, stream=True))
    yield Emit(_OPENED)
    events = Events()
    while True:
        piece = yield Read(answer.stream)
        if not piece:
            raise ConnectionLost("the watch broke off: changes may be missing")
        for event in events.feed(piece):
            if event.type == "end":
                if event.data.get("reason") == "directory_gone":
                    return
                raise ended(event.data)
            yield Emit(_change(event))


def _change(event: Event) -> Change:
    data = event.data
    return Change(event.type, str(data.get("path", "")), bool(data.get("directory")), bool(data.get("escaped")))


class Watch:
    """The changes of a directory, from now on: iterate over it. `with` ends it.

    The iteration ends when the directory is gone. SessionEnded: the session has ended.
    """

    def __init__(self, driver: Driver, session: str, path: str, recursive: bool) -> None:
        self._items: Iterator[Any] = driver.iterate(changes(session, path, recursive))
        next(self._items)

    def __iter__(self) -> Iterator[Change]:
        return self

    def __next__(self) -> Change:
        change: Change = next(self._items)
        return change

    def close(self) -> None:
        """End the watch."""
        self._items.close()  # type: ignore[attr-defined]

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncWatch:
    """The changes of a directory, from now on: iterate over it. `async with` ends it.

    The iteration ends when the directory is gone. SessionEnded: the session has ended.
    """

    def __init__(self, driver: AsyncDriver, session: str, path: str, recursive: bool) -> None:
        self._items: AsyncIterator[Any] = driver.iterate(changes(session, path, recursive))

    async def _open(self) -> AsyncWatch:
        await self._items.__anext__()
        return self

    def __aiter__(self) -> AsyncIterator[Change]:
        return self

    async def __anext__(self) -> Change:
        change: Change = await self._items.__anext__()
        return change

    async def close(self) -> None:
        """End the watch."""
        await self._items.aclose()  # type: ignore[attr-defined]

    async def __aenter__(self) -> AsyncWatch:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
