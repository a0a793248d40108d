"""The client with blocking calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import httpx

from . import _batches, _execution, _sessions, environments, jobs, schedules, volumes
from ._drivers import Config, Driver
from ._execution import Listeners
from ._progress import Progress
from ._steps import Request, send
from ._tools import Functions, Tools
from .environments import Environment
from .errors import KaaError
from .events import Event
from .files import ResultFiles
from .jobs import Job
from .options import RunOptions, SessionOptions, SubmitOptions, body_of, command_of
from .result import Result
from .schedules import Schedule, ScheduleOptions
from .session import Session
from .volumes import Volume

if TYPE_CHECKING:
    from typing_extensions import Unpack

class Kaa:
    """A connection to a Kaa. Threads may share one.

    Its address and key are the arguments, else `KAA_URL` and `KAA_API_KEY`. `retry_for` is for how many seconds in all a
    call that is answered with 429 or 503 waits to be sent again. `http` replaces the client of httpx.
    """

    def __init__(self, url: str | None = None, key: str | None = None, *, retry_for: float = 60.0, http: httpx.Client | None = None) -> None:
        self._driver = Driver(Config(url, key, retry_for), http)

    @property
    def url(self) -> str:
        return self._driver.config.url

    def run(
        self,
        code: str,
        *,
        on_stdout: Callable[[str], Any] | None = None,
        on_stderr: Callable[[str], Any] | None = None,
        on_event: Callable[[Event], Any] | None = None,
        functions: Functions = None,
        check: bool = False,
        **options: Unpack[RunOptions],
    ) -> Result:
        """Execute code in a fresh interpreter and wait for its end.

        `on_stdout`, `on_stderr` and `on_event` get output and events as they come. The code may call `functions`, which run
        here. `check` raises if the code fails. docs/api/execute.md describes the options.
        """
        listeners = Listeners(on_stdout, on_stderr, on_event, Tools(functions))
        return self._result(_execution.execute({"code": code, **body_of(options)}, listeners), check)

    def command(
        self,
        command: str | Sequence[str],
        *,
        on_stdout: Callable[[str], Any] | None = None,
        on_stderr: Callable[[str], Any] | None = None,
        check: bool = False,
        **options: Unpack[RunOptions],
    ) -> Result:
        """Run a line of a shell, or a program with its arguments, in a fresh sandbox."""
        body = {**command_of(command), **body_of(options)}
        return self._result(_execution.execute(body, Listeners(on_stdout, on_stderr)), check)

    def stream(self, code: str, **options: Unpack[RunOptions]) -> Iterator[Event]:
        """Execute code and return its events as they come. Closing the iterator interrupts the code."""
        return self._driver.iterate(_execution.stream({"code": code, **body_of(options)}))

    def submit(self, code: str, *, idempotency_key: str | None = None, **options: Unpack[SubmitOptions]) -> Job:
        """Submit a job, and do not wait for it. docs/api/jobs.md describes the options."""
        return Job(self._driver, self._driver.run(jobs.submit({"code": code, **body_of(options)}, idempotency_key)))

    def job(self, id: str) -> Job:
        """Return the job of an id."""
        return Job(self._driver, self._driver.run(jobs.look(id)))

    @overload
    def map(
        self,
        programs: Iterable[Any],
        *,
        ordered: bool = True,
        on_error: Literal["raise"] = "raise",
        progress: bool | Callable[[int, int | None], Any] = False,
        ahead: int = 4000,
        **options: Unpack[SubmitOptions],
    ) -> Iterator[Result]: ...

    @overload
    def map(
        self,
        programs: Iterable[Any],
        *,
        ordered: bool = True,
        on_error: Literal["yield"],
        progress: bool | Callable[[int, int | None], Any] = False,
        ahead: int = 4000,
        **options: Unpack[SubmitOptions],
    ) -> Iterator[Result | KaaError]: ...

    def map(
        self,
        programs: Iterable[Any],
        *,
        ordered: bool = True,
        on_error: Literal["raise", "yield"] = "raise",
        progress: bool | Callable[[int, int | None], Any] = False,
        ahead: int = 4000,
        **options: Unpack[SubmitOptions],
    ) -> Iterator[Any]:
        """Execute many programs at once and return their results as they come.

        A program is its source, or a mapping of options. At most `ahead` of them are sent before their results are taken,
        so neither programs nor results fill the memory. Without `ordered`, results come about as the programs end; their
        `index` is the number of the program. A program that Kaa could not execute raises, or its error is yielded. Closing
        the iterator cancels the rest.
        """
        shown = Progress.of(progress, programs)

        def make(index: int, record: Mapping[str, Any]) -> Result | KaaError:
            shown.step()
            try:
                raw = _batches.raw_result(index, record)
            except KaaError as error:
                if on_error == "raise":
                    raise
                return error
            return Result(raw, ResultFiles(self._driver, raw))

        steps = _batches.run(_batches.drawing(programs), body_of(options), ordered, make, _batches.Window.of(ahead))
        return shown.around(self._driver.iterate(steps))

    def session(self, *, name: str | None = None, **options: Unpack[SessionOptions]) -> Session:
        """Open a session; with a name, that of the name."""
        return Session(self, name=name, **options)

    def sessions(self, *, metadata: Mapping[str, str] | None = None) -> list[Session]:
        """Return the live sessions, or those with such metadata alone. `with` does not end one of them."""
        return [Session._of(self._driver, record, ends=False) for record in self._driver.run(_sessions.listing(metadata))]

    def prepare(self, packages: Sequence[str], *, preload: Sequence[str] | None = None, runtime: str | None = None) -> Environment:
        """Have packages installed ahead, so that the first execution that names them does not wait."""
        return Environment(self._driver, self._driver.run(environments.create(packages, preload, runtime)))

    def environment(self, id: str) -> Environment:
        """Return the environment of an id."""
        return Environment(self._driver, self._driver.run(environments.look(id)))

    def environments(self) -> list[Environment]:
        """Return the packages that this key has had installed ahead."""
        return [Environment(self._driver, record) for record in self._driver.run(environments.listing())]

    def volume(self, name: str) -> Volume:
        """Return the volume of a name."""
        return Volume(self._driver, self._driver.run(volumes.look(name)))

    def volumes(self) -> list[Volume]:
        """Return the volumes: files of sessions that were opened with `persist`."""
        return [Volume(self._driver, record) for record in self._driver.run(volumes.listing())]

    def create_schedule(self, code: str, cron: str, **options: Unpack[ScheduleOptions]) -> Schedule:
        """Make a job at each time of a cron line. docs/api/schedules.md describes the options."""
        return Schedule(self._driver, self._driver.run(schedules.create(schedules.body(code, cron, options))))

    def schedule(self, id: str) -> Schedule:
        """Return the schedule of an id."""
        return Schedule(self._driver, self._driver.run(schedules.look(id)))

    def schedules(self) -> list[Schedule]:
        """Return the schedules."""
        return [Schedule(self._driver, record) for record in self._driver.run(schedules.listing())]

    def runtimes(self) -> list[dict[str, Any]]:
        """Return the interpreters that `runtime` may name."""

        def steps() -> Any:
            answer = yield from send(Request("GET", "/v1/runtimes"))
            return answer.json()["runtimes"]

        return list(self._driver.run(steps()))

    def close(self) -> None:
        """Close the connections."""
        self._driver.close()

    def _result(self, steps: Any, check: bool) -> Result:
        raw = self._driver.run(steps)
        result = Result(raw, ResultFiles(self._driver, raw))
        return result.raise_for_error() if check else result

    def __enter__(self) -> Kaa:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Kaa {self.url}>"


_default: Kaa | None = None
_made_of: tuple[Any, ...] = ()


def default() -> Kaa:
    """Return the client of the functions of the package. It follows changes of the environment, and a fork makes a new one."""
    global _default, _made_of
    made_of = (os.getpid(), os.environ.get("KAA_URL"), os.environ.get("KAA_API_KEY"))
    if _default is None or _made_of != made_of:
        _default, _made_of = Kaa(), made_of
    return _default
