"""Common parts of sessions and contexts: they execute code whose variables stay."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

from . import _execution, jobs
from ._drivers import AsyncDriver, Driver
from ._execution import Listeners
from ._tools import Functions, Tools
from .events import Event
from .files import AsyncResultFiles, ResultFiles
from .jobs import AsyncJob, Job
from .options import RunOptions, SubmitOptions, body_of
from .result import AsyncResult, Result

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Interpreter:
    """A live interpreter."""

    _driver: Driver

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
        """Execute code and wait for its end. The functions get output and events as they come."""
        listeners = Listeners(on_stdout, on_stderr, on_event, Tools(functions))
        raw = self._driver.run(_execution.execute(self._body(code, options), listeners))
        result = Result(raw, ResultFiles(self._driver, raw))
        return result.raise_for_error() if check else result

    def stream(self, code: str, **options: Unpack[RunOptions]) -> Iterator[Event]:
        """Execute code and return its events as they come. Closing the iterator interrupts the code."""
        return self._driver.iterate(_execution.stream(self._body(code, options)))

    def submit(self, code: str, *, idempotency_key: str | None = None, **options: Unpack[SubmitOptions]) -> Job:
        """Execute code in its turn, without waiting for it."""
        return Job(self._driver, self._driver.run(jobs.submit(self._body(code, options), idempotency_key)))

    def _place(self) -> dict[str, str]:
        """Return the fields of a request that name the interpreter."""
        raise NotImplementedError

    def _body(self, code: str, options: Any) -> dict[str, Any]:
        return {"code": code, **body_of(options), **self._place()}


class AsyncInterpreter:
    """A live interpreter."""

    _driver: AsyncDriver

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
        """Execute code and wait for its end. The functions get output and events as they come."""
        listeners = Listeners(on_stdout, on_stderr, on_event, Tools(functions))
        raw = await self._driver.run(_execution.execute(self._body(code, options), listeners))
        result = AsyncResult(raw, AsyncResultFiles(self._driver, raw))
        return result.raise_for_error() if check else result

    def stream(self, code: str, **options: Unpack[RunOptions]) -> AsyncIterator[Event]:
        """Execute code and return its events as they come. Closing the iterator interrupts the code."""
        return self._driver.iterate(_execution.stream(self._body(code, options)))

    async def submit(self, code: str, *, idempotency_key: str | None = None, **options: Unpack[SubmitOptions]) -> AsyncJob:
        """Execute code in its turn, without waiting for it."""
        return AsyncJob(self._driver, await self._driver.run(jobs.submit(self._body(code, options), idempotency_key)))

    def _place(self) -> dict[str, str]:
        """Return the fields of a request that name the interpreter."""
        raise NotImplementedError

    def _body(self, code: str, options: Any) -> dict[str, Any]:
        return {"code": code, **body_of(options), **self._place()}
