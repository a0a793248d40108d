"""Commands and terminals in a session."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from . import _execution, jobs
from ._drivers import AsyncDriver, Driver
from ._execution import Listeners
from ._steps import Answer, Call, Emit, Request, Sleep, Steps, at, send
from .errors import Conflict, KaaError, problem_of
from .events import Event
from .files import AsyncResultFiles, ResultFiles
from .options import CommandOptions, body_of, command_of
from .result import AsyncResult, Result

if TYPE_CHECKING:
    from typing_extensions import Unpack


_INPUT = 256 << 10  # bytes of input that one call takes
_UNREAD = 0.01  # seconds until a command may have read some of its input


def path_of(session: str, *more: str) -> str:
    return at("sessions", session, "commands", *more)


def start(session: str, body: Mapping[str, Any]) -> Steps[dict[str, Any]]:
    answer = yield from send(Request("POST", path_of(session), json={**body, "background": True}))
    return dict(answer.json())


def running(session: str) -> Steps[list[dict[str, Any]]]:
    answer = yield from send(Request("GET", path_of(session)))
    return list(answer.json()["commands"])


def tell(session: str, command: str, what: str, body: Mapping[str, Any]) -> Steps[None]:
    yield from send(Request("POST", path_of(session, command, what), json=body))


def end(session: str, command: str) -> Steps[bool]:
    try:
        yield from send(Request("DELETE", path_of(session, command)))
    except Conflict:
        return False
    return True


def with_input(session: str, body: Mapping[str, Any], data: bytes, listeners: Listeners) -> Steps[dict[str, Any]]:
    """Run a command whose input is bytes, or more than one call takes. Listeners get its output at its end."""
    id = str((yield from start(session, body))["id"])
    try:
        yield from _feed(path_of(session, id, "input"), data)
        raw = jobs.raw_result((yield from jobs.wait(id, None)))
    except BaseException:
        with suppress(KaaError):
            yield from end(session, id)
        raise
    for listener, text in ((listeners.stdout, raw.get("stdout")), (listeners.stderr, raw.get("stderr"))):
        if listener and text:
            yield Call(listener, (text,))
    return raw


def _feed(path: str, data: bytes) -> Steps[None]:
    """Give a command its input. One that ends before it has read all needs no more."""
    parts = [data[place : place + _INPUT] for place in range(0, len(data), _INPUT)] or [b""]
    for number, part in enumerate(parts):
        body = data_of(part, last=number == len(parts) - 1)
        while True:
            answer: Answer = yield Request("POST", path, json=body)
            if answer.status < 400:
                break
            problem = problem_of(answer.status, answer.headers, answer.body)
            if problem.code == "command_ended":
                return
            if problem.code != "input_full":
                raise problem
            yield Sleep(_UNREAD)


def run(session: str, command: str | Sequence[str], options: Mapping[str, Any], listeners: Listeners) -> Steps[dict[str, Any]]:
    """Run a command, and return its result as JSON has it."""
    stdin = options.get("stdin")
    body = {**command_of(command), **body_of({name: value for name, value in options.items() if name != "stdin"})}
    data = stdin.encode("utf-8", "surrogateescape") if isinstance(stdin, str) and len(stdin) > _INPUT // 4 else stdin
    if isinstance(data, bytes):
        return (yield from with_input(session, body, data, listeners))
    if stdin is not None:
        body["stdin"] = stdin
    return (yield from _execution.execute(body, listeners, path_of(session)))


def data_of(data: str | bytes, last: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"data": data} if isinstance(data, str) else {"dataBase64": base64.b64encode(data).decode()}
    return {**body, "end": True} if last else body


def output(session: str, command: str) -> Steps[None]:
    """Emit the pieces of the output of a command, until it has ended."""

    def sink(event: Event) -> Steps[None]:
        if event.type == "stream":
            yield Emit(event.text)

    request = _execution.events_of(command)
    request.path = path_of(session, command, "events")
    yield from _execution.follow(request, sink, job=command)


class Command:
    """A command in the background."""

    def __init__(self, driver: Driver, session: str, record: Mapping[str, Any]) -> None:
        self._driver = driver
        self._session = session
        self.id = str(record["id"])
        self.pid: int | None = record.get("pid")

    def wait(self, timeout: float | None = None) -> Result:
        """Wait for its end, and return its result."""
        raw = jobs.raw_result(self._driver.run(jobs.wait(self.id, timeout)))
        return Result(raw, ResultFiles(self._driver, raw))

    def output(self) -> Iterator[str]:
        """Return the pieces of its output, from its beginning to its end."""
        return self._driver.iterate(output(self._session, self.id))

    def send(self, data: str | bytes, end: bool = False) -> None:
        """Write to its standard input; with `end` nothing follows."""
        self._driver.run(tell(self._session, self.id, "input", data_of(data, end)))

    def signal(self, name: str) -> None:
        """Send a signal, such as `INT`, to its process group."""
        self._driver.run(tell(self._session, self.id, "signal", {"signal": name}))

    def kill(self) -> bool:
        """End it and all processes that it has started. False: it has ended already."""
        return self._driver.run(end(self._session, self.id))

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} pid {self.pid}>"


class Terminal(Command):
    """A program with a terminal. Iterate over it for the pieces of its output."""

    def __init__(self, driver: Driver, session: str, record: Mapping[str, Any]) -> None:
        super().__init__(driver, session, record)
        self._pieces: Iterator[str] | None = None
        self._unread = ""

    def __iter__(self) -> Iterator[str]:
        if self._unread:
            piece, self._unread = self._unread, ""
            yield piece
        if self._pieces is None:
            self._pieces = self.output()
        for piece in self._pieces:  # `yield from` would close them with this iterator
            yield piece

    def read_until(self, text: str) -> str:
        """Return the output up to a text and with it, or all there is if the program ends before."""
        seen = ""
        for piece in self:
            seen += piece
            if text in seen:
                place = seen.index(text) + len(text)
                self._unread = seen[place:]
                return seen[:place]
        return seen

    def resize(self, columns: int, rows: int) -> None:
        self._driver.run(tell(self._session, self.id, "resize", {"columns": columns, "rows": rows}))

    def __enter__(self) -> Terminal:
        return self


class Commands:
    """Commands in a session, beside its code and among its files."""

    def __init__(self, driver: Driver, session: str) -> None:
        self._driver = driver
        self._session = session

    def run(
        self,
        command: str | Sequence[str],
        *,
        on_stdout: Callable[[str], Any] | None = None,
        on_stderr: Callable[[str], Any] | None = None,
        check: bool = False,
        **options: Unpack[CommandOptions],
    ) -> Result:
        """Run a line of a shell, or a program with its arguments, and wait for its end. `stdin` may also be bytes."""
        raw = self._driver.run(run(self._session, command, options, Listeners(on_stdout, on_stderr)))
        result = Result(raw, ResultFiles(self._driver, raw))
        return result.raise_for_error() if check else result

    def start(self, command: str | Sequence[str], **options: Unpack[CommandOptions]) -> Command:
        """Start a command in the background."""
        record = self._driver.run(start(self._session, {**command_of(command), **body_of(options)}))
        return Command(self._driver, self._session, record)

    def terminal(
        self, command: str | Sequence[str] = ("bash",), *, columns: int = 80, rows: int = 24, **options: Unpack[CommandOptions]
    ) -> Terminal:
        """Start a program with a terminal in the background."""
        body = {**command_of(command), **body_of(options), "terminal": {"columns": columns, "rows": rows}}
        return Terminal(self._driver, self._session, self._driver.run(start(self._session, body)))

    def list(self) -> Running:
        """Return the commands that wait or run."""
        return [Command(self._driver, self._session, record) for record in self._driver.run(running(self._session))]


Running = list[Command]


class AsyncCommand:
    """A command in the background."""

    def __init__(self, driver: AsyncDriver, session: str, record: Mapping[str, Any]) -> None:
        self._driver = driver
        self._session = session
        self.id = str(record["id"])
        self.pid: int | None = record.get("pid")

    async def wait(self, timeout: float | None = None) -> AsyncResult:
        """Wait for its end, and return its result."""
        raw = jobs.raw_result(await self._driver.run(jobs.wait(self.id, timeout)))
        return AsyncResult(raw, AsyncResultFiles(self._driver, raw))

    def output(self) -> AsyncIterator[str]:
        """Return the pieces of its output, from its beginning to its end."""
        return self._driver.iterate(output(self._session, self.id))

    async def send(self, data: str | bytes, end: bool = False) -> None:
        """Write to its standard input; with `end` nothing follows."""
        await self._driver.run(tell(self._session, self.id, "input", data_of(data, end)))

    async def signal(self, name: str) -> None:
        """Send a signal, such as `INT`, to its process group."""
        await self._driver.run(tell(self._session, self.id, "signal", {"signal": name}))

    async def kill(self) -> bool:
        """End it and all processes that it has started. False: it has ended already."""
        return await self._driver.run(end(self._session, self.id))

    async def __aenter__(self) -> AsyncCommand:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} pid {self.pid}>"


class AsyncTerminal(AsyncCommand):
    """A program with a terminal. Iterate over it for the pieces of its output."""

    def __init__(self, driver: AsyncDriver, session: str, record: Mapping[str, Any]) -> None:
        super().__init__(driver, session, record)
        self._pieces: AsyncIterator[str] | None = None
        self._unread = ""

    async def __aiter__(self) -> AsyncIterator[str]:
        if self._unread:
            piece, self._unread = self._unread, ""
            yield piece
        if self._pieces is None:
            self._pieces = self.output()
        async for piece in self._pieces:
            yield piece

    async def read_until(self, text: str) -> str:
        """Return the output up to a text and with it, or all there is if the program ends before."""
        seen = ""
        async for piece in self:
            seen += piece
            if text in seen:
                place = seen.index(text) + len(text)
                self._unread = seen[place:]
                return seen[:place]
        return seen

    async def resize(self, columns: int, rows: int) -> None:
        await self._driver.run(tell(self._session, self.id, "resize", {"columns": columns, "rows": rows}))

    async def __aenter__(self) -> AsyncTerminal:
        return self


class AsyncCommands:
    """Commands in a session, beside its code and among its files."""

    def __init__(self, driver: AsyncDriver, session: str) -> None:
        self._driver = driver
        self._session = session

    async def run(
        self,
        command: str | Sequence[str],
        *,
        on_stdout: Callable[[str], Any] | None = None,
        on_stderr: Callable[[str], Any] | None = None,
        check: bool = False,
        **options: Unpack[CommandOptions],
    ) -> AsyncResult:
        """Run a line of a shell, or a program with its arguments, and wait for its end. `stdin` may also be bytes."""
        raw = await self._driver.run(run(self._session, command, options, Listeners(on_stdout, on_stderr)))
        result = AsyncResult(raw, AsyncResultFiles(self._driver, raw))
        return result.raise_for_error() if check else result

    async def start(self, command: str | Sequence[str], **options: Unpack[CommandOptions]) -> AsyncCommand:
        """Start a command in the background."""
        record = await self._driver.run(start(self._session, {**command_of(command), **body_of(options)}))
        return AsyncCommand(self._driver, self._session, record)

    async def terminal(
        self, command: str | Sequence[str] = ("bash",), *, columns: int = 80, rows: int = 24, **options: Unpack[CommandOptions]
    ) -> AsyncTerminal:
        """Start a program with a terminal in the background."""
        body = {**command_of(command), **body_of(options), "terminal": {"columns": columns, "rows": rows}}
        return AsyncTerminal(self._driver, self._session, await self._driver.run(start(self._session, body)))

    async def list(self) -> AsyncRunning:
        """Return the commands that wait or run."""
        return [AsyncCommand(self._driver, self._session, record) for record in await self._driver.run(running(self._session))]


AsyncRunning = list[AsyncCommand]
