"""Sessions for asyncio and trio."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from . import _sessions, contexts
from ._drivers import AsyncDriver
from ._once import Once
from ._steps import at
from .commands import AsyncCommands, AsyncTerminal
from .contexts import AsyncContext
from .files import AsyncSessionFiles
from .interpreters import AsyncInterpreter
from .options import CommandOptions, SessionOptions, body_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Unpack

    from .async_client import AsyncKaa


class AsyncCheckpoint:
    """A kept state of a session. `async with` returns to it if the block raises."""

    def __init__(self, session: AsyncSession, id: str) -> None:
        self._session = session
        self.id = id

    async def rollback(self) -> None:
        """Return the session to this state."""
        await self._session._tell("rollback", {"checkpointId": self.id})

    async def __aenter__(self) -> AsyncCheckpoint:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            await self.rollback()


class AsyncSession(AsyncInterpreter):
    """A live interpreter: `async with AsyncSession() as s`, or `s = await AsyncSession()`.

    The end of the block ends it, unless it has a name or was attached to.
    """

    id: str
    record: dict[str, Any]
    files: AsyncSessionFiles
    commands: AsyncCommands

    def __init__(self, client: AsyncKaa | None = None, *, name: str | None = None, **options: Unpack[SessionOptions]) -> None:
        self._client = client
        self._own: AsyncKaa | None = None  # a client that ends with the session
        self._create = _sessions.create(body_of(options), name)
        self._ends = name is None

    async def _open(self) -> AsyncSession:
        if not hasattr(self, "id"):
            if self._client is None:
                self._client = self._own = _new()
            driver = self._client._driver
            self._begin(driver, await driver.run(self._create))
        return self

    def _begin(self, driver: AsyncDriver, record: dict[str, Any]) -> None:
        self._driver = driver
        self.record = record
        self.id = str(record["id"])
        self.files = AsyncSessionFiles(driver, self.id)
        self.commands = AsyncCommands(driver, self.id)

    @classmethod
    async def attach(cls, id: str, client: AsyncKaa | None = None) -> AsyncSession:
        """Return the session of an id. `async with` does not end it."""
        client = client or _new()
        session = cls._of(client._driver, await client._driver.run(_sessions.look(id)), ends=False)
        session._client = client
        return session

    @classmethod
    def _of(cls, driver: AsyncDriver, record: dict[str, Any], ends: bool) -> AsyncSession:
        session = cls.__new__(cls)
        session._ends = ends
        session._own = None
        session._begin(driver, record)
        return session

    async def interrupt(self) -> bool:
        """Interrupt the execution that runs. False: there is none."""
        return bool((await self._tell("interrupt"))["interrupted"])

    async def restart(self) -> None:
        """Give the session a fresh interpreter and an empty directory."""
        await self._tell("restart")

    async def add_packages(self, *packages: str) -> str:
        """Install packages of the index, such as `requests` or `pandas==2.2.3`. Variables stay. Return their directory in the session."""
        return str((await self._tell("packages", {"packages": list(packages)}))["path"])

    async def pause(self, *, max_pause: float | None = None, auto_resume: bool | None = None) -> None:
        """Stop all processes of the session."""
        self.record = await self._tell("pause", body_of({"max_pause": max_pause, "auto_resume": auto_resume}))

    async def resume(self) -> None:
        """Let the processes go on."""
        self.record = await self._tell("resume")

    async def fork(self, count: int = 1) -> list[AsyncSession]:
        """Return new sessions that begin as copies of this one."""
        return [self._of(self._driver, record, ends=True) for record in (await self._tell("fork", {"count": count}))["sessions"]]

    def checkpoint(self) -> Once[AsyncCheckpoint]:
        """Keep the present state: `await` it, or `async with` it."""

        async def make() -> AsyncCheckpoint:
            return AsyncCheckpoint(self, str((await self._tell("checkpoint"))["checkpointId"]))

        return Once(make)

    def context(self, *, cwd: str | None = None) -> Once[AsyncContext]:
        """Make a further interpreter in the session, with variables of its own and the same files: `await` it, or `async with` it."""

        async def make() -> AsyncContext:
            return AsyncContext(self._driver, self.id, await self._driver.run(contexts.create(self.id, cwd)))

        return Once(make)

    async def contexts(self) -> list[AsyncContext]:
        """Return the interpreters of the session. Its own is the first."""
        return [AsyncContext(self._driver, self.id, record) for record in await self._driver.run(contexts.listing(self.id))]

    def terminal(
        self, command: str | Sequence[str] = ("bash",), *, columns: int = 80, rows: int = 24, **options: Unpack[CommandOptions]
    ) -> Once[AsyncTerminal]:
        """Start a program with a terminal, bash by default: `await` it, or `async with` it."""
        return Once(lambda: self.commands.terminal(command, columns=columns, rows=rows, **options))

    async def url(self, port: int) -> str:
        """Return the address of a server that the code starts at a port of the session.

        Where Kaa has host names for ports, it is one for browsers, whose holder may call the server. Elsewhere calls to it need the key.
        """
        link = await self._driver.run(_sessions.port(self.id, port))
        return str(link.get("url") or self._driver.config.url + at("sessions", self.id, "ports", str(port)) + "/")

    async def change(self, **options: Unpack[SessionOptions]) -> None:
        """Change `idle_timeout`, `max_age`, `ends_at`, `ends_in` or `metadata`."""
        self.record = await self._driver.run(_sessions.change(self.id, body_of(options)))

    async def refresh(self) -> str:
        """Look the session up and return its state: `idle`, `busy`, `paused` or `ended`."""
        self.record = await self._driver.run(_sessions.look(self.id))
        return str(self.record["state"])

    async def close(self) -> None:
        """End the session."""
        try:
            await self._driver.run(_sessions.end(self.id))
        finally:
            if self._own:
                await self._own.close()

    def _place(self) -> dict[str, str]:
        return {"sessionId": self.id}

    async def _tell(self, what: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return await self._driver.run(_sessions.tell(self.id, what, body))

    def __await__(self) -> Generator[Any, None, AsyncSession]:
        return self._open().__await__()

    async def __aenter__(self) -> AsyncSession:
        return await self._open()

    async def __aexit__(self, *_: object) -> None:
        if self._ends:
            await self.close()
        elif self._own:
            await self._own.close()

    def __repr__(self) -> str:
        return f"<AsyncSession {getattr(self, 'id', 'that is not open')}>"


def _new() -> AsyncKaa:
    from .async_client import AsyncKaa

    return AsyncKaa()
