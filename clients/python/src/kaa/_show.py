"""How results look as a text and in a notebook.

Their HTML is made by untrusted code. A notebook would run its scripts with the rights of the reader, so all of it is
escaped or in a frame without origin: tables are built anew from their data, and pictures are images, which run nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_ROWS = 20


def short(text: str, size: int = 60) -> str:
    """Return a text for one line."""
    return repr(text if len(text) <= size else text[: size - 1] + "…")


def plain(raw: Mapping[str, Any]) -> str:
    """Return everything that a result shows, as a terminal has it."""
    parts = []
    for output in outputs(raw):
        if output["type"] in ("stdout", "stderr"):
            parts.append(output.get("text") or f"... [{output.get('dropped', 0)} bytes dropped] ...\n")
        elif output["type"] == "result":
            parts.append(str((output.get("data") or {}).get("text/plain", "")) + "\n")
        elif output["type"] == "error":
            parts.append(output.get("traceback") or f"{output.get('name')}: {output.get('value')}\n")
    for case in raw.get("cases") or ():
        parts.append(f"{case.get('name')}: {case.get('verdict')}\n")
    return "".join(parts).rstrip("\n")


def outputs(raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(raw.get("outputs") or ())


def html(raw: Mapping[str, Any]) -> str:
    """Return everything that a result shows, for a notebook."""
    parts = []
    for output in outputs(raw):
        if output["type"] == "result":
            parts.append(value(output.get("data") or {}))
            continue
        colour = "" if output["type"] == "stdout" else ' style="color:#b00020"'
        text = plain({"outputs": [output]})
        parts.append(f"<pre{colour}>{escape(text)}</pre>")
    return "".join(parts)


def value(data: Mapping[str, Any]) -> str:
    """Return a value for a notebook."""
    for type in ("image/png", "image/jpeg"):
        if isinstance(data.get(type), str):
            return _image(type, data[type])
    if isinstance(data.get("image/svg+xml"), str):
        return _image("image/svg+xml", base64.b64encode(data["image/svg+xml"].encode("utf-8", "replace")).decode())
    if "text/html" in data and _is_table(data.get("application/json")):
        return _table(data["application/json"])
    if isinstance(data.get("text/html"), str):
        page = escape(data["text/html"], quote=True)
        return f'<iframe sandbox="allow-scripts" style="border:0;width:100%;height:420px" srcdoc="{page}"></iframe>'
    return f"<pre>{escape(str(data.get('text/plain', '')))}</pre>"


def _image(type: str, text: str) -> str:
    return f'<img src="data:{type};base64,{escape(text, quote=True)}">'


def _is_table(data: Any) -> bool:
    return isinstance(data, dict) and bool(data) and all(isinstance(column, list) for column in data.values())


def _table(columns: Mapping[str, list[Any]]) -> str:
    size = max(len(column) for column in columns.values())
    rows: Iterator[tuple[Any, ...]] = zip(*(column[:_ROWS] for column in columns.values()))
    head = "".join(f"<th>{escape(str(name))}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape('' if cell is None else str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    more = f"<p>{size} rows, {_ROWS} of them shown</p>" if size > _ROWS else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"
