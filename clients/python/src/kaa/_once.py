"""Things that are awaited, or entered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, Generic, Protocol, TypeVar


class _Entered(Protocol):
    async def __aenter__(self) -> Any: ...

    async def __aexit__(self, kind: Any, value: Any, traceback: Any) -> Any: ...


T = TypeVar("T", bound=_Entered)


class Once(Generic[T]):
    """The thing that `make` makes: `await` returns it, `async with` makes and enters it."""

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self._make = make
        self._made: T | None = None

    def __await__(self) -> Generator[Any, None, T]:
        return self._make().__await__()

    async def __aenter__(self) -> T:
        self._made = await self._make()
        await self._made.__aenter__()
        return self._made

    async def __aexit__(self, kind: Any, value: Any, traceback: Any) -> Any:
        if self._made is not None:
            return await self._made.__aexit__(kind, value, traceback)
        return None
