"""The errors that Kaa answers with, each as a class, and those of this package."""

from __future__ import annotations

import concurrent.futures
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .result import BaseResult


class KaaError(Exception):
    """The base of all errors of this package."""


class NotReachable(KaaError, ConnectionError):
    """No server accepts connections at the address."""


class ConnectionLost(KaaError, ConnectionError):
    """The connection broke, or the server did not answer in time. The request may have been carried out."""


class NotKaa(KaaError):
    """The server at the address does not answer as Kaa does."""


class JobTimeout(KaaError, concurrent.futures.TimeoutError):
    """A job has not ended in the time that the caller waits. The job goes on."""


class Unserializable(KaaError, TypeError):
    """An argument or a value of a function has no form that can be sent."""


class FileTooLarge(KaaError):
    """A file has more bytes than the caller wants."""


class ExecutionError(KaaError):
    """Code has failed: `raise_for_error` was called for a result that is not `ok`."""

    def __init__(self, result: BaseResult) -> None:
        self.result = result
        error = result.error
        self.name = error.name if error else ""
        self.value = error.value if error else ""
        self.traceback = error.traceback if error else ""
        if error is None:
            text = f"the program exited with code {result.exit_code}" + (f"\n{result.stderr.rstrip()}" if result.stderr else "")
        else:
            text = self.traceback.rstrip() or f"{self.name}: {self.value}"
        super().__init__(text)


class Problem(KaaError):
    """An answer of Kaa that refuses a request. `code` is stable; `detail` is for people.

    docs/api/problems.md lists the codes. `fields` has all members of the document.
    """

    def __init__(self, status: int, fields: Mapping[str, Any], retry_after: float | None = None, request_id: str = "") -> None:
        self.status = status
        self.code = str(fields.get("code", ""))
        self.detail = str(fields.get("detail", ""))
        self.errors: list[dict[str, str]] = list(fields.get("errors") or [])
        self.reason = str(fields.get("reason", ""))
        self.job_id = str(fields.get("jobId", ""))
        self.retry_after = retry_after
        self.request_id = request_id
        self.fields = dict(fields)
        super().__init__(f"{self.code}: {self.detail}" if self.code else self.detail)


class InvalidRequest(Problem):
    """The request is wrong (400). `errors` names the fields."""


class Unauthorized(Problem):
    """There is no key, or it is not accepted (401)."""


class Forbidden(Problem):
    """The key may not do this (403)."""


class NotFound(Problem, LookupError):
    """There is nothing of this id or path (404)."""


class Conflict(Problem):
    """The state of the job, session or file does not allow this (409)."""


class Gone(Problem):
    """It was there, and is not any more (410)."""


class SessionEnded(Gone):
    """The session has ended; `reason` says why."""


class TooLarge(Problem):
    """The body or the file is too large (413)."""


class LimitReached(Problem):
    """A limit of the key or of the process is reached (429). `retry_after` is in seconds."""


class Unavailable(Problem):
    """Kaa cannot do this now (503). `retry_after` is in seconds."""


class ServerError(Problem):
    """An error in Kaa (500), or the loss of a runner (502)."""


class ExecutionLost(ServerError):
    """The runner of the execution was lost or shut down. The code may have run in part."""


class JobFailed(Problem):
    """Kaa could not carry out a job; `code` and `detail` say why."""


class JobCancelled(JobFailed, concurrent.futures.CancelledError):
    """The job was cancelled before its code had started."""


_BY_CODE: dict[str, type[Problem]] = {
    "session_ended": SessionEnded,
    "runner_lost": ExecutionLost,
    "drained": ExecutionLost,
    "worker_failed": ExecutionLost,
    "cancelled": JobCancelled,
}
_BY_STATUS: dict[int, type[Problem]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    429: LimitReached,
    503: Unavailable,
}


def problem_of(status: int, headers: Mapping[str, str], body: bytes) -> Problem:
    """Return the error of an answer of 4xx or 5xx."""
    try:
        fields = json.loads(body)
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or "code" not in fields:
        text = body[:200].decode("utf-8", "replace").strip()
        fields = {"code": "", "detail": f"the answer is {status}, and no problem of Kaa; is this the address of a Kaa? It begins with {text!r}"}
    try:
        retry_after: float | None = max(0.0, float(headers["retry-after"]))
    except (KeyError, ValueError):
        retry_after = None
    kind = _BY_CODE.get(str(fields["code"])) or _BY_STATUS.get(status) or (ServerError if status >= 500 else Problem)
    return kind(status, fields, retry_after, headers.get("x-request-id", ""))


def failure_of(job: Mapping[str, Any]) -> Problem:
    """Return the error of a job that ended without a result."""
    failure = dict(job.get("failure") or {})
    fields = {**failure, "detail": failure.get("message", "the job ended without a result"), "jobId": job.get("id") or job.get("jobId", "")}
    code = str(failure.get("code", ""))
    if code in ("session_ended", "runner_lost", "drained", "worker_failed"):
        return _BY_CODE[code](0, fields)
    return (JobCancelled if job.get("state") == "cancelled" else JobFailed)(0, fields)


def ended(data: Mapping[str, Any]) -> Problem:
    """Return the error of a stream that the server has ended: `reason` is the code of a problem."""
    code = str(data.get("reason", ""))
    return (_BY_CODE.get(code) or ServerError)(0, {"code": code, "detail": str(data.get("message", ""))})
