"""A sandbox of Inspect AI: `Task(…, sandbox="kaa")`, or `sandbox=("kaa", KaaConfig(…))`. Inspect finds it by an entry point."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Literal, TypeVar, overload

from inspect_ai.util import (
    ExecResult,
    OutputLimitExceededError,
    SandboxEnvironment,
    SandboxEnvironmentLimits,
    SandboxUserUnsupportedError,
    sandboxenv,
)
from pydantic import BaseModel, ConfigDict

from .async_client import AsyncKaa
from .async_session import AsyncSession
from .errors import FileTooLarge, Problem

T = TypeVar("T")

_ERRORS: dict[str, type[OSError]] = {
    "file_not_found": FileNotFoundError,
    "file_access_denied": PermissionError,
    "is_a_directory": IsADirectoryError,
}

_LABEL = "inspect"  # in the metadata of sessions: the task


class KaaConfig(BaseModel):
    """The sessions of an evaluation. The address and the key are those of `KAA_URL` and `KAA_API_KEY` unless they are here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str | None = None
    key: str | None = None
    runtime: str | None = None
    idle_timeout: float = 3600.0
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    output_bytes: int = 8 << 20  # of a command


@sandboxenv(name="kaa")
class KaaSandboxEnvironment(SandboxEnvironment):
    """A session for each sample."""

    def __init__(self, session: AsyncSession, client: AsyncKaa | None = None, output_bytes: int = 8 << 20) -> None:
        super().__init__()
        self.session = session
        self._client = client
        self._output_bytes = output_bytes

    @classmethod
    def config_deserialize(cls, config: dict[str, Any]) -> BaseModel:
        return KaaConfig(**config)

    @classmethod
    async def sample_init(cls, task_name: str, config: Any, metadata: dict[str, str]) -> dict[str, SandboxEnvironment]:
        if isinstance(config, str):
            raise ValueError(f"the configuration of a sandbox of Kaa is no file ({config}); write sandbox=(\"kaa\", KaaConfig(…))")
        config = config or KaaConfig()
        client = AsyncKaa(config.url, config.key)
        limits = {name: value for name, value in (("memory_bytes", config.memory_bytes), ("disk_bytes", config.disk_bytes)) if value}
        try:
            session = await client.session(
                runtime=config.runtime, idle_timeout=config.idle_timeout, limits=limits or None, metadata={_LABEL: task_name}
            )
        except BaseException:
            await client.close()
            raise
        return {"default": cls(session, client, config.output_bytes)}

    @classmethod
    async def sample_cleanup(cls, task_name: str, config: Any, environments: dict[str, SandboxEnvironment], interrupted: bool) -> None:
        for environment in environments.values():
            if isinstance(environment, KaaSandboxEnvironment):
                await environment.close()

    async def close(self) -> None:
        """End the session, and the client if it is this sandbox's own."""
        try:
            await self.session.close()
        finally:
            if self._client:
                await self._client.close()

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
        result = await self.session.commands.run(
            cmd, stdin=input, cwd=cwd, envs=env or None, timeout=timeout, limits={"output_bytes": self._output_bytes}
        )
        error = result.error
        if result.status == "interrupted":
            raise TimeoutError(error.value if error else "the command was interrupted")
        if error and error.name == "PermissionError":
            raise PermissionError(error.value)
        if "truncated" in result.raw:
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE_STR, result.stdout)
        return ExecResult(result.exit_code == 0, result.exit_code or 0, result.stdout, result.stderr)

    async def write_file(self, file: str, contents: str | bytes) -> None:
        await _tried(file, self.session.files.write(file, contents))

    @overload
    async def read_file(self, file: str, text: Literal[True] = True) -> str: ...

    @overload
    async def read_file(self, file: str, text: Literal[False]) -> bytes: ...

    async def read_file(self, file: str, text: bool = True) -> str | bytes:
        try:
            content = await _tried(file, self.session.files.read(file, most=SandboxEnvironmentLimits.MAX_READ_FILE_SIZE))
        except FileTooLarge:
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_READ_FILE_SIZE_STR, None) from None
        return content.decode() if text else content


async def _tried(file: str, doing: Awaitable[T]) -> T:
    """Raise the error that Inspect shows a model for a problem with a file."""
    try:
        return await doing
    except Problem as problem:
        if problem.code not in _ERRORS:
            raise
        raise _ERRORS[problem.code](f"{file}: {problem.detail}") from problem
