"""Lists that come in pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._steps import Request, Steps, send


def every(path: str, member: str, params: Mapping[str, Any] | None = None) -> Steps[list[dict[str, Any]]]:
    """Return the entries of all pages of a list."""
    found: list[dict[str, Any]] = []
    asked = dict(params or {})
    while True:
        answer = yield from send(Request("GET", path, params=asked, repeatable=True))
        page = answer.json()
        found += page[member] or []
        if not page.get("nextCursor"):
            return found
        asked["cursor"] = page["nextCursor"]
