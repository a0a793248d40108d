"""The client for asyncio and trio. It has the shape of `Kaa`."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import httpx

from . import _batches, _execution, _sessions, environments, jobs, schedules, volumes
from ._drivers import AsyncDriver, Config
from ._execution import Listeners
from ._progress import Progress
from ._steps import Request, send
from ._tools import Functions, Tools
from .async_session import AsyncSession
from .environments import AsyncEnvironment
from .errors import KaaError
from .events import Event
from .files import AsyncResultFiles
from .jobs import AsyncJob
from .options import RunOptions, SessionOptions, SubmitOptions, body_of, command_of
from .result import AsyncResult
from .schedules import AsyncSchedule, ScheduleOptions
from .volumes import AsyncVolume

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncKaa:
    """A connection to a Kaa: `async with AsyncKaa() as kaa`. It belongs to one event loop.

    The arguments are those of `Kaa`. A call that is cancelled cancels its execution.
    """

    def __init__(
        self, url: str | None = None, key: str | None = None, *, retry_for: float = 60.0, http: httpx.AsyncClient | None = None
    ) -> None:
        self._driver = AsyncDriver(Config(url, key, retry_for), http)

    @property
    def url(self) -> str:
        return self._driver.config.url

    async def run(
        self,
        code: str,
        *,
        on_stdout: Callable[[str], Any] | None = None,
        on_stderr: Callable[[str], Any] | None = None,
        on_event: Callable[[Event], Any] | None = None,
        functions: Functions = None,
        check: bool = False,
        **options: Unpack[RunOptions],
    ) -> AsyncResult:
        """Execute code in a fresh interpreter and wait for its end. Functions may be coroutine functions."""
        listeners = Listeners(on_stdout, on_stderr, on_event, Tools(functions))
        return await self._result(_execution.execute({"code": code, **body_of(options)}, listeners), check)

    async def command(
        self,
        command: str | Sequence[str],
        *,
        on_stdout: Callable[[str], Any] | None = None,
        on_stderr: Callable[[str], Any] | None = None,
        check: bool = False,
        **options: Unpack[RunOptions],
    ) -> AsyncResult:
        """Run a line of a shell, or a program with its arguments, in a fresh sandbox."""
        body = {**command_of(command), **body_of(options)}
        return await self._result(_execution.execute(body, Listeners(on_stdout, on_stderr)), check)

    def stream(self, code: str, **options: Unpack[RunOptions]) -> AsyncIterator[Event]:
        """Execute code and return its events as they come. Closing the iterator interrupts the code."""
        return self._driver.iterate(_execution.stream({"code": code, **body_of(options)}))

    async def submit(self, code: str, *, idempotency_key: str | None = None, **options: Unpack[SubmitOptions]) -> AsyncJob:
        """Submit a job, and do not wait for it."""
        return AsyncJob(self._driver, await self._driver.run(jobs.submit({"code": code, **body_of(options)}, idempotency_key)))

    async def job(self, id: str) -> AsyncJob:
        """Return the job of an id."""
        return AsyncJob(self._driver, await self._driver.run(jobs.look(id)))

    @overload
    def map(
        self,
        programs: Iterable[Any] | AsyncIterable[Any],
        *,
        ordered: bool = True,
        on_error: Literal["raise"] = "raise",
        progress: bool | Callable[[int, int | None], Any] = False,
        ahead: int = 4000,
        **options: Unpack[SubmitOptions],
    ) -> AsyncIterator[AsyncResult]: ...

    @overload
    def map(
        self,
        programs: Iterable[Any] | AsyncIterable[Any],
        *,
        ordered: bool = True,
        on_error: Literal["yield"],
        progress: bool | Callable[[int, int | None], Any] = False,
        ahead: int = 4000,
        **options: Unpack[SubmitOptions],
    ) -> AsyncIterator[AsyncResult | KaaError]: ...

    def map(
        self,
        programs: Iterable[Any] | AsyncIterable[Any],
        *,
        ordered: bool = True,
        on_error: Literal["raise", "yield"] = "raise",
        progress: bool | Callable[[int, int | None], Any] = False,
        ahead: int = 4000,
        **options: Unpack[SubmitOptions],
    ) -> AsyncIterator[Any]:
        """Execute many programs at once and return their results as they come, as `Kaa.map` does."""
        shown = Progress.of(progress, programs)

        def make(index: int, record: Mapping[str, Any]) -> AsyncResult | KaaError:
            shown.step()
            try:
                raw = _batches.raw_result(index, record)
            except KaaError as error:
                if on_error == "raise":
                    raise
                return error
            return AsyncResult(raw, AsyncResultFiles(self._driver, raw))

        steps = _batches.run(_batches.drawing_async(programs), body_of(options), ordered, make, _batches.Window.of(ahead))
        return shown.around_async(self._driver.iterate(steps))

    def session(self, *, name: str | None = None, **options: Unpack[SessionOptions]) -> AsyncSession:
        """Return a session to `await`, or to `async with`."""
        return AsyncSession(self, name=name, **options)

    async def sessions(self, *, metadata: Mapping[str, str] | None = None) -> list[AsyncSession]:
        """Return the live sessions, or those with such metadata alone. `async with` does not end one of them."""
        return [AsyncSession._of(self._driver, record, ends=False) for record in await self._driver.run(_sessions.listing(metadata))]

    async def prepare(self, packages: Sequence[str], *, preload: Sequence[str] | None = None, runtime: str | None = None) -> AsyncEnvironment:
        """Have packages installed ahead, so that the first execution that names them does not wait."""
        return AsyncEnvironment(self._driver, await self._driver.run(environments.create(packages, preload, runtime)))

    async def environment(self, id: str) -> AsyncEnvironment:
        """Return the environment of an id."""
        return AsyncEnvironment(self._driver, await self._driver.run(environments.look(id)))

    async def environments(self) -> list[AsyncEnvironment]:
        """Return the packages that this key has had installed ahead."""
        return [AsyncEnvironment(self._driver, record) for record in await self._driver.run(environments.listing())]

    async def volume(self, name: str) -> AsyncVolume:
        """Return the volume of a name."""
        return AsyncVolume(self._driver, await self._driver.run(volumes.look(name)))

    async def volumes(self) -> list[AsyncVolume]:
        """Return the volumes: files of sessions that were opened with `persist`."""
        return [AsyncVolume(self._driver, record) for record in await self._driver.run(volumes.listing())]

    async def create_schedule(self, code: str, cron: str, **options: Unpack[ScheduleOptions]) -> AsyncSchedule:
        """Make a job at each time of a cron line."""
        return AsyncSchedule(self._driver, await self._driver.run(schedules.create(schedules.body(code, cron, options))))

    async def schedule(self, id: str) -> AsyncSchedule:
        """Return the schedule of an id."""
        return AsyncSchedule(self._driver, await self._driver.run(schedules.look(id)))

    async def schedules(self) -> list[AsyncSchedule]:
        """Return the schedules."""
        return [AsyncSchedule(self._driver, record) for record in await self._driver.run(schedules.listing())]

    async def runtimes(self) -> list[dict[str, Any]]:
        """Return the interpreters that `runtime` may name."""

        def steps() -> Any:
            answer = yield from send(Request("GET", "/v1/runtimes"))
            return answer.json()["runtimes"]

        return list(await self._driver.run(steps()))

    async def close(self) -> None:
        """Close the connections."""
        await self._driver.close()

    async def _result(self, steps: Any, check: bool) -> AsyncResult:
        raw = await self._driver.run(steps)
        result = AsyncResult(raw, AsyncResultFiles(self._driver, raw))
        return result.raise_for_error() if check else result

    async def __aenter__(self) -> AsyncKaa:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncKaa {self.url}>"
