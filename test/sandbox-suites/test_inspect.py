"""Inspect AI's self-check of a sandbox, through an adapter."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import anyio.to_thread
import pytest
from inspect_ai.util import ExecResult, OutputLimitExceededError, SandboxEnvironment, SandboxEnvironmentLimits, SandboxUserUnsupportedError
from inspect_ai.util._sandbox.self_check import *  # noqa: F403

from kaa_client import Refused, Session, TooLarge, command_error

# A session has one user, who is not root. This check adds another one.
OTHER_USERS = {"test_exec_as_user"}

ERRORS = {"file_not_found": FileNotFoundError, "file_access_denied": PermissionError, "is_a_directory": IsADirectoryError}


class KaaEnvironment(SandboxEnvironment):
    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    @classmethod
    async def sample_cleanup(cls, *_: Any) -> None:
        pass

    async def exec(
        self,
        cmd: list[str],
        input: str | bytes | None = None,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        user: str | None = None,
        timeout: int | None = None,
        timeout_retry: bool = True,
        concurrency: bool = True,
    ) -> ExecResult[str]:
        if user is not None:
            raise SandboxUserUnsupportedError(f"a session of Kaa has one user; it has no {user!r}")
        options = {"cwd": cwd, "envs": env, "timeout": timeout}
        result = await anyio.to_thread.run_sync(partial(self.session.run, cmd, input, **{k: v for k, v in options.items() if v is not None}))
        if result["status"] == "interrupted":
            raise TimeoutError(result["error"]["value"])
        if command_error(result) == "PermissionError":
            raise PermissionError(result["error"]["value"])
        if "truncated" in result:
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE_STR, result["stdout"])
        return ExecResult(result["exitCode"] == 0, result["exitCode"], result["stdout"], result["stderr"])

    async def write_file(self, file: str, contents: str | bytes) -> None:
        await self.tried(file, self.session.write, file, contents.encode() if isinstance(contents, str) else contents)

    async def read_file(self, file: str, text: bool = True) -> Any:
        try:
            content = await self.tried(file, self.session.read, file, SandboxEnvironmentLimits.MAX_READ_FILE_SIZE)
        except TooLarge:
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_READ_FILE_SIZE_STR, None) from None
        return content.decode() if text else content

    async def tried(self, file: str, do: Any, *args: Any) -> Any:
        try:
            return await anyio.to_thread.run_sync(do, *args)
        except Refused as problem:
            raise ERRORS.get(problem.code, RuntimeError)(f"{file}: {problem}") from problem


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    session = Session()
    yield session
    session.close()


@pytest.fixture
def sandbox_env(session: Session, request: pytest.FixtureRequest) -> KaaEnvironment:
    if request.node.originalname in OTHER_USERS:
        request.applymarker(pytest.mark.xfail(reason="a session has one user", raises=SandboxUserUnsupportedError, strict=True))
    return KaaEnvironment(session)
