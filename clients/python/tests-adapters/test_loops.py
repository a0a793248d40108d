"""Each adapter carries a loop of its framework through, and the model sees what Kaa has answered."""

import pytest
from loops import LOOPS, Script, deepagents, inspect, langchain


@pytest.mark.parametrize("name", LOOPS)
def test_loop(kaa_session, name, tmp_path):
    loop, language = LOOPS[name]
    script = Script(["x = 6", "print(x * 7)", "1 / 0"] if language == "python" else ["x=6; echo $x > kept", "echo $(($(cat kept) * 7))", "exit 3"])
    loop(kaa_session, script, **({"log_dir": str(tmp_path)} if loop is inspect else {}))
    assert "42" in script.seen[1] and len(script.seen) == len(script.times) == 3
    assert language == "shell" or "ZeroDivisionError" in script.seen[2]


def test_artifacts_of_langchain(kaa_session):
    code = "class P:\n def _repr_png_(self): return b'\\x89PNG'\ndisplay(P())"
    script = Script([code])
    messages = langchain(kaa_session, script)
    (answer,) = [message for message in messages if message.type == "tool"]
    assert answer.artifact.png == b"\x89PNG" and "[pictures: 1]" in script.seen[0]


def test_errors_of_langchain(kaa_session):
    kaa_session.close()
    script = Script(["1"])
    langchain(kaa_session, script)
    assert "session_ended" in script.seen[0]


def test_files_of_deepagents(kaa_session):
    from kaa.deepagents import KaaSandbox

    box = KaaSandbox(kaa_session)
    sent = box.upload_files([("/tmp/a", b"a"), ("relative", b""), ("/etc/passwd", b"")])
    assert [answer.error for answer in sent] == [None, "invalid_path", "permission_denied"]
    got = box.download_files(["/tmp/a", "/tmp/none", "/tmp"])
    assert [(answer.content, answer.error) for answer in got] == [(b"a", None), (None, "file_not_found"), (None, "is_directory")]
    assert box.execute("echo out; echo err >&2; exit 3").exit_code == 3 and "timed out" in box.execute("sleep 1000", timeout=1).output
    script = Script(["cat /tmp/a"])
    deepagents(kaa_session, script)
    assert script.seen[0].startswith("a")


def test_inspect(kaa_client, tmp_path):
    script = Script(["cat given.txt; id -u > me"])
    log = inspect(None, script, str(tmp_path))
    assert "given" in script.seen[0]
    assert kaa_client.sessions(metadata={"inspect": log.eval.task}) == []
