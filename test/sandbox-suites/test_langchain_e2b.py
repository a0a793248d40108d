"""langchain-tests' standard tests of a sandbox, with LangChain's own backend for E2B (PyPI langchain-e2b) at Kaa's E2B dialect."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from e2b import Sandbox
from langchain_e2b import E2BSandbox
from langchain_tests.integration_tests import SandboxIntegrationTests


class TestE2B(SandboxIntegrationTests):
    @pytest.fixture(scope="class")
    def sandbox(self) -> Iterator[E2BSandbox]:
        box = Sandbox.create(timeout=1800)
        yield E2BSandbox(sandbox=box)
        box.kill()
