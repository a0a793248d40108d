"""An id, a name or a path of a caller stays where it belongs in the path of a request, whatever it looks like."""

import ast
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest

from kaa import _sessions, _tools, commands, contexts, environments, files, jobs, schedules, volumes, watches
from kaa._steps import Request
from kaa.events import Event

HOSTILE = ["../keys", "a/../../keys", "a?state=all", "a#b", "a%2Fb", "%2e%2e", "..", ".", "a b", "ä", "a;b"]


def requests(id):
    """Return the first steps of operations by their paths, with ID for each id or name."""
    return {
        "jobs/ID": [jobs.look(id), jobs.cancel(id)],
        "jobs/ID/events": [jobs.follow(id)],
        "jobs/ID/calls/ID": [_called(id)],
        "jobs/ID/files/out/ID": [files.read_of_job(id, f"out/{id}")],
        "sessions/ID": [_sessions.look(id), _sessions.change(id, {}), _sessions.end(id)],
        "sessions/ID/ports/8000": [_sessions.port(id, 8000)],
        "sessions/ID/restart": [_sessions.tell(id, "restart")],
        "sessions/by-name/ID": [_sessions.create({}, id)],
        "sessions/ID/commands": [commands.start(id, {}), commands.running(id)],
        "sessions/ID/commands/ID": [commands.end(id, id)],
        "sessions/ID/commands/ID/signal": [commands.tell(id, id, "signal", {})],
        "sessions/ID/commands/ID/events": [commands.output(id, id)],
        "sessions/ID/contexts": [contexts.create(id, None), contexts.listing(id)],
        "sessions/ID/contexts/ID": [contexts.end(id, id)],
        "sessions/ID/contexts/ID/restart": [contexts.tell(id, id, "restart")],
        "sessions/ID/fs/content": [files.read(id, "x"), files.read_at_most(id, "x", 1), files.write(id, "x", b"")],
        "sessions/ID/fs/entry": [files.delete(id, "x")],
        "sessions/ID/fs/watch": [watches.changes(id, "x", False)],
        "sessions/ID/files": [files.listing(id)],
        "schedules/ID": [schedules.look(id), schedules.replace(id, {}), schedules.delete(id)],
        "schedules/ID/pause": [schedules.tell(id, "pause")],
        "environments/ID": [environments.look(id)],
        "volumes/ID": [volumes.look(id), volumes.delete(id)],
    }


def _called(id):
    """Answer a call of a function, and skip the step that calls it."""
    steps = _tools.Tools({"f": len}).answer(id, Event("call", {"name": "f", "callId": id}))
    next(steps)
    return iter([steps.send(0)])


@pytest.mark.parametrize("id", HOSTILE)
def test_an_id_is_one_part(id):
    for path, operations in requests(id).items():
        for steps in operations:
            step = next(steps)
            assert isinstance(step, Request)
            sent = httpx.URL("http://kaa" + step.path).raw_path.decode()
            wanted = ["", "v1", *path.split("/")]
            if "files/out" in path:
                wanted[-1:] = ["ID"] * len(id.split("/"))
            parts = sent.split("/")
            assert "?" not in sent and len(parts) == len(wanted), (path, sent)
            names = id.split("/") if "files/out" in path else None
            for number, (part, want) in enumerate(zip(parts, wanted)):
                if want == "ID" and names and number >= 6:
                    want = names[number - 6]
                assert unquote(part) == (id if want == "ID" else want), (path, sent)


def test_an_empty_id_is_refused():
    for steps in (jobs.look(""), schedules.delete(""), _sessions.create({}, ""), commands.end("1", "")):
        with pytest.raises(ValueError, match="empty"):
            next(steps)


def test_no_path_is_made_by_hand():
    """Every path with something in it is made by `at`."""
    for file in (Path(__file__).parent.parent / "src" / "kaa").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                text = ast.unparse(node)
                assert "/v1/" not in text and "{PATH}" not in text, f"{file.name}:{node.lineno}"
