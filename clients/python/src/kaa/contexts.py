"""Contexts: further interpreters in a session, among the same files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._drivers import AsyncDriver, Driver
from ._steps import Request, Steps, at, send
from .errors import Gone, NotFound
from .interpreters import AsyncInterpreter, Interpreter


def path_of(session: str, *more: str) -> str:
    return at("sessions", session, "contexts", *more)


def create(session: str, cwd: str | None) -> Steps[dict[str, Any]]:
    answer = yield from send(Request("POST", path_of(session), json={} if cwd is None else {"cwd": cwd}))
    return dict(answer.json())


def listing(session: str) -> Steps[list[dict[str, Any]]]:
    answer = yield from send(Request("GET", path_of(session), repeatable=True))
    return list(answer.json()["contexts"])


def tell(session: str, context: str, what: str) -> Steps[dict[str, Any]]:
    answer = yield from send(Request("POST", path_of(session, context, what), json={}, read=150.0))
    return dict(answer.json())


def end(session: str, context: str) -> Steps[None]:
    """End a context. One that has ended already, or whose session has, is no error."""
    try:
        yield from send(Request("DELETE", path_of(session, context)))
    except (Gone, NotFound):
        pass


class _Named:
    """The names of a context and of its session."""

    def __init__(self, session: str, record: Mapping[str, Any]) -> None:
        self._session = session
        self.record = dict(record)

    @property
    def id(self) -> str:
        """The id. That of the session's own interpreter is `default`."""
        return str(self.record["id"])

    def _place(self) -> dict[str, str]:
        return {"sessionId": self._session, "contextId": self.id}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} of {self._session}>"


class Context(_Named, Interpreter):
    """An interpreter in a session, with variables of its own. `with` ends it."""

    def __init__(self, driver: Driver, session: str, record: Mapping[str, Any]) -> None:
        super().__init__(session, record)
        self._driver = driver

    def interrupt(self) -> bool:
        """Interrupt what the context executes. False: it executes nothing."""
        return bool(self._driver.run(tell(self._session, self.id, "interrupt"))["interrupted"])

    def restart(self) -> None:
        """Give the context a fresh interpreter."""
        self._driver.run(tell(self._session, self.id, "restart"))

    def close(self) -> None:
        """End the context."""
        self._driver.run(end(self._session, self.id))

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncContext(_Named, AsyncInterpreter):
    """An interpreter in a session, with variables of its own. `async with` ends it."""

    def __init__(self, driver: AsyncDriver, session: str, record: Mapping[str, Any]) -> None:
        super().__init__(session, record)
        self._driver = driver

    async def interrupt(self) -> bool:
        """Interrupt what the context executes. False: it executes nothing."""
        return bool((await self._driver.run(tell(self._session, self.id, "interrupt")))["interrupted"])

    async def restart(self) -> None:
        """Give the context a fresh interpreter."""
        await self._driver.run(tell(self._session, self.id, "restart"))

    async def close(self) -> None:
        """End the context."""
        await self._driver.run(end(self._session, self.id))

    async def __aenter__(self) -> AsyncContext:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
