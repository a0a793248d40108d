"""The SDK of OpenSandbox against a Kaa at KAA_URL: sandboxes, code, commands and files."""

import os
from datetime import timedelta

import pytest
from code_interpreter import CodeInterpreterSync
from opensandbox import SandboxSync
from opensandbox.config import ConnectionConfigSync
from opensandbox.exceptions import SandboxApiException
from opensandbox.models.execd import RunCommandOpts
from opensandbox.models.filesystem import SearchEntry, WriteEntry
from opensandbox.models.sandboxes import SandboxImageSpec

CONFIG = ConnectionConfigSync(
    domain=os.environ.get("KAA_URL", "http://127.0.0.1:8080") + "/opensandbox",
    api_key=os.environ.get("KAA_API_KEY", "any"),
    request_timeout=timedelta(minutes=5),
)


@pytest.fixture(scope="module")
def sandbox():
    made = SandboxSync.create(
        SandboxImageSpec("opensandbox/code-interpreter:latest"),
        entrypoint=["/opt/code-interpreter/code-interpreter.sh"],
        connection_config=CONFIG,
        ready_timeout=CONFIG.request_timeout,
        timeout=timedelta(hours=1),
        metadata={"tag": "smoke"},
        env={"NAME": "value"},
    )
    yield made
    made.kill()
    made.close()


def test_life(sandbox):
    info = sandbox.get_info()
    assert info.status.state == "Running"
    assert info.metadata["tag"] == "smoke"
    assert sandbox.is_healthy()
    assert sandbox.get_metrics().memory_total_in_mib > 0
    before = info.expires_at
    sandbox.renew(timedelta(hours=2))
    assert sandbox.get_info().expires_at > before
    other = SandboxSync.connect(sandbox.id, connection_config=CONFIG, connect_timeout=CONFIG.request_timeout)
    assert other.commands.run("echo ok").logs.stdout[0].text == "ok"
    other.close()


def test_code(sandbox):
    interpreter = CodeInterpreterSync.create(sandbox=sandbox)
    context = interpreter.codes.create_context("python")
    ran = interpreter.codes.run("import math\nx = 2\nprint('out')\nx + 2", context=context)
    assert ran.error is None
    assert ran.logs.stdout[0].text == "out\n"
    assert ran.result[0].text == "4"
    assert interpreter.codes.run("x", context=context).result[0].text == "2"
    failed = interpreter.codes.run("1/0", context=context)
    assert failed.error.name == "ZeroDivisionError"
    assert interpreter.codes.get_context(context.id).language == "python"
    interpreter.codes.delete_context(context.id)
    assert context.id not in [c.id for c in interpreter.codes.list_contexts("python")]
    with pytest.raises(SandboxApiException):
        interpreter.codes.run("1", language="java")


def test_commands(sandbox):
    ran = sandbox.commands.run("echo $NAME; echo err >&2; exit 3")
    assert ran.exit_code == 3
    assert [m.text for m in ran.logs.stdout] == ["value"]
    assert [m.text for m in ran.logs.stderr] == ["err"]
    background = sandbox.commands.run("echo bg; sleep 600", opts=RunCommandOpts(background=True))
    assert sandbox.commands.get_command_status(background.id).running
    while "bg\n" not in sandbox.commands.get_background_command_logs(background.id).content:
        assert sandbox.commands.get_command_status(background.id).running
    sandbox.commands.interrupt(background.id)
    status = sandbox.commands.get_command_status(background.id)
    while status.running:
        status = sandbox.commands.get_command_status(background.id)
    assert status.exit_code != 0


def test_files(sandbox):
    files = sandbox.files
    files.write_files([WriteEntry(path="/tmp/smoke/a.txt", data="one\ntwo\n", mode=644), WriteEntry(path="/tmp/smoke/b", data=b"\x00\xff")])
    assert files.read_file("/tmp/smoke/a.txt") == "one\ntwo\n"
    assert files.read_bytes("/tmp/smoke/b") == b"\x00\xff"
    assert files.read_file("/tmp/smoke/a.txt", offset=2, limit=1) == "two\n"
    assert files.get_file_info(["/tmp/smoke/a.txt"])["/tmp/smoke/a.txt"].mode == 644
    assert [e.path for e in files.search(SearchEntry(path="/tmp/smoke", pattern="*.txt"))] == ["/tmp/smoke/a.txt"]
    files.delete_files(["/tmp/smoke/b"])
    with pytest.raises(SandboxApiException):
        files.read_file("/tmp/smoke/b")


def test_gone():
    made = SandboxSync.create(SandboxImageSpec("python"), connection_config=CONFIG, ready_timeout=CONFIG.request_timeout, timeout=timedelta(hours=1))
    made.kill()
    with pytest.raises(SandboxApiException) as failure:
        made.get_info()
    assert failure.value.status_code == 404
    made.close()
