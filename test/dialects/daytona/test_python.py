"""The smoke of Daytona's SDK for Python. KAA_URL and KAA_API_KEY say where Kaa is."""

import asyncio
import base64
import os
import uuid

import pytest

os.environ.setdefault("DAYTONA_API_URL", os.environ["KAA_URL"] + "/daytona/api")
os.environ.setdefault("DAYTONA_API_KEY", os.environ["KAA_API_KEY"])

from daytona import CreateSandboxFromSnapshotParams, Daytona, ListSandboxesQuery, SessionExecuteRequest
from daytona.common.errors import DaytonaError, DaytonaNotFoundError


@pytest.fixture(scope="module")
def daytona():
    return Daytona()


@pytest.fixture(scope="module")
def sandbox(daytona):
    box = daytona.create(CreateSandboxFromSnapshotParams(env_vars={"A": "1"}, labels={"run": str(uuid.uuid4())}), timeout=120)
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
    ran = sandbox.process.exec("pwd; echo $A $B >&2; exit 3", env={"B": "2"}, timeout=60)
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


def test_shell(sandbox):
    process, name = sandbox.process, "shell 1"
    process.create_session(name)
    process.execute_session_command(name, SessionExecuteRequest(command="cd /tmp && export Q=5"))
    ran = process.execute_session_command(name, SessionExecuteRequest(command="pwd; echo $Q >&2; exit 2"))
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
    handle.send_input("echo =$P= $(pwd) $(stty size); exit 5\n")
    handle.wait(on_data=seen.append)
    assert b"=7= /tmp 31 100" in b"".join(seen)
    assert handle.exit_code == 5


def test_stop_and_start(sandbox):
    sandbox.fs.upload_file(b"kept", "kept.txt")
    sandbox.stop(timeout=120)
    with pytest.raises(DaytonaError):
        sandbox.process.exec("id")
    sandbox.start(timeout=120)
    assert sandbox.fs.download_file("kept.txt") == b"kept"


def test_git(sandbox):
    if sandbox.process.exec("git --version").exit_code != 0:
        pytest.skip("needs git in the sandbox")
    assert sandbox.process.exec("git init -q -b main repo && echo x > repo/f").exit_code == 0
    assert sandbox.git.status("repo").file_status[0].name == "f"
    sandbox.git.add("repo", ["."])
    sandbox.git.commit("repo", "first", "A", "a@example.com")
    assert sandbox.git.branches("repo").branches == ["main"]


def test_another_key(sandbox):
    other = os.environ.get("DAYTONA_OTHER_API_KEY")
    if not other:
        pytest.skip("needs DAYTONA_OTHER_API_KEY")
    from daytona import DaytonaConfig

    with pytest.raises(DaytonaNotFoundError):
        Daytona(DaytonaConfig(api_key=other, api_url=os.environ["DAYTONA_API_URL"])).get(sandbox.id)
