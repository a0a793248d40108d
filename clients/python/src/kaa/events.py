"""Events of jobs, and the formats in which streams bring them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from .errors import NotKaa

FINAL = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True)
class Event:
    """Something that a job did. docs/api/events.md lists the types and the fields of `data`."""

    type: str
    data: dict[str, Any] = field(repr=False)
    id: str = ""

    @property
    def text(self) -> str:
        """The text of a piece of output, or of a value."""
        if self.type == "stream":
            return str(self.data.get("text", ""))
        return str((self.data.get("data") or {}).get("text/plain", ""))

    @property
    def stream(self) -> str:
        """`stdout` or `stderr`, of a piece of output."""
        return str(self.data.get("stream", ""))

    @property
    def state(self) -> str:
        """The state of the job, of a `status`."""
        return str(self.data.get("state", ""))

    @property
    def final(self) -> bool:
        """Whether it is the last one."""
        return self.type == "status" and self.state in FINAL

    @property
    def broken(self) -> bool:
        """Whether the stream ends here, but not the job."""
        return self.type == "error" and "resumable" in self.data

    def __repr__(self) -> str:
        fields = {key: value for key, value in self.data.items() if key != "type"}
        return f"Event({self.type!r}, {fields!r})"


class Lines:
    """Takes bytes apart into lines. Only a line feed ends one, as other line ends may be within a JSON text."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        lines = (self._rest + piece).split(b"\n") if b"\n" in piece else None
        if lines is None:
            self._rest += piece
            return []
        self._rest = lines.pop()
        return lines


class Events:
    """Takes bytes apart into server-sent events."""

    def __init__(self) -> None:
        self._lines = Lines()
        self._id = ""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[Event]:
        events = []
        for line in self._lines.feed(piece):
            line = line.rstrip(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].lstrip(b" "))
            elif line.startswith(b"id:"):
                self._id = line[3:].strip().decode()
            elif not line and self._data:
                events.append(self._event())
        return events

    def _event(self) -> Event:
        text, id = b"\n".join(self._data), self._id
        self._data, self._id = [], ""
        try:
            data = json.loads(text)
            return Event(str(data["type"]), data, id)
        except (ValueError, TypeError, KeyError):
            raise NotKaa(f"an event is none of Kaa's; it begins with {text[:100]!r}") from None
