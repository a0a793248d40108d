"""Inspect AI's self-check of a sandbox, with its own provider for E2B (PyPI inspect-sandboxes) at Kaa's E2B dialect."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from e2b import AsyncSandbox, Sandbox
from inspect_ai.util._sandbox.self_check import *  # noqa: F403

pytest.importorskip("inspect_sandboxes", reason="inspect-sandboxes needs Python 3.12")
from inspect_sandboxes.e2b._single_env import E2BSingleServiceEnvironment  # noqa: E402

# What the provider does not do: it has commands run by a shell, and all done by root, to whom nothing is refused.
PROVIDER = {
    "test_exec_as_nonexistent_user": "the SDK words the refusal as one of the key",
    "test_exec_large_command": "a line for a shell of Linux has 128 KiB at most",
    "test_exec_permission_error": "the exit code 126 is no PermissionError",
    "test_exec_timeout_not_raised_on_fast_signal_death": "E2B's exit code of a program that a signal ended is -1",
    "test_read_file_not_allowed": "no refusal is a PermissionError",
    "test_write_binary_file_without_permissions": "no refusal is a PermissionError",
    "test_write_text_file_without_permissions": "no refusal is a PermissionError",
}
KAA = {
    "test_exec_as_user": "a session has one user, who is not root and adds none",
    "test_read_file_is_directory": "the files of a sandbox are below /home/user and /tmp, and this is /etc",
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    box = Sandbox.create(timeout=1800)
    yield box
    box.kill()


@pytest.fixture
async def sandbox_env(sandbox: Sandbox, request: pytest.FixtureRequest) -> E2BSingleServiceEnvironment:
    if reason := (PROVIDER | KAA).get(request.node.originalname):
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    # Each test has an event loop, and a client belongs to one.
    return E2BSingleServiceEnvironment(await AsyncSandbox.connect(sandbox.sandbox_id))
