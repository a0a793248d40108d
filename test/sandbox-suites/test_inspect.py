"""Inspect AI's self-check of a sandbox, through `kaa.inspect`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from inspect_ai.util import SandboxUserUnsupportedError
from inspect_ai.util._sandbox.self_check import *  # noqa: F403

import kaa
from kaa.inspect import KaaSandboxEnvironment

# A session has one user, who is not root. This check adds another one.
OTHER_USERS = {"test_exec_as_user"}


@pytest.fixture(scope="module")
def session() -> Iterator[kaa.Session]:
    with kaa.Session() as session:
        yield session


@pytest.fixture
async def sandbox_env(session: kaa.Session, request: pytest.FixtureRequest) -> KaaSandboxEnvironment:
    if request.node.originalname in OTHER_USERS:
        request.applymarker(pytest.mark.xfail(reason="a session has one user", raises=SandboxUserUnsupportedError, strict=True))
    # Each test has an event loop, and a client belongs to one.
    return KaaSandboxEnvironment(await kaa.AsyncSession.attach(session.id))
