"""Executions, their results and their errors."""

import asyncio
import base64
import json
import threading
import time

import pytest

import kaa
from kaa.options import body_of


@pytest.fixture
def until():
    """Wait for a state, however long a busy machine takes."""

    def wait(condition):
        for _ in range(30_000):
            if condition():
                return
            time.sleep(0.01)
        raise AssertionError("it did not come")

    return wait


def test_result(kaa_client):
    result = kaa_client.run("print('out'); import sys; print('err', file=sys.stderr); {'a': 1}")
    assert result.ok and result.status == "ok" and result.exit_code == 0
    assert (result.stdout, result.stderr, result.text) == ("out\n", "err\n", "{'a': 1}")
    assert str(result) == "out\nerr\n{'a': 1}"
    assert "Result ok" in repr(result) and result.raise_for_error() is result
    assert result.job_id and result.duration > 0 and not result.files and result.png is None


def test_failing_code(kaa_client):
    result = kaa_client.run("def f(): return 1 / 0\nf()")
    assert not result.ok and result.error.name == "ZeroDivisionError" and "line 2" in result.error.traceback
    with pytest.raises(kaa.ExecutionError) as error:
        result.raise_for_error()
    assert error.value.result is result and "division by zero" in str(error.value)
    assert kaa_client.run("raise SystemExit(0)").ok
    with pytest.raises(kaa.ExecutionError, match="exited with code 3"):
        kaa_client.run("raise SystemExit(3)", check=True)


def test_values_and_picture(kaa_client):
    picture = b"\x89PNG\r\n\x1a\n" + bytes(range(20))
    code = f"""
class Shown:
    def _repr_png_(self): return {picture!r}
    def _repr_html_(self): return "<script>alert(1)</script>"
display(Shown())
class Page:
    def _repr_html_(self): return "<b onload='x'>&amp;</b><script>alert(2)</script>"
display(Page())
"<i>text</i>"
"""
    result = kaa_client.run(code)
    assert result.png == picture and result.pngs == [picture] and len(result.values) == 3
    html = result._repr_mimebundle_()["text/html"]
    assert base64.b64encode(picture).decode() in html
    assert "<script" not in html and "<i>" not in html and 'sandbox="allow-scripts"' in html
    assert result.value._repr_mimebundle_()["text/plain"] == "'<i>text</i>'"


def test_table_of_hostile_names():
    from kaa import _show

    html = _show.value({"text/html": "<table>", "application/json": {"<script>": ["<img>", None], "n": [1, 2]}})
    assert "<script>" not in html and "<img>" not in html and html.count("<tr>") == 3


def test_options():
    from datetime import datetime, timedelta, timezone
    from pathlib import PurePosixPath

    body = body_of({
        "timeout": timedelta(seconds=2), "envs": {"A_B": "x_y"}, "limits": {"memory_bytes": 1}, "run_at": datetime(2030, 1, 2, tzinfo=timezone.utc),
        "metadata": {"my_key": {"other_key": 1}}, "cwd": PurePosixPath("/tmp"), "files": {"a": "t", "b": b"\xff"}, "stdin": None, "figure_formats": ("svg",),
    })  # fmt: skip
    assert body == {
        "timeout": 2.0, "envs": {"A_B": "x_y"}, "limits": {"memoryBytes": 1}, "runAt": "2030-01-02T00:00:00Z", "metadata": {"my_key": {"other_key": 1}},
        "cwd": "/tmp", "files": [{"path": "a", "content": "t"}, {"path": "b", "contentBase64": "/w=="}], "figureFormats": ["svg"],
    }  # fmt: skip


def test_files(kaa_client, tmp_path):
    (tmp_path / "here.bin").write_bytes(b"\x00\xff")
    code = "import os; os.mkdir('d'); open('d/out.bin', 'wb').write(open('in.bin', 'rb').read() * 2); open('t.txt', 'w').write(open('in.txt').read())"
    result = kaa_client.run(code, files={"in.bin": tmp_path / "here.bin", "in.txt": "é"}, check=True)
    assert dict(result.files) == {"t.txt": "é".encode(), "d/out.bin": b"\x00\xff\x00\xff"}
    saved = result.files.save(tmp_path / "into")
    assert sorted(path.relative_to(tmp_path).as_posix() for path in saved) == ["into/d/out.bin", "into/t.txt"]
    with pytest.raises(KeyError):
        result.files["other"]


@pytest.mark.parametrize("path", ["..", "/", "a\\b", "c:x", "\0"])
def test_paths_that_are_not_saved(path, tmp_path):
    from kaa.files import place_of

    with pytest.raises(ValueError):
        place_of(tmp_path, path)


def test_links_here_are_not_followed_out(tmp_path):
    from kaa.files import place_of

    (tmp_path / "into").mkdir()
    (tmp_path / "into" / "link").symlink_to("/etc")
    with pytest.raises(ValueError):
        place_of(tmp_path / "into", "link/passwd")
    assert place_of(tmp_path, "../../x/y") == tmp_path / "x" / "y"


def test_stream(kaa_client):
    events = list(kaa_client.stream("print('a'); display(1); 2"))
    assert [event.type for event in events if event.type != "status"] == ["stream", "display", "result"]
    assert events[-1].final and events[-1].data["status"] == "ok"
    seen = []
    result = kaa_client.run("import sys\nprint('o')\nprint('e', file=sys.stderr)", on_stdout=seen.append, on_stderr=seen.append, on_event=seen.append)
    assert [item for item in seen if isinstance(item, str)] == ["o\n", "e\n"] and result.stdout == "o\n"


def test_a_stream_that_is_closed_interrupts(kaa_client, until):
    events = kaa_client.stream("import time\nprint('begun', flush=True)\nwhile True: time.sleep(0.01)")
    job = next(event.data["jobId"] for event in events if event.data.get("jobId"))
    for event in events:
        if event.type == "stream":
            break
    events.close()
    until(lambda: kaa_client.job(job).state == "cancelled")


def test_a_callback_that_fails_interrupts(kaa_client, until):
    jobs = []

    def fail(text):
        raise KeyboardInterrupt  # as Ctrl-C raises it

    with pytest.raises(KeyboardInterrupt):
        kaa_client.run(
            "import time\nprint('begun', flush=True)\nwhile True: time.sleep(0.01)",
            on_stdout=fail,
            on_event=lambda event: jobs.append(event.data.get("jobId")),
        )
    until(lambda: kaa_client.job(jobs[0]).state == "cancelled")


def test_ctrl_c(kaa_client, until):
    """A signal while run waits for the answer."""
    import signal

    with kaa_client.session() as session:
        waiting = threading.Thread(target=lambda: (until(lambda: session.refresh() == "busy"), signal.pthread_kill(main, signal.SIGINT)))
        main = threading.get_ident()
        waiting.start()
        with pytest.raises(KeyboardInterrupt):
            session.run("import time\nwhile True: time.sleep(0.01)")
        waiting.join()
        until(lambda: session.refresh() != "busy")


def test_functions(kaa_client):
    def add(a: int, b: int = 2) -> int:
        """Adds."""
        return a + b

    def fail():
        raise LookupError("none")

    def strange():
        return object()

    code = """
print(add(1), add(1, b=5), add.__doc__)
for f in (fail, strange):
    try: f()
    except (LookupError, TypeError) as error: print(type(error).__name__, error)
"""
    result = kaa_client.run(code, functions=[add, fail, strange], check=True)
    assert result.stdout.splitlines()[0].startswith("3 6") and "LookupError none" in result.stdout and "no JSON" in result.stdout


@pytest.mark.parametrize(
    "options, kind, text",
    [
        ({"timeout": -1}, kaa.InvalidRequest, "body.timeout"),
        ({"timout": 1}, kaa.InvalidRequest, "timeout"),
        ({"envs": {"a b": "c"}}, kaa.InvalidRequest, "envs"),
        ({"runtime": "none-of-that"}, kaa.Problem, "runtime"),
    ],
)
def test_wrong_requests(kaa_client, options, kind, text):
    with pytest.raises(kind, match=text) as error:
        kaa_client.run("1", **options)
    assert error.value.code and error.value.detail and error.value.request_id


def test_wrong_key(kaa_client):
    with kaa.Kaa(kaa_client.url, "wrong") as other, pytest.raises(kaa.Unauthorized) as error:
        other.run("1")
    assert error.value.code == "unauthorized" and error.value.status == 401


def test_no_server():
    with kaa.Kaa("http://127.0.0.1:9", "") as client, pytest.raises(kaa.NotReachable, match="kaa dev"):
        client.run("1")
    with pytest.raises(ValueError, match="http://"):
        kaa.Kaa("localhost:8080")


def test_cases(kaa_client):
    result = kaa_client.run("print(int(input()) * 2)", cases=[{"stdin": "2", "expect": {"stdout": "4"}}, {"stdin": "3", "expect": {"stdout": "5"}}])
    assert [case["verdict"] for case in result.cases] == ["accepted", "wrong_answer"]


def test_command(kaa_client):
    assert kaa_client.command("echo $((6 * 7)); exit 3").exit_code == 3
    assert kaa_client.command(["cat", "in.txt"], files={"in.txt": "text"}).stdout == "text"


def test_async_cancellation(until, kaa_client):
    async def main():
        jobs = []
        async with kaa.AsyncKaa(kaa_client.url) as client, client.session() as session:
            begun = asyncio.Event()

            async def on_event(event):
                jobs.append(event.data.get("jobId"))
                if event.type == "stream":
                    begun.set()

            code = "import time\nprint('begun', flush=True)\nwhile True: time.sleep(0.01)"
            task = asyncio.create_task(client.run(code, on_event=on_event))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            plain = asyncio.create_task(session.run(code))
            while await session.refresh() != "busy":
                pass
            plain.cancel()
            with pytest.raises(asyncio.CancelledError):
                await plain
            while await session.refresh() == "busy":
                pass
            return jobs[0]

    job = asyncio.run(main())
    until(lambda: kaa_client.job(job).state == "cancelled")


def test_async_shapes(kaa_client):
    """Both clients have the same methods."""
    pairs = [(kaa.Kaa, kaa.AsyncKaa), (kaa.Session, kaa.AsyncSession), (kaa.Job, kaa.AsyncJob), (kaa.Terminal, kaa.AsyncTerminal)]
    for one, other in pairs:
        names = {name for name in dir(one) if not name.startswith("_")} - {"add_done_callback"}
        assert names == {name for name in dir(other) if not name.startswith("_")}, one
    assert json.dumps(kaa_client.runtimes())
