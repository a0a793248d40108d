"""The options of executions, jobs and sessions, and how they become the fields of a request.

They have the names of the API in snake case. docs/api/execute.md, docs/api/jobs.md and docs/api/sessions.md describe them.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path, PurePath
from typing import Any, TypedDict

# The content of a file: bytes, a text, a path of a file here, or an object with a method to_csv, such as a frame of pandas.
Content = Any


class RunOptions(TypedDict, total=False):
    """Options of an execution."""

    timeout: float | None
    envs: Mapping[str, str] | None
    stdin: str | None
    args: Sequence[str] | None
    runtime: str | None
    packages: Sequence[str] | None
    preload: Sequence[str] | None
    limits: Mapping[str, float] | None
    files: Mapping[str, Content] | None
    cwd: str | None
    figure_formats: Sequence[str] | None
    network: Mapping[str, Any] | None
    cases: Sequence[Mapping[str, Any]] | None
    case_timeout: float | None
    checker: Mapping[str, Any] | None
    stop_at_first_failure: bool | None


class SubmitOptions(RunOptions, total=False):
    """Options of a job."""

    queue: str | None
    delay: float | None
    run_at: datetime | str | None
    after: str | None
    max_attempts: int | None
    result_ttl: float | None
    metadata: Mapping[str, Any] | None
    webhook: Mapping[str, str] | None
    events: bool | None


class SessionOptions(TypedDict, total=False):
    """Options of a session."""

    runtime: str | None
    packages: Sequence[str] | None
    preload: Sequence[str] | None
    envs: Mapping[str, str] | None
    idle_timeout: float | None
    max_age: float | None
    ends_at: datetime | str | None
    ends_in: float | None
    workdir: str | None
    home: str | None
    persist: str | None
    on_memory_limit: str | None
    limits: Mapping[str, float] | None
    network: Mapping[str, Any] | None
    metadata: Mapping[str, Any] | None


class CommandOptions(TypedDict, total=False):
    """Options of a command in a session."""

    cwd: str | None
    envs: Mapping[str, str] | None
    stdin: str | bytes | None
    timeout: float | None
    limits: Mapping[str, float] | None
    result_ttl: float | None
    metadata: Mapping[str, Any] | None


# Members of these are names of the caller, and stay as they are.
_OPAQUE = frozenset({"envs", "metadata", "schema"})


def camel(name: str) -> str:
    """Return the name of a field of the API for one of Python."""
    if "_" not in name:
        return name
    first, *others = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in others)


def plain(value: Any) -> Any:
    """Return a value as JSON has it, with the names of the API."""
    if isinstance(value, Mapping):
        return {camel(str(key)): item if key in _OPAQUE else plain(item) for key, item in value.items()}
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def body_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a request. An option that is None is not given."""
    body = {}
    for name, value in options.items():
        if value is None:
            continue
        if name == "files":
            body["files"] = [file_of(path, content) for path, content in value.items()]
        elif name == "cases":
            body["cases"] = [body_of(case) for case in value]
        else:
            body[camel(name)] = value if name in _OPAQUE else plain(value)
    return body


def program_of(program: Any) -> dict[str, Any]:
    """Return the body of an execution: a program is its source, or a mapping of options with `code`, `command` or `argv`."""
    if isinstance(program, str):
        return {"code": program}
    if isinstance(program, Mapping):
        return body_of(program)
    raise TypeError(f"a program is its source, or a mapping with code, command or argv; this is {type(program).__name__}")


def command_of(command: str | Sequence[str]) -> dict[str, Any]:
    """Return the fields of a command: a line for the shell, or a program with its arguments."""
    return {"command": command} if isinstance(command, str) else {"argv": [str(part) for part in command]}


def content_of(path: str, content: Content) -> bytes | Path:
    """Return the content of a file: bytes, or the path of a file here, which is read when it is sent.

    The suffix of the path decides on the format of a frame.
    """
    if isinstance(content, (bytes, bytearray, memoryview)):
        return bytes(content)
    if isinstance(content, str):
        return content.encode("utf-8", "surrogateescape")
    if isinstance(content, os.PathLike):
        return Path(content)
    if hasattr(content, "to_csv"):
        return _frame(path, content)
    if hasattr(content, "read"):
        return content_of(path, content.read())
    raise TypeError(f"{path}: the content of a file is bytes, a text, a pathlib.Path or a frame; this is {type(content).__name__}")


def _frame(path: str, frame: Any) -> bytes:
    suffix = PurePath(path).suffix.lower()
    if suffix == ".parquet":
        return bytes(frame.to_parquet())
    if suffix == ".json":
        return str(frame.to_json(orient="records")).encode()
    text = frame.to_csv(index=False, sep="\t" if suffix == ".tsv" else ",")
    return str(text).encode()


def file_of(path: str, content: Content) -> dict[str, str]:
    """Return an entry of `files` of a request."""
    data = content_of(str(path), content)
    if isinstance(data, Path):
        data = data.read_bytes()
    try:
        return {"path": str(path), "content": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"path": str(path), "contentBase64": base64.b64encode(data).decode("ascii")}


def moment_of(text: str | None) -> datetime | None:
    """Return a moment as the API writes it. Python knows microseconds, and before 3.11 no `Z` and only some numbers of digits."""
    if not text:
        return None
    whole, _, rest = text.rstrip("Z").partition(".")
    moment = datetime.fromisoformat(whole).replace(tzinfo=timezone.utc)
    return moment + timedelta(microseconds=int(rest[:6].ljust(6, "0"))) if rest else moment


def reading(timeout: Any) -> float:
    """Return the seconds until the answer to an execution has to arrive: its own time, that in a queue, and some more."""
    if isinstance(timeout, timedelta):
        timeout = timeout.total_seconds()
    return (float(timeout) if isinstance(timeout, (int, float)) else 3600.0) + 60.0
