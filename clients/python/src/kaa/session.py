"""Sessions: interpreters whose variables and files stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _sessions, contexts
from ._drivers import Driver
from ._steps import at
from .commands import Commands, Terminal
from .contexts import Context
from .files import SessionFiles
from .interpreters import Interpreter
from .options import CommandOptions, SessionOptions, body_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Unpack

    from .client import Kaa


class Checkpoint:
    """A kept state of a session. `with` returns to it if the block raises."""

    def __init__(self, session: Session, id: str) -> None:
        self._session = session
        self.id = id

    def rollback(self) -> None:
        """Return the session to this state."""
        self._session._tell("rollback", {"checkpointId": self.id})

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.rollback()


class Session(Interpreter):
    """A live interpreter. `with` ends it, unless it has a name or was attached to.

    With `name` it is the session of that name, which is opened if there is none. docs/api/sessions.md describes the options.
    """

    def __init__(self, client: Kaa | None = None, *, name: str | None = None, **options: Unpack[SessionOptions]) -> None:
        driver = _driver(client)
        self._begin(driver, driver.run(_sessions.create(body_of(options), name)), ends=name is None)

    def _begin(self, driver: Driver, record: dict[str, Any], ends: bool) -> None:
        self._driver = driver
        self._ends = ends
        self.record = record
        self.id = str(record["id"])
        self.files = SessionFiles(driver, self.id)
        self.commands = Commands(driver, self.id)

    @classmethod
    def attach(cls, id: str, client: Kaa | None = None) -> Session:
        """Return the session of an id. `with` does not end it."""
        driver = _driver(client)
        return cls._of(driver, driver.run(_sessions.look(id)), ends=False)

    @classmethod
    def _of(cls, driver: Driver, record: dict[str, Any], ends: bool) -> Session:
        session = cls.__new__(cls)
        session._begin(driver, record, ends)
        return session

    def interrupt(self) -> bool:
        """Interrupt the execution that runs. False: there is none."""
        return bool(self._tell("interrupt")["interrupted"])

    def restart(self) -> None:
        """Give the session a fresh interpreter and an empty directory."""
        self._tell("restart")

    def add_packages(self, *packages: str) -> str:
        """Install packages of the index, such as `requests` or `pandas==2.2.3`. Variables stay. Return their directory in the session."""
        return str(self._tell("packages", {"packages": list(packages)})["path"])

    def pause(self, *, max_pause: float | None = None, auto_resume: bool | None = None) -> None:
        """Stop all processes of the session."""
        self.record = self._tell("pause", body_of({"max_pause": max_pause, "auto_resume": auto_resume}))

    def resume(self) -> None:
        """Let the processes go on."""
        self.record = self._tell("resume")

    def fork(self, count: int = 1) -> list[Session]:
        """Return new sessions that begin as copies of this one."""
        return [self._of(self._driver, record, ends=True) for record in self._tell("fork", {"count": count})["sessions"]]

    def checkpoint(self) -> Checkpoint:
        """Keep the present state."""
        return Checkpoint(self, str(self._tell("checkpoint")["checkpointId"]))

    def context(self, *, cwd: str | None = None) -> Context:
        """Make a further interpreter in the session, with variables of its own and the same files."""
        return Context(self._driver, self.id, self._driver.run(contexts.create(self.id, cwd)))

    def contexts(self) -> list[Context]:
        """Return the interpreters of the session. Its own is the first."""
        return [Context(self._driver, self.id, record) for record in self._driver.run(contexts.listing(self.id))]

    def terminal(self, command: str | Sequence[str] = ("bash",), *, columns: int = 80, rows: int = 24, **options: Unpack[CommandOptions]) -> Terminal:
        """Start a program with a terminal, bash by default."""
        return self.commands.terminal(command, columns=columns, rows=rows, **options)

    def url(self, port: int) -> str:
        """Return the address of a server that the code starts at a port of the session.

        Where Kaa has host names for ports, it is one for browsers, whose holder may call the server. Elsewhere calls to it need the key.
        """
        link = self._driver.run(_sessions.port(self.id, port))
        return str(link.get("url") or self._driver.config.url + at("sessions", self.id, "ports", str(port)) + "/")

    def change(self, **options: Unpack[SessionOptions]) -> None:
        """Change `idle_timeout`, `max_age`, `ends_at`, `ends_in` or `metadata`."""
        self.record = self._driver.run(_sessions.change(self.id, body_of(options)))

    def refresh(self) -> str:
        """Look the session up and return its state: `idle`, `busy`, `paused` or `ended`."""
        self.record = self._driver.run(_sessions.look(self.id))
        return str(self.record["state"])

    def close(self) -> None:
        """End the session."""
        self._driver.run(_sessions.end(self.id))

    def _place(self) -> dict[str, str]:
        return {"sessionId": self.id}

    def _tell(self, what: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._driver.run(_sessions.tell(self.id, what, body))

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        if self._ends:
            self.close()

    def __repr__(self) -> str:
        return f"<Session {self.id}>"


def _driver(client: Kaa | None) -> Driver:
    from .client import default

    return (client or default())._driver
