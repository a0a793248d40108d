"""The smoke of E2B's SDKs for Python. E2B_API_URL, E2B_SANDBOX_URL and E2B_API_KEY say where Kaa is."""

import asyncio
import os
import re
import subprocess
import time

import httpx
import pytest
from e2b import CommandExitException, FileNotFoundException, InvalidArgumentException, NotFoundException, SandboxException, SandboxQuery, SandboxState
from e2b_code_interpreter import AsyncSandbox, Sandbox

# The life of a sandbox, in seconds. A busy machine needs half a minute for one import.
LIFE = 1800


@pytest.fixture(scope="module")
def sandbox():
    made = Sandbox.create(timeout=LIFE, metadata={"of": "smoke"}, envs={"GIVEN": "1"})
    yield made
    made.kill()


def seen(watch, least):
    """The names in the next events, at least so many. On a busy machine they do not come together."""
    names = []
    while len(names) < least:
        names += [e.name for e in watch.get_new_events()]
    return names


def test_code(sandbox):
    run = sandbox.run_code("x = 41\nprint('é')\nx + 1")
    assert (run.text, run.logs.stdout, run.error) == ("42", ["é\n"], None)
    assert sandbox.run_code("x").text == "41"
    error = sandbox.run_code("1 / 0").error
    assert (error.name, error.value) == ("ZeroDivisionError", "division by zero") and "Traceback" in error.traceback
    assert sandbox.run_code("'text'").text == "text"
    assert sandbox.run_code("import os; os.environ['GIVEN'] + os.environ['MORE']", envs={"MORE": "2"}).text == "12"
    lines = []
    sandbox.run_code("print('one')", on_stdout=lambda m: lines.append(m.line))
    assert lines == ["one\n"]


def test_notebook(sandbox):
    assert sandbox.run_code("    !echo $HOME").logs.stdout == ["/home/user\n"]
    assert sandbox.run_code("%cd /tmp\nimport os\nos.getcwd()").text == "/tmp"


def test_contexts(sandbox):
    made = sandbox.create_code_context(cwd="/tmp")
    assert sandbox.run_code("import os; y = 1; os.getcwd()", context=made).text == "/tmp"
    assert sandbox.run_code("y").error.name == "NameError"
    assert made.id in [c.id for c in sandbox.list_code_contexts()]
    sandbox.restart_code_context(made)
    assert sandbox.run_code("y", context=made).error.name == "NameError"
    sandbox.remove_code_context(made)
    with pytest.raises(NotFoundException):
        sandbox.run_code("1", context=made)
    root = sandbox.create_code_context(cwd="/root")
    assert root.cwd == "/root" and sandbox.run_code("import os; os.getcwd()", context=root).text == "/home/user"
    sandbox.remove_code_context(root)


def test_bash(sandbox):
    made = sandbox.create_code_context(language="bash", cwd="/tmp")
    assert made.language == "bash" and (made.id, "bash") in [(c.id, c.language) for c in sandbox.list_code_contexts()]
    run = lambda script: sandbox.run_code(script, context=made)
    stdout = lambda script: "".join(run(script).logs.stdout)  # the messages of several writes are joined or not
    assert stdout("x='a b'\nf() { echo \"$1 $x\"; }\npwd; echo %s; echo !") == "/tmp\n%s\n!\n"
    assert run("f one; mkdir -p d; cd d; export y=é; exit 3").error.value.endswith("status 3.")
    assert stdout("pwd; f two; bash -c 'echo $y'; echo err >&2") == "/tmp/d\ntwo a b\né\n"
    assert run("if").error and run("echo $x").logs.stdout == ["a b\n"]
    assert sandbox.run_code("x=other; echo $x", language="bash").logs.stdout == ["other\n"]
    assert sandbox.run_code("echo $x", language="bash").logs.stdout == ["other\n"] and run("echo $x").logs.stdout == ["a b\n"]
    sandbox.restart_code_context(made)
    assert run("echo $x").logs.stdout == ["\n"]
    sandbox.remove_code_context(made)
    with pytest.raises(NotFoundException):
        run("echo")
    with pytest.raises(SandboxException, match="bash"):
        sandbox.create_code_context(language="r")


def test_crash():
    with Sandbox.create(timeout=LIFE) as made:
        made.files.write("f", "1")
        made.run_code("import os; os._exit(3)")
        assert made.run_code("open('f').read()").text == "1" and made.commands.run("cat f").stdout == "1"


def test_forms(sandbox):
    listed = sandbox.run_code("[1, {'a': (None, 'é')}]").results[0]
    assert (listed.text, listed.json) == ("[1, {'a': (None, 'é')}]", [1, {"a": [None, "é"]}])
    frame = sandbox.run_code("import pandas as pd\npd.DataFrame({'a': [1, 2]})").results[0]
    assert frame.data == {"a": [1, 2]} and "<table" in frame.html
    figure = sandbox.run_code("import matplotlib.pyplot as plt\nplt.plot([1, 2], [3, 4], label='one')\nplt.title('of')\nplt.show()").results[0]
    assert figure.png and figure.chart.title == "of" and figure.chart.elements[0].label == "one"
    assert [list(p) for p in figure.chart.elements[0].points] == [[1, 3], [2, 4]]


def test_files(sandbox):
    info = sandbox.files.write("dir/a.txt", "text")
    assert info.path == "/home/user/dir/a.txt"
    assert sandbox.files.read("dir/a.txt") == "text"
    entry = sandbox.files.get_info("dir/a.txt")
    assert (entry.size, entry.mode, entry.permissions, entry.owner) == (4, 0o644, "-rw-r--r--", "user")
    assert [e.name for e in sandbox.files.list("dir")] == ["a.txt"]
    assert not sandbox.files.make_dir("dir") and sandbox.files.make_dir("dir/sub")
    sandbox.files.rename("dir/a.txt", "dir/sub/b.txt")
    assert sandbox.files.exists("dir/sub/b.txt") and not sandbox.files.exists("dir/a.txt")
    sandbox.files.remove("dir")
    with pytest.raises(FileNotFoundException):
        sandbox.files.read("dir/sub/b.txt")


def test_metadata_of_files(sandbox):
    assert sandbox.files.write("meta/a.txt", "text", metadata={"Author": "me", "note": "a b"}).metadata == {"author": "me", "note": "a b"}
    sandbox.run_code("import os; os.setxattr('/home/user/meta/a.txt', 'user.e2b.code', b'1'); os.setxattr('/home/user/meta/a.txt', 'user.other', b'2')")
    want = {"author": "me", "note": "a b", "code": "1"}
    assert sandbox.files.get_info("meta/a.txt").metadata == want
    assert [e.metadata for e in sandbox.files.list("meta")] == [want]
    assert sandbox.files.rename("meta/a.txt", "/tmp/b.txt").metadata == want
    assert sandbox.run_code("os.getxattr('/tmp/b.txt', 'user.e2b.note').decode()").text == "a b"
    assert sandbox.files.write("/tmp/b.txt", "more", metadata={"only": "this"}).metadata == {"only": "this"}
    assert sandbox.files.get_info("/tmp/b.txt").metadata == {"only": "this"}
    assert sandbox.files.write("/tmp/b.txt", "more").metadata is None and sandbox.files.get_info("/tmp/b.txt").metadata is None
    with pytest.raises(InvalidArgumentException):
        sandbox.files.write("meta/large.txt", "text", metadata={"large": "x" * 4096})
    assert not sandbox.files.exists("meta/large.txt")


def test_signed(sandbox):
    sandbox.files.write("signed", "text")
    http = httpx.Client(timeout=300)
    assert http.get(sandbox.download_url("signed")).text == "text"
    expired = http.get(sandbox.download_url("signed", use_signature_expiration=-10))
    assert (expired.status_code, expired.json()["message"]) == (401, "signature is already expired")
    assert http.get(sandbox.download_url("signed") + "x").status_code == 401
    assert http.post(sandbox.upload_url("signed"), files={"file": b"more"}).status_code == 200
    assert sandbox.files.read("signed") == "more"


def test_commands(sandbox):
    run = sandbox.commands.run("echo out; echo err >&2; pwd")
    assert (run.stdout, run.stderr, run.exit_code) == ("out\n/home/user\n", "err\n", 0)
    with pytest.raises(CommandExitException) as raised:
        sandbox.commands.run("exit 3")
    assert raised.value.exit_code == 3
    background = sandbox.commands.run("cat", background=True, stdin=True)
    sandbox.commands.send_stdin(background.pid, "line\n")
    assert background.pid in [p.pid for p in sandbox.commands.list()]
    sandbox.commands.close_stdin(background.pid)
    assert background.wait().stdout == "line\n"
    ended = sandbox.commands.run("exit 3", background=True)
    for handle in ended, sandbox.commands.connect(ended.pid):
        with pytest.raises(CommandExitException) as raised:
            handle.wait()
        assert raised.value.exit_code == 3
    sleeping = sandbox.commands.run("sleep 60", background=True)
    assert sleeping.kill() and not sandbox.commands.kill(sleeping.pid)


@pytest.fixture
def with_hosts(monkeypatch, tmp_path):
    """A Kaa of its own, whose ports have host names. It is at the address that it returns."""
    environ = os.environ | {"KAA_ADDR": "127.0.0.1:0", "KAA_API_KEYS": os.environ["E2B_API_KEY"], "KAA_PORTS_HOST": "*.localhost", "KAA_CONCURRENCY": "1", "KAA_PYTHON": os.environ["KAA_LIBS_PYTHON"]}
    with open(tmp_path / "out", "w+b") as out, subprocess.Popen([os.environ["KAA_BIN"], "dev"], env=environ, stdout=out, stderr=out) as kaa:
        try:
            while not (found := re.search(r"http://127[.0-9]*:[0-9]+", (tmp_path / "out").read_text())):
                assert kaa.poll() is None, (tmp_path / "out").read_text()
                time.sleep(0.05)
            while httpx.get(found[0] + "/readyz", timeout=300).status_code != 200:
                time.sleep(0.05)
            for name in "E2B_API_URL", "E2B_SANDBOX_URL":
                monkeypatch.setenv(name, found[0])
            yield found[0]
        finally:
            kaa.terminate()


def test_host(with_hosts):
    """A server in the sandbox is reached by the host name of its port. The name leads to Kaa by the header of the request, as a browser's does."""
    server = "import http.server as h; s = h.HTTPServer(('127.0.0.1', 8000), h.SimpleHTTPRequestHandler); print('up', flush=True); s.serve_forever()"
    with Sandbox.create(timeout=LIFE) as made:
        made.files.write("/tmp/pages/p", "page")
        serving = made.commands.run(f'python3 -c "{server}" 2>/dev/null', cwd="/tmp/pages", background=True, timeout=LIFE)
        assert next(stdout for stdout, _, _ in serving if stdout) == "up\n"
        host = made.get_host(8000)
        assert host == f"8000-{made.sandbox_id}.localhost"
        http = httpx.Client(base_url=with_hosts, headers={"Host": host}, timeout=300)
        token = {"e2b-traffic-access-token": made.traffic_access_token}
        assert http.get("/p", headers=token).text == "page"
        assert http.get("/none", headers=token).status_code == 404
        assert http.get("/p").status_code == 401 and http.get("/p", headers={"e2b-traffic-access-token": "wrong"}).status_code == 401
        assert http.get("/p", headers=token | {"Host": made.get_host(8001)}).status_code == 502  # nothing listens there


def test_binary(sandbox, monkeypatch):
    """The binary form of Connect, which the SDK switches off."""
    client_sync = pytest.importorskip("e2b.envd.client_sync")
    monkeypatch.setattr(client_sync, "ENVD_JSON_CODEC", None)
    box = Sandbox.connect(sandbox.sandbox_id)
    assert box.files.make_dir("binary/é") and box.files.exists("binary/é") and not box.files.exists("binary/none")
    box.files.write("binary/a", "12")
    entries = {e.name: e for e in box.files.list("binary")}
    assert (entries["a"].size, entries["a"].type.value, entries["é"].type.value, entries["a"].mode) == (2, "file", "dir", 0o644)
    assert abs(entries["a"].modified_time.timestamp() - time.time()) < 600
    assert box.files.rename("binary/a", "binary/b").path == "/home/user/binary/b"
    with pytest.raises(FileNotFoundException):
        box.files.get_info("binary/a")
    run = box.commands.run("echo out; echo err >&2; echo $A", envs={"A": "é"})
    assert (run.stdout, run.stderr, run.exit_code) == ("out\né\n", "err\n", 0)
    with pytest.raises(CommandExitException) as raised:
        box.commands.run("exit 3")
    assert raised.value.exit_code == 3
    background = box.commands.run("cat", background=True, stdin=True)
    box.commands.send_stdin(background.pid, "line\n")
    assert [p.cmd for p in box.commands.list() if p.pid == background.pid] == ["/bin/bash"]
    box.commands.close_stdin(background.pid)
    assert background.wait().stdout == "line\n"
    watch = box.files.watch_dir("binary")
    box.files.write("binary/c", "1")
    assert seen(watch, 3) == ["c"] * 3
    assert box.commands.run("sleep 60", background=True).kill()


def test_watch(sandbox):
    sandbox.files.make_dir("watched")
    watch = sandbox.files.watch_dir("watched")
    sandbox.files.write("watched/a", "1")
    assert seen(watch, 3) == ["a"] * 3
    watch.stop()


def test_life():
    made = Sandbox.create(timeout=LIFE, metadata={"life": "one"})
    query = SandboxQuery(metadata={"life": "one"}, state=[SandboxState.RUNNING])
    assert [s.sandbox_id for s in Sandbox.list(query=query).next_items()] == [made.sandbox_id]
    before = made.get_info().end_at
    made.set_timeout(LIFE // 2)
    info = made.get_info()
    assert info.started_at < info.end_at < before
    made.run_code("x = 1")
    made.pause()
    assert not made.is_running()
    again = Sandbox.connect(made.sandbox_id, timeout=LIFE)
    assert again.run_code("x").text == "1"
    assert again.kill() and not Sandbox.kill(made.sandbox_id)
    with pytest.raises(SandboxException):
        again.run_code("x")


def state_of(sandbox, state):
    """Waits until a sandbox is in a state."""
    while sandbox.get_info().state != state:
        time.sleep(0.1)


def test_pause_at_end():
    with Sandbox.create(timeout=LIFE, lifecycle={"on_timeout": "pause", "auto_resume": True}) as made:
        lifecycle = made.get_info().lifecycle
        assert (lifecycle["on_timeout"], lifecycle["auto_resume"]) == ("pause", True)
        made.run_code("x = 1")
        made.set_timeout(1)
        state_of(made, SandboxState.PAUSED)
        assert not made.is_running()
        Sandbox.set_timeout(made.sandbox_id, LIFE)  # else the end comes again soon after the next call
        assert made.commands.run("echo out").stdout == "out\n" and made.get_info().state == SandboxState.RUNNING
        assert made.pause() and made.list_code_contexts() and made.run_code("x").text == "1"
    assert Sandbox.create(timeout=LIFE, lifecycle={"on_timeout": "kill"}).kill()


def test_snapshots():
    made = Sandbox.create(timeout=LIFE)
    made.run_code("x = 1")
    made.files.write("f", "1")
    taken = made.create_snapshot(name="of-smoke")
    assert taken.snapshot_id == "kaa/of-smoke:default" and taken.names == [taken.snapshot_id]
    made.files.write("f", "2")
    again = made.create_snapshot()
    assert [s.snapshot_id for s in made.list_snapshots(limit=1).next_items()] == [again.snapshot_id]
    assert [s.snapshot_id for s in Sandbox.list_snapshots(sandbox_id=made.sandbox_id).next_items()] == [again.snapshot_id, taken.snapshot_id]
    with pytest.raises(SandboxException):  # they share one sandbox
        made.pause()
    made.kill()
    copy = Sandbox.create("of-smoke", timeout=LIFE, metadata={"copy": "yes"}, envs={"GIVEN": "1"})
    assert (copy.run_code("x").text, copy.files.read("f")) == ("1", "1")
    assert copy.commands.run("echo $GIVEN").stdout == "1\n" and copy.run_code("import os; os.environ['GIVEN']").text == "1"
    assert [s.sandbox_id for s in Sandbox.list(query=SandboxQuery(metadata={"copy": "yes"})).next_items()] == [copy.sandbox_id]
    assert Sandbox.delete_snapshot(taken.snapshot_id) and not Sandbox.delete_snapshot(taken.snapshot_id)
    with pytest.raises(SandboxException, match="of-smoke"):
        Sandbox.create("of-smoke")
    assert copy.kill() and Sandbox.delete_snapshot(again.snapshot_id)


def test_metrics(sandbox):
    sandbox.files.write("large", b"x" * (2 << 20))
    measured = sandbox.get_metrics()[-1]
    assert measured.mem_used > 1 << 20 and 2 << 20 <= measured.disk_used < measured.disk_total and measured.mem_used < measured.mem_total


def test_terminal(sandbox):
    from e2b import PtySize

    seen = bytearray()
    terminal = sandbox.pty.create(PtySize(rows=24, cols=80), timeout=300)
    sandbox.pty.send_stdin(terminal.pid, b"tput cols; exit\n")
    assert terminal.wait(on_pty=seen.extend).exit_code == 0 and b"80" in seen


def test_async():
    async def main():
        made = await AsyncSandbox.create(timeout=LIFE)
        assert (await made.run_code("6 * 7")).text == "42"
        assert (await made.commands.run("echo out")).stdout == "out\n"
        await made.files.write("a", "text")
        assert await made.files.read("a") == "text"
        assert await made.kill()

    asyncio.run(main())
