"""The wheel, and a Kaa that the package starts."""

import email
import os
import zipfile
from pathlib import Path

import pytest

import kaa

PACKAGE = Path(__file__).parent.parent


def test_wheel(tmp_path, monkeypatch):
    from hatchling.build import build_wheel

    monkeypatch.chdir(PACKAGE)
    wheel = zipfile.ZipFile(tmp_path / build_wheel(str(tmp_path)))
    names = wheel.namelist()
    info = f"kaa_run-{kaa.__version__}.dist-info"
    assert {"kaa/__init__.py", "kaa/py.typed", f"{info}/METADATA"} <= set(names)
    metadata = email.message_from_bytes(wheel.read(f"{info}/METADATA"))
    needed = [requirement for requirement in metadata.get_all("Requires-Dist") if "extra ==" not in requirement]
    assert metadata["Name"] == "kaa-run" and needed == ["httpx<1,>=0.25"]
    entries = wheel.read(f"{info}/entry_points.txt")
    assert b"kaa = kaa.pytest_plugin" in entries and b"kaa = kaa.inspect" in entries


def test_local(monkeypatch):
    monkeypatch.delenv("KAA_URL")
    with kaa.local(binary=os.environ["KAA_BIN"], python=os.environ.get("KAA_PYTHON"), start_timeout=600) as client:
        assert client.run("6 * 7").text == "42"
        url = client.url
    with kaa.Kaa(url, "") as gone, pytest.raises(kaa.NotReachable):
        gone.run("1")


def test_local_that_does_not_start():
    with pytest.raises(kaa.StartFailed, match="PATH"):
        kaa.local(binary="no-such-kaa")
    with pytest.raises(kaa.StartFailed, match="KAA_CONCURRENCY"):
        kaa.local(binary=os.environ["KAA_BIN"], env={"KAA_CONCURRENCY": "many"})
