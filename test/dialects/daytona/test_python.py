"""The smoke of Daytona's SDK for Python. KAA_URL and KAA_API_KEY say where Kaa is."""

import asyncio
import base64
import io
import os
import uuid

import httpx_ws
import pytest
import requests

os.environ.setdefault("DAYTONA_API_URL", os.environ["KAA_URL"] + "/daytona/api")
os.environ.setdefault("DAYTONA_API_KEY", os.environ["KAA_API_KEY"])

from daytona._sync import process as sdk

# The SDK waits for an answer only 5 s longer than a command may take. A busy machine needs more.
sdk.http_timeout = lambda seconds: 600
# It takes a terminal for broken whose first message does not come within 100 ms.
receive = httpx_ws.WebSocketSession.receive
httpx_ws.WebSocketSession.receive = lambda self, timeout=None: receive(self, timeout and 600)

from daytona import AsyncDaytona, CreateSandboxFromSnapshotParams, Daytona, ListSandboxesQuery, Resources, SessionExecuteRequest
from daytona.common.errors import (
    DaytonaBadRequestError,
    DaytonaError,
    DaytonaFileNotFoundError,
    DaytonaGitBranchExistsError,
    DaytonaGitBranchNotFoundError,
    DaytonaGitRepoNotFoundError,
    DaytonaGitTransportFailedError,
    DaytonaNotFoundError,
    DaytonaProcessExecutionTimeoutError,
    DaytonaProcessNotFoundError,
    DaytonaSessionEndedError,
    DaytonaTimeoutError,
)


@pytest.fixture(scope="module")
def daytona():
    return Daytona()


@pytest.fixture(scope="module")
def sandbox(daytona):
    box = daytona.create(CreateSandboxFromSnapshotParams(env_vars={"A": "1"}, labels={"run": str(uuid.uuid4())}), timeout=600)
    yield box
    daytona.delete(box)


def test_sandbox(daytona, sandbox):
    assert sandbox.get_user_home_dir() == "/home/daytona"
    assert daytona.get(sandbox.id).state == "started"
    assert [one.id for one in daytona.list(ListSandboxesQuery(labels=sandbox.labels))] == [sandbox.id]
    assert sandbox.set_labels({"n": "m"}) == {"n": "m"}
    with pytest.raises(DaytonaNotFoundError):
        daytona.get(str(uuid.uuid4()))


def test_exec(sandbox):
    ran = sandbox.process.exec("pwd; echo $A $B >&2; exit 3", env={"B": "2"}, timeout=300)
    assert (ran.exit_code, ran.result) == (3, "/home/daytona\n1 2\n")
    assert sandbox.process.exec("pwd", cwd="/tmp").result == "/tmp\n"
    with pytest.raises(DaytonaError):
        sandbox.process.exec("sleep 60", timeout=1)


def test_code_run(sandbox):
    assert sandbox.process.code_run("print(6 * 7)").result == "42\n"
    failed = sandbox.process.code_run("1/0")
    assert failed.exit_code == 1 and "ZeroDivisionError" in failed.result
    assert sandbox.process.code_run("x = 1\nimport os; print(os.environ['A'])").exit_code == 0
    assert "NameError" in sandbox.process.code_run("x").result


def test_charts(sandbox):
    if sandbox.process.exec("python3 -c 'import matplotlib'").exit_code != 0:
        pytest.skip("needs matplotlib in the runtime")
    ran = sandbox.process.code_run("import matplotlib.pyplot as plt\nplt.bar(['a'], [2]); plt.title('T'); plt.show()")
    (chart,) = ran.artifacts.charts
    assert (chart.type, chart.title, chart.elements[0].label, float(chart.elements[0].value)) == ("bar", "T", "a", 2)
    assert base64.b64decode(chart.png).startswith(b"\x89PNG")


def test_interpreter(sandbox):
    seen = []
    result = sandbox.code_interpreter.run_code("x = 41\nprint(x)", on_stdout=lambda m: seen.append(m.output))
    assert (result.stdout, result.error, "".join(seen)) == ("41\n", None, "41\n")
    assert sandbox.code_interpreter.run_code("print(x + 1)").stdout == "42\n"
    assert sandbox.code_interpreter.run_code("1/0").error.name == "ZeroDivisionError"
    context = sandbox.code_interpreter.create_context(cwd="/tmp")
    assert sandbox.code_interpreter.run_code("import os; print(os.getcwd())", context=context).stdout == "/tmp\n"
    assert [one.id for one in sandbox.code_interpreter.list_contexts()] == [context.id]
    sandbox.code_interpreter.delete_context(context)
    with pytest.raises(DaytonaError):
        sandbox.code_interpreter.run_code("1", context=context)
    with pytest.raises(DaytonaError):
        sandbox.code_interpreter.run_code("import time; time.sleep(60)", timeout=1)


def test_files(sandbox):
    fs = sandbox.fs
    fs.create_folder("dir/sub", "755")
    fs.upload_file("hällo world\n".encode(), "dir/é.txt")
    assert fs.download_file("dir/é.txt").decode() == "hällo world\n"
    assert sorted(one.name for one in fs.list_files("dir")) == ["sub", "é.txt"]
    assert fs.get_file_info("dir/sub").is_dir
    assert fs.search_files("dir", "*.txt").files == ["dir/é.txt"]
    (found,) = fs.find_files("dir", "world")
    assert (found.file, found.line) == ("dir/é.txt", 1)
    assert fs.replace_in_files(["dir/é.txt"], "world", "there")[0].success
    fs.move_files("dir/é.txt", "dir/sub/b.txt")
    fs.set_file_permissions("dir/sub/b.txt", mode="600")
    assert fs.get_file_info("dir/sub/b.txt").permissions == "0600"
    fs.delete_file("dir", recursive=True)
    with pytest.raises(DaytonaError):
        fs.download_file("dir/sub/b.txt")


def test_signed_urls(sandbox):
    sandbox.fs.upload_file(b"text", "signed.txt")
    url = sandbox.download_url("signed.txt")
    assert requests.get(url, timeout=300).content == b"text"
    assert requests.post(sandbox.upload_url("up.txt"), files={"file": ("up.txt", b"up")}, timeout=300).status_code == 200
    assert sandbox.fs.download_file("up.txt") == b"up"
    assert requests.get(url.replace("signed.txt", "up.txt"), timeout=300).status_code == 401
    sandbox.rotate_signing_key()
    assert requests.get(url, timeout=300).status_code == 403


def test_streams(sandbox):
    seen = []
    sandbox.fs.upload_file_stream(io.BytesIO(b"x" * 100_000), "large", on_progress=seen.append)
    assert seen[-1].bytes_sent == 100_000
    assert len(b"".join(sandbox.fs.download_file_stream("large", on_progress=seen.append))) == 100_000
    assert seen[-1].bytes_received == seen[-1].total_bytes == 100_000
    with pytest.raises(DaytonaFileNotFoundError):
        b"".join(sandbox.fs.download_file_stream("none"))


def test_preview(sandbox):
    # The server says on its output that it listens, so nothing has to wait for a time.
    sandbox.process.create_session("server")
    code = "import http.server as h; s = h.HTTPServer(('127.0.0.1', 8000), h.SimpleHTTPRequestHandler); print('up', flush=True); s.serve_forever()"
    line = sandbox.process.execute_session_command("server", SessionExecuteRequest(command=f'cd /tmp && echo page >p && python3 -c "{code}" 2>/dev/null', run_async=True))
    while "up" not in (logs := sandbox.process.get_session_command_logs("server", line.cmd_id)).stdout:
        assert sandbox.process.get_session_command("server", line.cmd_id).exit_code is None, logs
    link = sandbox.get_preview_link(8000)
    assert requests.get(link.url + "p", headers={"x-daytona-preview-token": link.token}, timeout=300).text == "page\n"
    assert requests.get(link.url, timeout=300).status_code == 401
    assert requests.get(sandbox.create_signed_preview_url(8000, 600).url + "p", timeout=300).text == "page\n"
    sandbox.process.delete_session("server")


def test_settings(daytona, sandbox):
    sandbox.update_env({"LATER": "1"})
    assert sandbox.process.exec("echo $LATER").result == "1\n"
    assert sandbox.process.code_run("import os; print(os.environ['LATER'])").result == "1\n"
    sandbox.update_env({}, unset=["LATER"])
    sandbox.set_autostop_interval(30)
    sandbox.set_auto_delete_interval(-1)
    sandbox.set_ttl(60)
    sandbox.refresh_activity()
    sandbox.refresh_data()
    assert (sandbox.auto_stop_interval, sandbox.auto_delete_interval, bool(sandbox.auto_destroy_at)) == (30, -1, True)
    assert sandbox.get_metrics_latest().cpu_count >= 1
    assert sandbox.get_metrics() == []
    assert sandbox.id in [one.id for one in daytona.list(ListSandboxesQuery(min_cpu=1, states=["started"], limit=1))]
    assert sandbox.id not in [one.id for one in daytona.list(ListSandboxesQuery(min_cpu=1000))]
    assert daytona.snapshot.get(daytona.snapshot.list(limit=1).items[0].name)
    for call in (lambda: sandbox.resize(Resources(cpu=2)), lambda: sandbox.fork(), lambda: sandbox.create_lsp_server("python", ".").start(), lambda: sandbox.computer_use.start()):
        with pytest.raises(DaytonaError) as failed:
            call()
        assert failed.value.status_code == 501


def test_errors(sandbox):
    with pytest.raises(DaytonaBadRequestError) as failed:
        sandbox.process.exec("")
    assert failed.value.code == "INVALID_REQUEST_BODY"
    with pytest.raises(DaytonaProcessExecutionTimeoutError):
        sandbox.process.exec("sleep 60", timeout=1)
    with pytest.raises(DaytonaProcessNotFoundError):
        sandbox.process.get_session("none")
    with pytest.raises(DaytonaProcessNotFoundError):
        sandbox.process.get_pty_session_info("none")
    with pytest.raises(DaytonaFileNotFoundError):
        sandbox.fs.get_file_info("none")
    with pytest.raises(DaytonaTimeoutError):
        sandbox.code_interpreter.run_code("import time; time.sleep(60)", timeout=1)


def test_shell_that_exits(sandbox):
    process, name = sandbox.process, "exits"
    process.create_session(name)
    ran = process.execute_session_command(name, SessionExecuteRequest(command="echo out; exit 7"))
    assert (ran.exit_code, ran.output) == (7, "\x01\x01\x01out\n")
    with pytest.raises(DaytonaSessionEndedError):
        process.execute_session_command(name, SessionExecuteRequest(command="echo"))
    assert process.get_entrypoint_session().session_id == "entrypoint"


def test_input(sandbox):
    process, name = sandbox.process, "reads"
    process.create_session(name)
    line = process.execute_session_command(name, SessionExecuteRequest(command="read x; echo got $x", run_async=True))
    process.send_session_command_input(name, line.cmd_id, "abc\n")
    out = []
    asyncio.run(process.get_session_command_logs_async(name, line.cmd_id, out.append, out.append))
    assert "".join(out) == "abc\ngot abc\n"


def test_shell(sandbox):
    process, name = sandbox.process, "shell 1"
    process.create_session(name)
    process.execute_session_command(name, SessionExecuteRequest(command="cd /tmp && export Q=5"))
    ran = process.execute_session_command(name, SessionExecuteRequest(command="pwd; echo $Q >&2; (exit 2)"))
    assert (ran.exit_code, ran.stdout, ran.stderr) == (2, "/tmp\n", "5\n")
    later = process.execute_session_command(name, SessionExecuteRequest(command="echo a; echo b >&2", run_async=True))
    out, err = [], []
    asyncio.run(process.get_session_command_logs_async(name, later.cmd_id, out.append, err.append))
    assert ("".join(out), "".join(err)) == ("a\n", "b\n")
    assert process.get_session_command(name, later.cmd_id).exit_code == 0
    assert len(process.get_session(name).commands) == 3
    process.delete_session(name)
    with pytest.raises(DaytonaError):
        process.get_session(name)


def test_terminal(sandbox):
    from daytona.common.pty import PtySize

    seen = []
    handle = sandbox.process.create_pty_session("t1", cwd="/tmp", envs={"P": "7"}, pty_size=PtySize(cols=90, rows=30))
    assert [one.id for one in sandbox.process.list_pty_sessions()] == ["t1"]
    sandbox.process.resize_pty_session("t1", PtySize(cols=100, rows=31))
    assert sandbox.process.get_pty_session_info("t1").cols == 100
    handle.send_input("echo =$P= $(pwd) $(stty size); exit 5\n")
    handle.wait(on_data=seen.append)
    assert b"=7= /tmp 31 100" in b"".join(seen)
    assert handle.exit_code == 5
    killed = sandbox.process.create_pty_session("t2")
    sandbox.process.kill_pty_session("t2")
    ended = killed.wait()
    assert (ended.exit_code, ended.error) == (137, "SIGKILL")


def test_stop_and_start(sandbox):
    sandbox.fs.upload_file(b"kept", "kept.txt")
    sandbox.stop(timeout=600)
    with pytest.raises(DaytonaError):
        sandbox.process.exec("id")
    sandbox.start(timeout=600)
    assert sandbox.fs.download_file("kept.txt") == b"kept"


def test_git(sandbox):
    if sandbox.process.exec("git --version").exit_code != 0:
        pytest.skip("needs git in the sandbox")
    assert sandbox.process.exec("git init -q -b main repo && echo x > repo/f").exit_code == 0
    assert sandbox.git.status("repo").file_status[0].name == "f"
    sandbox.git.add("repo", ["."])
    sandbox.git.commit("repo", "first", "A", "a@example.com")
    assert sandbox.git.branches("repo").branches == ["main"]
    git = sandbox.git
    git.init("bare.git", bare=True)
    git.remote_add("repo", "origin", "/home/daytona/bare.git")
    git.create_branch("repo", "dev")
    git.checkout_branch("repo", "dev")
    git.push("repo", set_upstream=True)
    git.clone("file:///home/daytona/bare.git", "clone", branch="dev", depth=1)
    sandbox.fs.upload_file(b"y", "clone/g")
    git.add("clone", ["g"])
    git.commit("clone", "second", "A", "a@example.com")
    git.push("clone")
    git.pull("repo")
    assert sandbox.fs.download_file("repo/g") == b"y"
    assert git.status("repo").upstream == "origin/dev"
    sandbox.fs.upload_file(b"z", "repo/g")
    git.reset("repo", mode="hard")
    assert sandbox.fs.download_file("repo/g") == b"y"
    git.configure_user("Me", "me@example.com")
    assert (git.get_config("user.name"), git.get_config("no.such")) == ("Me", None)
    assert git.remote_get("repo", "origin") == "/home/daytona/bare.git"
    for call, error in (
        (lambda: git.status("none"), DaytonaGitRepoNotFoundError),
        (lambda: git.checkout_branch("repo", "none"), DaytonaGitBranchNotFoundError),
        (lambda: git.create_branch("repo", "main"), DaytonaGitBranchExistsError),
        (lambda: git.clone("https://example.com/x.git", "x"), DaytonaGitTransportFailedError),
    ):
        with pytest.raises(error):
            call()


def test_asynchronous():
    async def use():
        async with AsyncDaytona() as daytona:
            box = await daytona.create(timeout=600)
            try:
                assert (await box.process.exec("echo $((6 * 7))")).result == "42\n"
                assert (await box.process.code_run("print(1)")).result == "1\n"
                assert (await box.code_interpreter.run_code("print(2)")).stdout == "2\n"
                await box.fs.upload_file(b"text", "a.txt")
                assert await box.fs.download_file("a.txt") == b"text"
                await box.process.create_session("s")
                assert (await box.process.execute_session_command("s", SessionExecuteRequest(command="echo 3"))).stdout == "3\n"
                handle = await box.process.create_pty_session("t", on_data=lambda data: None)
                await handle.send_input("exit 4\n")
                assert (await handle.wait()).exit_code == 4
                assert box.id in [one.id async for one in daytona.list()]
            finally:
                await daytona.delete(box)

    asyncio.run(use())


def test_old_name():
    old = pytest.importorskip("daytona_sdk")
    box = old.Daytona().create(timeout=600)
    assert box.process.exec("echo old").result == "old\n"
    box.delete()


def test_another_key(sandbox):
    other = os.environ.get("DAYTONA_OTHER_API_KEY")
    if not other:
        pytest.skip("needs DAYTONA_OTHER_API_KEY")
    from daytona import DaytonaConfig

    with pytest.raises(DaytonaNotFoundError):
        Daytona(DaytonaConfig(api_key=other, api_url=os.environ["DAYTONA_API_URL"])).get(sandbox.id)
