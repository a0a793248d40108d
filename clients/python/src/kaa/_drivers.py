"""Carry out the steps of operations over HTTP: with blocking calls, and with asyncio or trio."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from time import sleep
from typing import Any, TypeVar

import anyio
import httpx

from ._steps import Answer, Call, Emit, Emits, Read, Request, Sleep, Step, Steps, Stopped
from ._version import __version__
from .errors import ConnectionLost, KaaError, NotReachable

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8080"
_PIECE = 1 << 18


class Config:
    """The address and the key, from arguments or from the environment."""

    def __init__(self, url: str | None, key: str | None, retry_for: float) -> None:
        self.url = (url or os.environ.get("KAA_URL") or DEFAULT_URL).rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"the address of a Kaa begins with http:// or https://; {self.url!r} does not")
        self.key = key if key is not None else os.environ.get("KAA_API_KEY", "")
        self.retry_for = retry_for
        self.headers = {"User-Agent": f"kaa-run/{__version__}", "Accept": "application/json"}
        if self.key:
            self.headers["Authorization"] = f"Bearer {self.key}"

    def options(self) -> dict[str, Any]:
        limits = httpx.Limits(max_connections=1000, max_keepalive_connections=100)
        return {"headers": self.headers, "limits": limits, "timeout": httpx.Timeout(10.0, pool=None)}

    def error(self, error: Exception) -> KaaError:
        """Return the error of this package for one of httpx."""
        if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
            return NotReachable(f"no Kaa answers at {self.url} ({error}); start one with `kaa dev`, or set KAA_URL")
        if isinstance(error, (httpx.InvalidURL, httpx.UnsupportedProtocol)):
            return NotReachable(f"{self.url} is no address of a Kaa: {error}")
        return ConnectionLost(f"the connection to {self.url} was lost: {type(error).__name__} {error}".rstrip())


_ERRORS = (httpx.TransportError, httpx.InvalidURL, httpx.StreamError)


def _parts(config: Config, request: Request) -> dict[str, Any]:
    """Return the arguments with which httpx builds a request, but for a content that is a file."""
    headers = dict(request.headers)
    content: Any = request.content
    if request.json is not None:
        content = json.dumps(request.json, separators=(",", ":")).encode()
        headers["Content-Type"] = "application/json"
    elif content is not None:
        headers.setdefault("Content-Type", "application/octet-stream")
    timeout = httpx.Timeout(10.0, read=request.read, write=60.0, pool=None)
    return {
        "method": request.method,
        "url": config.url + request.path,
        "params": request.params,
        "headers": headers,
        "content": content,
        "timeout": timeout,
    }


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


async def _pieces_async(path: Path) -> AsyncIterator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        while piece := await file.read(_PIECE):
            yield piece


class Driver:
    """Carries steps out with blocking calls. Threads may share one."""

    def __init__(self, config: Config, http: httpx.Client | None = None) -> None:
        self.config = config
        self.http = http or httpx.Client(**config.options())

    def close(self) -> None:
        self.http.close()

    def run(self, steps: Steps[T]) -> T:
        """Carry out an operation and return its value."""
        opened: list[httpx.Response] = []
        try:
            step = next(steps)
            while True:
                try:
                    value = self._carry_out(step, opened)
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(value)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        finally:
            for response in opened:
                response.close()

    def iterate(self, steps: Steps[None]) -> Iterator[Any]:
        """Carry out an operation and yield the items that it emits."""
        opened: list[httpx.Response] = []
        try:
            step = next(steps)
            while True:
                try:
                    if isinstance(step, Emit):
                        yield step.item
                        value = None
                    elif isinstance(step, Emits):
                        yield from step.items
                        value = None
                    else:
                        value = self._carry_out(step, opened)
                except GeneratorExit:
                    self._stop(steps)
                    raise
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(value)
        except StopIteration:
            return
        finally:
            for response in opened:
                response.close()

    def _stop(self, steps: Steps[None]) -> None:
        def cleaning() -> Steps[None]:
            with suppress(Stopped):
                yield from _thrown(steps)

        self.run(cleaning())

    def _carry_out(self, step: Step, opened: list[httpx.Response]) -> Any:
        if isinstance(step, Request):
            return self._send(step, opened)
        if isinstance(step, Read):
            try:
                return next(step.stream, b"")
            except _ERRORS as error:
                raise self.config.error(error) from error
        if isinstance(step, Sleep):
            return sleep(step.seconds)
        if isinstance(step, Call):
            value = step.function(*step.args, **step.kwargs)
            if inspect.iscoroutine(value):
                value.close()
                raise TypeError(f"{step.function!r} is a coroutine function; these are for AsyncKaa")
            return value
        raise RuntimeError("this operation emits items; iterate over it")

    def _send(self, step: Request, opened: list[httpx.Response]) -> Answer:
        parts = _parts(self.config, step)
        if isinstance(step.content, Path):
            parts["content"] = _pieces(step.content)
        try:
            response = self.http.send(self.http.build_request(**parts), stream=step.stream)
            if step.stream and response.status_code < 400:
                opened.append(response)
                return Answer(response.status_code, response.headers, b"", response.iter_bytes(), self.config.retry_for)
            body = response.read()
        except _ERRORS as error:
            raise self.config.error(error) from error
        return Answer(response.status_code, response.headers, body, None, self.config.retry_for)


class AsyncDriver:
    """Carries steps out with asyncio or trio."""

    def __init__(self, config: Config, http: httpx.AsyncClient | None = None) -> None:
        self.config = config
        self.http = http or httpx.AsyncClient(**config.options())

    async def close(self) -> None:
        await self.http.aclose()

    async def run(self, steps: Steps[T]) -> T:
        """Carry out an operation and return its value. After a cancellation its last steps are shielded."""
        opened: list[httpx.Response] = []
        cancelled = False
        try:
            step = next(steps)
            while True:
                try:
                    value = await (self._last(step, opened) if cancelled else self._carry_out(step, opened))
                except BaseException as error:
                    cancelled = cancelled or not isinstance(error, Exception)
                    step = steps.throw(error)
                else:
                    step = steps.send(value)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        finally:
            await _close(opened)

    async def iterate(self, steps: Steps[None]) -> AsyncIterator[Any]:
        """Carry out an operation and yield the items that it emits."""
        opened: list[httpx.Response] = []
        try:
            step = next(steps)
            while True:
                try:
                    if isinstance(step, Emit):
                        yield step.item
                        value = None
                    elif isinstance(step, Emits):
                        for item in step.items:
                            yield item
                        value = None
                    else:
                        value = await self._carry_out(step, opened)
                except Exception as error:
                    step = steps.throw(error)
                except BaseException:
                    await self._stop(steps)
                    raise
                else:
                    step = steps.send(value)
        except StopIteration:
            return
        finally:
            await _close(opened)

    async def _stop(self, steps: Steps[None]) -> None:
        def cleaning() -> Steps[None]:
            with suppress(Stopped):
                yield from _thrown(steps)

        with anyio.move_on_after(10, shield=True):
            await self.run(cleaning())

    async def _last(self, step: Step, opened: list[httpx.Response]) -> Any:
        with anyio.move_on_after(10, shield=True):
            return await self._carry_out(step, opened)
        raise ConnectionLost("Kaa did not answer within 10 s of the cancellation")

    async def _carry_out(self, step: Step, opened: list[httpx.Response]) -> Any:
        if isinstance(step, Request):
            return await self._send(step, opened)
        if isinstance(step, Read):
            try:
                return await anext_of(step.stream)
            except _ERRORS as error:
                raise self.config.error(error) from error
        if isinstance(step, Sleep):
            return await anyio.sleep(step.seconds)
        if isinstance(step, Call):
            value = step.function(*step.args, **step.kwargs)
            return await value if inspect.isawaitable(value) else value
        raise RuntimeError("this operation emits items; iterate over it")

    async def _send(self, step: Request, opened: list[httpx.Response]) -> Answer:
        parts = _parts(self.config, step)
        if isinstance(step.content, Path):
            parts["content"] = _pieces_async(step.content)
        try:
            response = await self.http.send(self.http.build_request(**parts), stream=step.stream)
            if step.stream and response.status_code < 400:
                opened.append(response)
                return Answer(response.status_code, response.headers, b"", response.aiter_bytes(), self.config.retry_for)
            body = await response.aread()
        except _ERRORS as error:
            raise self.config.error(error) from error
        return Answer(response.status_code, response.headers, body, None, self.config.retry_for)


def _thrown(steps: Steps[None]) -> Steps[None]:
    """Go on with an operation whose caller has stopped to iterate; items that it still emits are dropped."""
    try:
        step = steps.throw(Stopped())
        while True:
            try:
                value = None if isinstance(step, (Emit, Emits)) else (yield step)
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(value)
    except StopIteration:
        return


async def anext_of(stream: AsyncIterator[bytes]) -> bytes:
    """Return the next piece of a stream, none at its end."""
    try:
        return await stream.__anext__()
    except StopAsyncIteration:
        return b""


async def _close(opened: list[httpx.Response]) -> None:
    with anyio.CancelScope(shield=True):
        for response in opened:
            await response.aclose()
