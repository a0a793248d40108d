"""ipykernel, beside Kaa: the notebooks of the dialect keep the outputs that it makes, and Kaa makes the same.

The kernel has the Python of Kaa's, and finds ipykernel in the environment of this test, after all else.
"""

import json
import os
import site
import sys
from pathlib import Path

import pytest

sys.path.insert(0, "test/dialects/jupyter")
import notebooks

BEGIN = "import sys; sys.path = [p for p in sys.path if p] + %r; from ipykernel import kernelapp; kernelapp.launch_new_instance()"


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    """The name of a kernel with ipykernel."""
    folder = tmp_path_factory.mktemp("jupyter")
    (folder / "kernels" / "beside").mkdir(parents=True)
    argv = [os.environ["KAA_LIBS_PYTHON"], "-c", BEGIN % site.getsitepackages(), "-f", "{connection_file}", "--HistoryManager.enabled=False"]
    spec = {"argv": argv, "display_name": "beside", "language": "python", "env": {"IPYTHONDIR": str(folder)}}
    (folder / "kernels" / "beside" / "kernel.json").write_text(json.dumps(spec))
    before = os.environ.get("JUPYTER_PATH")
    os.environ["JUPYTER_PATH"] = str(folder)
    yield "beside"
    os.environ.pop("JUPYTER_PATH") if before is None else os.environ.update(JUPYTER_PATH=before)


@pytest.mark.parametrize("name", notebooks.NAMES)
def test_beside(name, beside, tmp_path):
    Path(tmp_path, "widgets.zip").write_bytes(notebooks.widgets())
    book = notebooks.load(name)
    done = notebooks.execute(notebooks.load(name), kernel_name=beside, resources={"metadata": {"path": str(tmp_path)}})
    wrong = []
    for cell, now in zip(book.cells, done.cells):
        if notebooks.RECORD:
            cell.outputs, cell.execution_count = notebooks.trimmed(now.outputs), now.execution_count
        elif notebooks.seen(now) != notebooks.seen(cell):
            wrong.append(f"{cell.id}: {cell.source}\n     kept: {notebooks.seen(cell)}\n  instead: {notebooks.seen(now)}")
    if notebooks.RECORD:
        notebooks.write(name, book)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", [n for n in notebooks.NAMES if n not in notebooks.SHORT])
def test_notebook(name, monkeypatch):
    notebooks.compare(name, monkeypatch)
