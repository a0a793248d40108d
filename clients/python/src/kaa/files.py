"""Files that executions left, and files of sessions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ._drivers import AsyncDriver, Driver
from ._lists import every
from ._once import Once
from ._steps import Read, Request, Steps, at, send, tail
from .errors import FileTooLarge, NotFound
from .options import Content, content_of
from .watches import AsyncWatch, Watch


@dataclass(frozen=True)
class FileInfo:
    """A file of a job or of a session."""

    path: str
    size: int
    type: str


# Within the classes below, list is a method.
Paths = list[Path]
Infos = list[FileInfo]


def _info(entry: Mapping[str, Any]) -> FileInfo:
    return FileInfo(str(entry["path"]), int(entry.get("size", 0)), str(entry.get("type", "")))


def read_of_job(job: str, path: str) -> Steps[bytes]:
    answer = yield from send(Request("GET", tail(at("jobs", job, "files"), path), repeatable=True))
    return answer.body


def read(session: str, path: str) -> Steps[bytes]:
    answer = yield from send(Request("GET", at("sessions", session, "fs", "content"), params={"path": path}, repeatable=True))
    return answer.body


def read_at_most(session: str, path: str, most: int) -> Steps[bytes]:
    """Return the content of a file. FileTooLarge: it has more bytes."""
    answer = yield from send(Request("GET", at("sessions", session, "fs", "content"), params={"path": path}, stream=True, repeatable=True))
    if int(answer.headers.get("content-length", 0)) > most:
        raise FileTooLarge(f"{path} has more than {most} bytes")
    content = bytearray()
    while piece := (yield Read(answer.stream)):
        content += piece
    return bytes(content)


def write(session: str, path: str, content: Content) -> Steps[None]:
    yield from send(Request("PUT", at("sessions", session, "fs", "content"), params={"path": path}, content=content_of(path, content)))


def delete(session: str, path: str) -> Steps[None]:
    yield from send(Request("DELETE", at("sessions", session, "fs", "entry"), params={"path": path}))


def listing(session: str) -> Steps[list[FileInfo]]:
    entries = yield from every(at("sessions", session, "files"), "files", {"limit": "1000"})
    return [_info(entry) for entry in entries]


def place_of(into: str | os.PathLike[str], path: str) -> Path:
    """Return the place here for a file whose path untrusted code chose: a name in the directory, and nowhere else."""
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..", ".")]
    if not parts or any("\\" in part or ":" in part or "\0" in part for part in parts):
        raise ValueError(f"a file with the path {path!r} is not saved; read it, and choose a name")
    place = Path(into).joinpath(*parts)
    root = Path(into).resolve()
    if root not in place.resolve().parents:
        raise ValueError(f"the path {path!r} leads out of {str(into)!r} here")
    return place


def _save(into: str | os.PathLike[str], path: str, content: bytes) -> Path:
    place = place_of(into, path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return place


class _Entries:
    """The files that an execution left, as its result lists them."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.job = str(raw.get("jobId", ""))
        self.entries = {str(entry["path"]): _info(entry) for entry in raw.get("files") or ()}

    def known(self, path: str) -> str:
        if path not in self.entries:
            raise KeyError(path)
        return path

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {[*self.entries]}>"


class ResultFiles(_Entries, Mapping[str, bytes]):
    """The files that an execution left, by path. The content is fetched when it is asked for."""

    def __init__(self, driver: Driver, raw: Mapping[str, Any]) -> None:
        super().__init__(raw)
        self._driver = driver

    def read(self, path: str) -> bytes:
        return self._driver.run(read_of_job(self.job, self.known(path)))

    def save(self, into: str | os.PathLike[str] = ".") -> Paths:
        """Write all files into a directory here, and return their paths."""
        return [_save(into, path, self.read(path)) for path in self.entries]

    def list(self) -> Infos:
        return [*self.entries.values()]

    def __getitem__(self, path: str) -> bytes:
        return self.read(path)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


class AsyncResultFiles(_Entries):
    """The files that an execution left. The content is fetched when it is asked for."""

    def __init__(self, driver: AsyncDriver, raw: Mapping[str, Any]) -> None:
        super().__init__(raw)
        self._driver = driver

    async def read(self, path: str) -> bytes:
        return await self._driver.run(read_of_job(self.job, self.known(path)))

    async def save(self, into: str | os.PathLike[str] = ".") -> Paths:
        """Write all files into a directory here, and return their paths."""
        return [_save(into, path, await self.read(path)) for path in self.entries]

    def list(self) -> Infos:
        return [*self.entries.values()]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


class SessionFiles(MutableMapping[str, bytes]):
    """The files of a session, by path. A relative path begins at its working directory.

    To a path is assigned: bytes, a text, a `pathlib.Path` of a file here, or a frame.
    """

    def __init__(self, driver: Driver, session: str) -> None:
        self._driver = driver
        self._session = session

    def read(self, path: str, *, most: int | None = None) -> bytes:
        """Return the content of a file. With `most`, FileTooLarge is raised for one that has more bytes."""
        return self._driver.run(read(self._session, path) if most is None else read_at_most(self._session, path, most))

    def write(self, path: str, content: Content) -> None:
        self._driver.run(write(self._session, path, content))

    def delete(self, path: str) -> None:
        self._driver.run(delete(self._session, path))

    def list(self) -> Infos:
        """Return the files below the working directory."""
        return self._driver.run(listing(self._session))

    def watch(self, path: str = ".", *, recursive: bool = False) -> Watch:
        """Return the changes of a directory from now on, with `recursive` those of directories below it, too."""
        return Watch(self._driver, self._session, path, recursive)

    def save(self, path: str, into: str | os.PathLike[str] = ".") -> Path:
        """Write a file into a directory here, and return its path."""
        return _save(into, path, self.read(path))

    def __getitem__(self, path: str) -> bytes:
        try:
            return self.read(path)
        except NotFound as error:
            if error.code != "file_not_found":
                raise
            raise KeyError(path) from error

    def __setitem__(self, path: str, content: Content) -> None:
        self.write(path, content)

    def __delitem__(self, path: str) -> None:
        try:
            self.delete(path)
        except NotFound as error:
            if error.code != "file_not_found":
                raise
            raise KeyError(path) from error

    def __iter__(self) -> Iterator[str]:
        return iter([file.path for file in self.list()])

    def __len__(self) -> int:
        return len(self.list())


class AsyncSessionFiles:
    """The files of a session. A relative path begins at its working directory."""

    def __init__(self, driver: AsyncDriver, session: str) -> None:
        self._driver = driver
        self._session = session

    async def read(self, path: str, *, most: int | None = None) -> bytes:
        """Return the content of a file. With `most`, FileTooLarge is raised for one that has more bytes."""
        return await self._driver.run(read(self._session, path) if most is None else read_at_most(self._session, path, most))

    async def write(self, path: str, content: Content) -> None:
        await self._driver.run(write(self._session, path, content))

    async def delete(self, path: str) -> None:
        await self._driver.run(delete(self._session, path))

    async def list(self) -> Infos:
        """Return the files below the working directory."""
        return await self._driver.run(listing(self._session))

    def watch(self, path: str = ".", *, recursive: bool = False) -> Once[AsyncWatch]:
        """Return the changes of a directory from now on, with `recursive` those of directories below it, too: `await` it, or `async with` it."""
        return Once(AsyncWatch(self._driver, self._session, path, recursive)._open)

    async def save(self, path: str, into: str | os.PathLike[str] = ".") -> Path:
        """Write a file into a directory here, and return its path."""
        return _save(into, path, await self.read(path))
