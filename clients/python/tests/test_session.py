"""Sessions, their files, commands and terminals."""

import asyncio
import hashlib
from pathlib import Path

import httpx
import pytest

import kaa


class Frame:
    """What files need of a frame of pandas."""

    def to_csv(self, index, sep):
        return sep.join("ab") + "\n"

    def to_parquet(self):
        return b"PAR1"

    def to_json(self, orient):
        return "[]"


def test_variables_and_end(kaa_client):
    with kaa_client.session(metadata={"user": "ada"}) as session:
        session.run("x = 41")
        assert session.run("x + 1").text == "42"
        assert session.refresh() == "idle" and session.record["metadata"] == {"user": "ada"}
        session.change(idle_timeout=30)
        assert session.record["idleTimeout"] == 30
        session.restart()
        assert session.run("x").error.name == "NameError"
    with pytest.raises(kaa.SessionEnded) as error:
        session.run("1")
    assert error.value.reason == "deleted"
    session.close()  # a second time


def test_names_and_attach(kaa_client):
    with kaa_client.session(name="python client/1".replace("/", ":").replace(" ", "-")) as session:
        session.run("x = 1")
    with kaa_client.session(name="python-client:1") as again:
        assert again.id == session.id and again.run("x").text == "1"
    with kaa.Session.attach(session.id, kaa_client) as attached:
        assert attached.run("x").text == "1"
    session.close()
    with pytest.raises(kaa.NotFound):
        kaa.Session.attach("0198c2f0-6b7c-7def-8abc-0123456789ab", kaa_client)


def test_files(kaa_session, tmp_path):
    files = kaa_session.files
    (tmp_path / "large").write_bytes(b"x" * 600_000)
    files["a/text.txt"] = "text é"
    files["/tmp/bytes"] = b"\x00"
    files["large"] = tmp_path / "large"
    files["frame.csv"] = Frame()
    files["frame.tsv"] = Frame()
    files["frame.parquet"] = Frame()
    assert files["a/text.txt"] == "text é".encode() and files["/tmp/bytes"] == b"\x00" and len(files["large"]) == 600_000
    assert files["frame.csv"] == b"a,b\n" and files["frame.tsv"] == b"a\tb\n" and files["frame.parquet"] == b"PAR1"
    assert sorted(files) == ["a/text.txt", "frame.csv", "frame.parquet", "frame.tsv", "large"] and len(files) == 5
    assert kaa_session.run("open('a/text.txt', encoding='utf-8').read()").text == "'text é'"
    assert files.read("large", most=600_000) == b"x" * 600_000
    with pytest.raises(kaa.FileTooLarge):
        files.read("large", most=599_999)
    del files["large"]
    assert "large" not in files and files.get("large") is None
    with pytest.raises(KeyError):
        del files["large"]
    with pytest.raises(kaa.Forbidden):
        files.write("/etc/passwd", "x")
    with pytest.raises(TypeError, match="bytes, a text"):
        files["n"] = 1
    assert files.save("a/text.txt", tmp_path).read_text(encoding="utf-8") == "text é"


def test_forks_and_checkpoints(kaa_session):
    kaa_session.run("x = 1")
    forks = kaa_session.fork(2)
    assert [fork.run(f"x += {n}; x").text for n, fork in enumerate(forks)] == ["1", "2"]
    for fork in forks:
        fork.close()
    with kaa_session.checkpoint() as kept:
        kaa_session.run("x = 5")
    assert kaa_session.run("x").text == "5"
    kept.rollback()
    assert kaa_session.run("x").text == "1"
    with pytest.raises(ValueError), kaa_session.checkpoint():
        kaa_session.run("x = 9")
        raise ValueError
    assert kaa_session.run("x").text == "1"


def test_commands(kaa_session):
    seen = []
    result = kaa_session.commands.run("echo out; echo err >&2; exit 2", on_stdout=seen.append, on_stderr=seen.append)
    assert result.exit_code == 2 and sorted(seen) == ["err\n", "out\n"] and result.stdout == "out\n"
    assert kaa_session.commands.run(["cat"], stdin="text").stdout == "text"
    long = bytes(range(32, 127)) * 6000  # more than one call takes
    seen.clear()
    assert kaa_session.commands.run(["sha256sum"], stdin=long, on_stdout=seen.append).stdout == hashlib.sha256(long).hexdigest() + "  -\n" == seen[0]
    assert kaa_session.commands.run(["true"], stdin=long).ok
    with pytest.raises(kaa.ExecutionError):
        kaa_session.commands.run("false", check=True)
    with kaa_session.commands.start("read line; echo got $line; sleep 1000") as command:
        assert command.id in [other.id for other in kaa_session.commands.list()]
        command.send("a line\n")
        assert next(command.output()) == "got a line\n"
        command.signal("TERM")
        assert command.wait().signal == "SIGTERM"
    assert not command.kill()


def test_port(kaa_session):
    serve = "import http.server as h; s = h.HTTPServer(('127.0.0.1', 8000), h.SimpleHTTPRequestHandler); print('listens', flush=True); s.serve_forever()"
    kaa_session.files["index.html"] = b"a page"
    with kaa_session.commands.start(["python3", "-c", serve]) as server:
        assert next(server.output()) == "listens\n"
        assert httpx.get(kaa_session.url(8000), headers=kaa_session._driver.config.headers, timeout=300).text == "a page"


def test_terminal(kaa_session):
    with kaa_session.terminal(["sh"], columns=99) as terminal:
        terminal.send("stty size; echo 'the ''end'\r")
        assert "24 99" in terminal.read_until("the end")
        terminal.resize(50, 10)
        terminal.send("stty size; exit 7\r")
        assert "10 50" in "".join(terminal)
        assert terminal.wait().exit_code == 7


def test_interrupt_and_submit(kaa_session):
    job = kaa_session.submit("import time\nwhile True: time.sleep(0.01)")
    while job.refresh() != "running":
        pass
    assert kaa_session.interrupt()
    result = job.result()
    assert result.status == "interrupted"


def test_stream(kaa_session):
    assert [event.type for event in kaa_session.stream("print(1)")][-1] == "status" and not kaa_session.interrupt()


def test_contexts(kaa_session):
    kaa_session.run("x = 1")
    with kaa_session.context(cwd="/tmp") as context:
        assert context.run("import os; x = 2; os.getcwd()").text == "'/tmp'" and context.submit("x").result().text == "2"
        assert [event.text for event in context.stream("print(x)") if event.type == "stream"] == ["2\n"]
        assert [other.id for other in kaa_session.contexts()] == ["default", context.id] and not context.interrupt()
        context.restart()
        assert context.run("x").error.name == "NameError"
    own = kaa_session.contexts()
    assert [other.run("x").text for other in own] == ["1"]
    with pytest.raises(kaa.NotFound):
        context.run("x")
    context.close()  # a second time


def test_watch(kaa_session):
    with kaa_session.files.watch(recursive=True) as watch:
        kaa_session.run("import os; os.mkdir('made'); open('made/a', 'w').close()")
        kaa_session.files["b"] = b"x"
        seen = []
        while not seen or seen[-1].path != "b":
            seen.append(next(watch))
        assert kaa.Change("create", "made", directory=True) in seen
    with kaa_session.files.watch("made") as watch:
        kaa_session.run("import shutil; shutil.rmtree('made')")
        assert {change.path for change in watch} == {"a", "."}
    with pytest.raises(kaa.NotFound):
        kaa_session.files.watch("made")
    with pytest.raises(kaa.SessionEnded), kaa_session.files.watch() as watch:
        kaa_session.close()
        list(watch)


def test_pause(kaa_session):
    kaa_session.run("x = 1")
    kaa_session.pause()
    with pytest.raises(kaa.Conflict) as error:
        kaa_session.run("x")
    assert error.value.code == "session_paused"
    kaa_session.resume()
    assert kaa_session.run("x").text == "1"


def test_async():
    async def main(tmp: Path):
        async with kaa.AsyncSession() as session:
            await session.files.write("a.txt", "text")
            assert await session.files.read("a.txt") == b"text"
            assert [file.path for file in await session.files.list()] == ["a.txt"]
            await session.run("x = 1")
            for fork in await session.fork(2):
                async with fork:
                    assert (await fork.run("x")).text == "1"
            with pytest.raises(ValueError):
                async with session.checkpoint():
                    await session.run("x = 2")
                    raise ValueError
            assert (await session.run("x")).text == "1"
            assert [event.text async for event in session.stream("print(2)") if event.type == "stream"] == ["2\n"]
            assert (await session.commands.run("cat a.txt")).stdout == "text"
            async with session.terminal(["sh"]) as terminal:
                await terminal.send("echo 'the ''end'\r")
                assert "the end" in await terminal.read_until("the end")
            result = await session.run("open('b.txt', 'w').write('b')")
            assert await result.files.read("b.txt") == b"b"
            job = await session.submit("3")
            assert (await job).text == "3"
            async with session.context() as context:
                assert (await context.run("x")).error.name == "NameError" and not await context.interrupt()
                await context.restart()
                assert [other.id for other in await session.contexts()] == ["default", context.id]
            async with session.files.watch("/tmp") as watch:
                await session.files.write("/tmp/new", "x")
                async for change in watch:
                    assert change == kaa.Change("create", "new")
                    break
        opened = await kaa.AsyncSession()
        await opened.close()

    asyncio.run(main(Path()))
