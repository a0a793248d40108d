"""Fixtures for pytest: a Kaa for the whole run, and a session for one test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from .client import Kaa
from .local import local
from .session import Session


@pytest.fixture(scope="session")
def kaa_client() -> Iterator[Kaa]:
    """A client of the Kaa at `KAA_URL`; without this variable, of one that is started from `kaa` on the PATH."""
    with Kaa() if os.environ.get("KAA_URL") else local() as client:
        yield client


@pytest.fixture
def kaa_session(kaa_client: Kaa) -> Iterator[Session]:
    """A session that ends with the test."""
    with kaa_client.session() as session:
        yield session
