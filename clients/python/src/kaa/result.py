"""Results of executions."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from . import _show
from .errors import ExecutionError

if TYPE_CHECKING:
    from .files import AsyncResultFiles, ResultFiles

R = TypeVar("R", bound="BaseResult")


@dataclass(frozen=True)
class ErrorInfo:
    """The exception that ended the code, or the reason for the end of its interpreter."""

    name: str
    value: str
    traceback: str

    def __str__(self) -> str:
        return self.traceback.rstrip() or f"{self.name}: {self.value}"


class Value:
    """A value that the code showed: that of its last expression (`main`), an argument of `display`, or a figure.

    `data` has its forms by MIME type. docs/api/results.md describes them.
    """

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw
        self.main = bool(raw.get("main"))
        self.data: Mapping[str, Any] = raw.get("data") or {}

    @property
    def text(self) -> str:
        return str(self.data.get("text/plain", ""))

    @property
    def html(self) -> str | None:
        return self.data.get("text/html")

    @property
    def markdown(self) -> str | None:
        return self.data.get("text/markdown")

    @property
    def latex(self) -> str | None:
        return self.data.get("text/latex")

    @property
    def svg(self) -> str | None:
        return self.data.get("image/svg+xml")

    @property
    def png(self) -> bytes | None:
        return self._bytes("image/png")

    @property
    def jpeg(self) -> bytes | None:
        return self._bytes("image/jpeg")

    @property
    def json(self) -> Any:
        """The form `application/json`: of a frame or a series its columns as lists."""
        return self.data.get("application/json")

    @property
    def chart(self) -> dict[str, Any] | None:
        """The data of a figure of matplotlib."""
        return self.data.get("application/vnd.kaa.chart+json")

    def frame(self) -> Any:
        """Return a table as a frame of pandas, which has to be installed here."""
        import pandas

        if not isinstance(self.json, dict):
            raise ValueError("this value is no table")
        return pandas.DataFrame(self.json)

    def _bytes(self, type: str) -> bytes | None:
        text = self.data.get(type)
        return None if text is None else base64.b64decode(text)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": self.text, "text/html": _show.value(self.data)}

    def __repr__(self) -> str:
        return f"<Value {', '.join(self.data)}: {_show.short(self.text)}>"


class BaseResult:
    """The result of an execution. That the code failed is in here and no error; `raise_for_error` makes it one.

    `raw` has it as JSON. docs/api/results.md describes its fields.
    """

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw

    @property
    def status(self) -> str:
        """`ok`, `error`, `interrupted` or `exit`."""
        return str(self.raw["status"])

    @property
    def ok(self) -> bool:
        """Whether the code ran to its end, or ended with exit code 0."""
        return self.status == "ok" or (self.status == "exit" and self.exit_code == 0)

    @property
    def stdout(self) -> str:
        return str(self.raw.get("stdout", ""))

    @property
    def stderr(self) -> str:
        return str(self.raw.get("stderr", ""))

    @property
    def exit_code(self) -> int | None:
        return self.raw.get("exitCode")

    @property
    def signal(self) -> str | None:
        """The name of the signal that ended a command."""
        return self.raw.get("signal")

    @property
    def error(self) -> ErrorInfo | None:
        error = self.raw.get("error")
        return ErrorInfo(error.get("name", ""), error.get("value", ""), error.get("traceback") or "") if error else None

    @property
    def values(self) -> list[Value]:
        """Everything that the code showed, in that order."""
        return [Value(raw) for raw in self.raw.get("results") or ()]

    @property
    def value(self) -> Value | None:
        """The value of the last expression."""
        return next((value for value in reversed(self.values) if value.main), None)

    @property
    def text(self) -> str:
        """The value of the last expression as a text; the standard output if there is none."""
        value = self.value
        return value.text if value else self.stdout.rstrip("\n")

    @property
    def png(self) -> bytes | None:
        """The last picture that the code showed."""
        pictures = self.pngs
        return pictures[-1] if pictures else None

    @property
    def pngs(self) -> list[bytes]:
        """All pictures that the code showed."""
        return [value.png for value in self.values if value.png]

    @property
    def cases(self) -> list[dict[str, Any]]:
        """The verdicts of a program with cases."""
        return list(self.raw.get("cases") or ())

    @property
    def notices(self) -> list[dict[str, Any]]:
        """Everything that is missing or was changed."""
        return list(self.raw.get("notices") or ())

    @property
    def job_id(self) -> str:
        return str(self.raw.get("jobId", ""))

    @property
    def duration(self) -> float:
        """Seconds that the code ran."""
        return float(self.raw.get("durationMs", 0)) / 1000

    @property
    def index(self) -> int | None:
        """The number of the program, of a result of `map`."""
        return self.raw.get("index")

    def raise_for_error(self: R) -> R:
        """Raise an ExecutionError unless the code is `ok`; return the result."""
        if not self.ok:
            raise ExecutionError(self)
        return self

    def __str__(self) -> str:
        return _show.plain(self.raw)

    def __repr__(self) -> str:
        text = (self.error and f"{self.error.name}: {self.error.value}") or self.text
        return f"<{type(self).__name__} {self.status} {self.duration * 1000:.1f} ms: {_show.short(text)}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": _show.html(self.raw)}


class Result(BaseResult):
    __doc__ = BaseResult.__doc__

    def __init__(self, raw: Mapping[str, Any], files: ResultFiles) -> None:
        super().__init__(raw)
        self.files = files


class AsyncResult(BaseResult):
    __doc__ = BaseResult.__doc__

    def __init__(self, raw: Mapping[str, Any], files: AsyncResultFiles) -> None:
        super().__init__(raw)
        self.files = files
