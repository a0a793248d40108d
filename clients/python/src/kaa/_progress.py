"""The progress of `map`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from time import monotonic
from typing import Any


class Progress:
    """Counts results, and shows their number on standard error or passes it to a function of the caller."""

    def __init__(self, show: Callable[[int, int | None], Any] | None, total: int | None) -> None:
        self._show = show
        self._total = total
        self._done = 0

    @classmethod
    def of(cls, progress: bool | Callable[[int, int | None], Any], programs: Any) -> Progress:
        try:
            total: int | None = len(programs)
        except TypeError:  # an iterator
            total = None
        if callable(progress):
            return cls(progress, total)
        return cls(_Line() if progress else None, total)

    def step(self) -> None:
        self._done += 1
        if self._show:
            self._show(self._done, self._total)

    def around(self, items: Iterator[Any]) -> Iterator[Any]:
        """Return the items; the line ends with them."""
        return self._around(items) if isinstance(self._show, _Line) else items

    def around_async(self, items: AsyncIterator[Any]) -> AsyncIterator[Any]:
        return self._around_async(items) if isinstance(self._show, _Line) else items

    def _around(self, items: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from items
        finally:
            self._end()

    async def _around_async(self, items: AsyncIterator[Any]) -> AsyncIterator[Any]:
        try:
            async for item in items:
                yield item
        finally:
            await items.aclose()  # type: ignore[attr-defined]
            self._end()

    def _end(self) -> None:
        if isinstance(self._show, _Line):
            self._show.end(self._done, self._total)


class _Line:
    """A line on standard error: rewritten some times a second on a terminal, and once at the end elsewhere."""

    def __init__(self) -> None:
        self._since = self._last = monotonic()
        self._terminal = sys.stderr.isatty()

    def __call__(self, done: int, total: int | None) -> None:
        now = monotonic()
        if self._terminal and now - self._last > 0.1:
            self._last = now
            sys.stderr.write("\r" + self._text(done, total, now))
            sys.stderr.flush()

    def end(self, done: int, total: int | None) -> None:
        sys.stderr.write(("\r" if self._terminal else "") + self._text(done, total, monotonic()) + "\n")

    def _text(self, done: int, total: int | None, now: float) -> str:
        rate = done / max(now - self._since, 1e-9)
        of = f" of {total:,}" if total is not None else ""
        return f"{done:,}{of} programs, {rate:,.0f} a second"
