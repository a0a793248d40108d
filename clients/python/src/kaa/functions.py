"""A decorator for functions that run on Kaa."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from . import _source
from .client import Kaa, default
from .errors import Unserializable
from .jobs import Job
from .options import SubmitOptions
from .result import BaseResult

if TYPE_CHECKING:
    from typing_extensions import ParamSpec, Unpack

    P = ParamSpec("P")
else:  # there is none in Python 3.9
    P = TypeVar("P")
R = TypeVar("R")


class Pending(Generic[R]):
    """The value of a function that runs as a job."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def result(self, timeout: float | None = None) -> R:
        """Wait for the value. An exception of the function is an ExecutionError."""
        return value_of(self.job.result(timeout))  # type: ignore[no-any-return]

    def done(self) -> bool:
        return self.job.done()

    def cancel(self) -> bool:
        return self.job.cancel()


class Function(Generic[P, R]):
    """A function that runs on Kaa. `local` is the function itself.

    Its source is sent, with the modules, constants and functions that it names. Arguments and values are JSON, so a tuple
    becomes a list; a value may also be bytes. Values are never unpickled.
    """

    def __init__(self, function: Callable[P, R], options: Mapping[str, Any], client: Kaa | None) -> None:
        self.local = function
        self.__wrapped_function__ = function
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self._client = client
        self._options = options
        self._made = ""

    @property
    def code(self) -> str:
        """The program that is sent."""
        self._made = self._made or _source.program_of(self.local)
        return self._made

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function on Kaa and wait for its value."""
        client = self._client or default()
        return value_of(client.run(self.code, stdin=_arguments(self.__name__, args, kwargs), **self._options))  # type: ignore[no-any-return]

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Pending[R]:
        """Call the function as a job."""
        client = self._client or default()
        return Pending(client.submit(self.code, stdin=_arguments(self.__name__, args, kwargs), **self._options))

    def map(self, items: Iterable[Any], *, ordered: bool = True, progress: bool = False, ahead: int = 4000) -> Iterator[R]:
        """Call the function with each of the items, many at a time, and return the values as they come."""
        client = self._client or default()
        programs = _Sized(({"stdin": _arguments(self.__name__, (item,), {})} for item in items), items)
        for result in client.map(programs, ordered=ordered, progress=progress, ahead=ahead, code=self.code, **self._options):  # type: ignore[call-overload]
            yield value_of(result)

    def __repr__(self) -> str:
        return f"<kaa.function {self.__name__}>"


class _Sized:
    """Items that are made as they are drawn, with the length of those that they are made of."""

    def __init__(self, items: Iterator[Any], source: Any) -> None:
        self._items = items
        self._source = source

    def __iter__(self) -> Iterator[Any]:
        return self._items

    def __len__(self) -> int:
        return len(self._source)


@overload
def function(function: Callable[P, R], /) -> Function[P, R]: ...


@overload
def function(*, client: Kaa | None = None, **options: Unpack[SubmitOptions]) -> Callable[[Callable[P, R]], Function[P, R]]: ...


def function(function: Any = None, /, *, client: Kaa | None = None, **options: Unpack[SubmitOptions]) -> Any:
    """Have a function run on Kaa: `@kaa.function`, or `@kaa.function(timeout=5)` with the options of an execution."""
    if function is not None:
        return Function(function, {}, None)
    return lambda function: Function(function, options, client)


def _arguments(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    try:
        return json.dumps([args, kwargs])
    except (TypeError, ValueError) as error:
        raise Unserializable(f"the arguments of {name} are no JSON: {error}") from None


def value_of(result: BaseResult) -> Any:
    """Return the value that a program of a function has shown. Untrusted code made it: it is read as JSON only."""
    result.raise_for_error()
    shown = result.value
    form = shown.data.get(_source.VALUE) if shown else None
    try:
        if isinstance(form, dict) and "base64" in form:
            return base64.b64decode(form["base64"], validate=True)
        if isinstance(form, dict):
            return json.loads(form["json"])
    except (KeyError, TypeError, ValueError):
        form = None
    reason = "; ".join(notice["message"] for notice in result.notices) or "the program has shown none"
    raise ValueMissing(f"there is no value of the function: {reason}")


class ValueMissing(Unserializable):
    """The value of a function did not arrive, as it is too large, for example."""
