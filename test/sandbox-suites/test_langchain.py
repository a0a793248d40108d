"""langchain-tests' standard tests of a sandbox, through `kaa.deepagents`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from langchain_tests.integration_tests import SandboxIntegrationTests

import kaa
from kaa.deepagents import KaaSandbox


class TestKaa(SandboxIntegrationTests):
    @pytest.fixture(scope="class")
    def sandbox(self) -> Iterator[KaaSandbox]:
        with kaa.Session() as session:
            yield KaaSandbox(session)
