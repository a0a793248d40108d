"""Notebooks, executed by nbclient in Kaa: they show what they show with ipykernel, apart from the differences of the page."""

import notebooks
import pytest


@pytest.mark.parametrize("name", notebooks.SHORT)
def test_notebook(name, monkeypatch):
    notebooks.compare(name, monkeypatch)


def test_differences():
    """The list of the page is that of the notebooks."""
    used = {c.metadata["kaa"]["differs"] for name in notebooks.NAMES for c in notebooks.load(name).cells if "kaa" in c.metadata}
    assert sorted(notebooks.differences()) == sorted(used)
