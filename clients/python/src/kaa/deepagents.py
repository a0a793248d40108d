"""A sandbox of deepagents: `create_deep_agent(model, backend=kaa.deepagents.KaaSandbox(session))`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deepagents.backends.protocol import ExecuteResponse, FileDownloadResponse, FileUploadResponse
from deepagents.backends.sandbox import BaseSandbox

from .errors import Problem
from .session import Session

_ERRORS = {
    "file_not_found": "file_not_found",
    "file_access_denied": "permission_denied",
    "is_a_directory": "is_directory",
    "not_a_directory": "invalid_path",
}


class KaaSandbox(BaseSandbox):
    """A session as the sandbox of an agent. The session is the caller's, who ends it.

    `timeout` is for commands that have none of their own.
    """

    def __init__(self, session: Session, *, timeout: float | None = None) -> None:
        self._session = session
        self._timeout = timeout

    @property
    def id(self) -> str:
        """The id of the session."""
        return self._session.id

    def execute(self, command: str, *, timeout: int | None = None) -> ExecuteResponse:
        """Run a line of a shell."""
        result = self._session.commands.run(command, timeout=timeout or self._timeout)
        output = result.stdout + result.stderr
        if result.error:
            output += f"[{result.error.name}: {result.error.value}]"
        return ExecuteResponse(output, result.exit_code, "truncated" in result.raw)

    def upload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        """Write files by their absolute paths."""
        return [FileUploadResponse(path, _tried(path, self._session.files.write, path, content)[1]) for path, content in files]

    def download_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        """Read files by their absolute paths."""
        return [FileDownloadResponse(path, *_tried(path, self._session.files.read, path)) for path in paths]


def _tried(path: str, do: Callable[..., Any], *args: Any) -> tuple[Any, Any]:
    """Return what there is, and the error as deepagents names it."""
    if not path.startswith("/"):
        return None, "invalid_path"
    try:
        return do(*args), None
    except Problem as problem:
        if problem.code not in _ERRORS:
            raise
        return None, _ERRORS[problem.code]
