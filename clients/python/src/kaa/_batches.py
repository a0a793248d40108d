"""Many programs: batches of them, a few ahead of the caller."""

from __future__ import annotations

import json
import uuid
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

from ._steps import ATTEMPTS, Call, Emits, Read, Request, Sleep, Steps, at, backoff, send
from .errors import ConnectionLost, InvalidRequest, KaaError, ServerError, failure_of
from .events import Lines
from .options import program_of

Make = Callable[[int, Mapping[str, Any]], Any]

_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass
class Window:
    """How far the programs that were sent are ahead of the results that were taken."""

    size: int = 1000  # programs in a batch
    batches: int = 4
    bytes: int = 4 << 20  # in a batch
    seconds: float = 0.2  # for which a batch waits for programs that come slowly

    @classmethod
    def of(cls, ahead: int) -> Window:
        """Return the window of so many programs."""
        if ahead < 1:
            raise ValueError("ahead is the number of programs that may be sent before their results are taken: 1 or more")
        batches = min(4, ahead)
        return cls(size=ahead // batches, batches=batches)


class Draft:
    """The lines of a batch that is being drawn."""

    def __init__(self, window: Window) -> None:
        self.lines: list[bytes] = []
        self._window = window
        self._bytes = 0
        self._until = monotonic() + window.seconds

    def add(self, program: Any) -> bool:
        """Take a program. True: the batch is full, or has waited long enough."""
        line = _encode(program_of(program)).encode()
        self.lines.append(line)
        self._bytes += len(line)
        return len(self.lines) >= self._window.size or self._bytes >= self._window.bytes or monotonic() > self._until


# Fills a draft, and returns whether there may be more programs. It may be a coroutine function.
Draw = Callable[[Draft], Any]


def drawing(programs: Iterable[Any]) -> Draw:
    """Return a function that draws from programs."""
    there = iter(programs)

    def draw(draft: Draft) -> bool:
        return any(draft.add(program) for program in there)

    return draw


def drawing_async(programs: Iterable[Any] | AsyncIterable[Any]) -> Draw:
    """Return a function that draws from programs which may have to be awaited."""
    if not isinstance(programs, AsyncIterable):
        return drawing(programs)
    coming = programs.__aiter__()

    async def draw(draft: Draft) -> bool:
        async for program in coming:
            if draft.add(program):
                return True
        return False

    return draw


@dataclass
class Batch:
    """A batch under way. first is the number of its first program."""

    name: str
    first: int
    id: str = ""
    cursor: str = ""


def run(draw: Draw, common: Mapping[str, Any], ordered: bool, make: Make, window: Window) -> Steps[None]:
    """Emit what make returns for the result of each program, in the order of the programs or, within a batch, of their ends.

    At most `window.batches` batches are under way: the next programs are drawn when the results of one were taken.
    """
    under_way: deque[Batch] = deque()
    drawn, more = 0, True
    try:
        while True:
            while more and len(under_way) < window.batches:
                draft = Draft(window)
                more = yield Call(draw, (draft,))
                if draft.lines:
                    batch = Batch(f"map {uuid.uuid4()}", drawn)
                    under_way.append(batch)
                    drawn += len(draft.lines)
                    yield from _submit(batch, common, draft.lines)
            if not under_way:
                return
            yield from _results(under_way[0], ordered, make)
            under_way.popleft()
    except BaseException:
        with suppress(KaaError):
            yield from _cancel(under_way)
        raise


def _submit(batch: Batch, common: Mapping[str, Any], lines: list[bytes]) -> Steps[None]:
    head = json.dumps({"batch": {"name": batch.name, "badLines": "skip", "defaults": common}}).encode()
    content = b"\n".join([head, *lines, b""])
    headers = {"Idempotency-Key": batch.name, "Content-Type": "application/x-ndjson"}
    answer = yield from send(Request("POST", "/v1/batches", content=content, headers=headers, repeatable=True, read=300))
    batch.id = str(answer.json()["id"])


def _results(batch: Batch, ordered: bool, make: Make) -> Steps[None]:
    broken = 0
    while True:
        before = batch.cursor
        try:
            if (yield from _read(batch, ordered, make)):
                return
        except ConnectionLost:
            broken = broken + 1 if batch.cursor == before else 1
            if broken > ATTEMPTS:
                raise
            yield Sleep(backoff(broken))


def _read(batch: Batch, ordered: bool, make: Make) -> Steps[bool]:
    """Read one stream of results. True: these were all."""
    params = {"follow": "true", "order": "submission" if ordered else "completion"}
    if batch.cursor:
        params["cursor"] = batch.cursor
    answer = yield from send(Request("GET", at("batches", batch.id, "results"), params=params, stream=True, repeatable=True))
    lines = Lines()
    while True:
        piece = yield Read(answer.stream)
        if not piece:
            raise ConnectionLost("the stream of results broke off")
        items: list[Any] = []
        try:
            whole = _take(batch, lines.feed(piece), make, items)
        finally:
            if items:
                yield Emits(items)
        if whole:
            return True


def _take(batch: Batch, lines: list[bytes], make: Make, items: list[Any]) -> bool:
    """Add what make returns for each line to items. True: the last line of all results is among them."""
    for line in lines:
        if not line.strip():
            continue
        record = json.loads(line)
        if "index" in record:
            items.append(make(batch.first + record["index"], record))
            batch.cursor = record.get("cursor", batch.cursor)
        elif record.get("end") == "all":
            return True
        elif "end" in record:
            batch.cursor = record.get("cursor", batch.cursor)
            if record.get("code") in ("gone", "not_found"):
                raise ServerError(0, record)
            raise ConnectionLost(f"the stream of results ended: {record.get('detail') or record['end']}")
    return False


def _cancel(under_way: deque[Batch]) -> Steps[None]:
    """Cancel batches. One whose submission broke off is found by its name."""
    unknown = {batch.name for batch in under_way if not batch.id}
    ids = [batch.id for batch in under_way if batch.id]
    if unknown:
        answer = yield from send(Request("GET", "/v1/batches", read=10))
        ids += [record["id"] for record in answer.json()["batches"] if record.get("name") in unknown]
    for id in ids:
        with suppress(KaaError):
            yield from send(Request("DELETE", at("batches", id), read=10))


def raw_result(index: int, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of a line; raise if it has none."""
    if record.get("state") == "refused":
        raise InvalidRequest(400, {"code": "invalid_request", "detail": f"program {index}: {record.get('error')}"})
    if record.get("expired"):
        raise ServerError(410, {"code": "gone", "detail": f"the result of program {index} has expired; ask for a longer result_ttl"})
    if not record.get("result"):
        raise failure_of({**record, "id": record.get("jobId", "")})
    return {**record["result"], "jobId": record.get("jobId", ""), "index": index}
