"""langchain-tests' standard tests of a sandbox, through an adapter for deepagents."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from deepagents.backends.protocol import ExecuteResponse, FileDownloadResponse, FileUploadResponse
from deepagents.backends.sandbox import BaseSandbox
from langchain_tests.integration_tests import SandboxIntegrationTests

from kaa_client import Refused, Session

ERRORS = {
    "file_not_found": "file_not_found",
    "file_access_denied": "permission_denied",
    "is_a_directory": "is_directory",
    "not_a_directory": "invalid_path",
}


class KaaSandbox(BaseSandbox):
    def __init__(self) -> None:
        self.session = Session()

    @property
    def id(self) -> str:
        return self.session.path

    def execute(self, command: str, *, timeout: int | None = None) -> ExecuteResponse:
        result = self.session.run(command, **({"timeout": timeout} if timeout else {}))
        return ExecuteResponse(result["stdout"] + result["stderr"], result.get("exitCode"), "truncated" in result)

    def upload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        return [FileUploadResponse(path, self.tried(path, lambda p=path, c=content: self.session.write(p, c))[1]) for path, content in files]

    def download_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        return [FileDownloadResponse(path, *self.tried(path, lambda p=path: self.session.read(p))) for path in paths]

    def tried(self, path, do):
        if not path.startswith("/"):
            return None, "invalid_path"
        try:
            return do(), None
        except Refused as problem:
            return None, ERRORS.get(problem.code, problem.code)


class TestKaa(SandboxIntegrationTests):
    @pytest.fixture(scope="class")
    def sandbox(self) -> Iterator[KaaSandbox]:
        backend = KaaSandbox()
        yield backend
        backend.session.close()
