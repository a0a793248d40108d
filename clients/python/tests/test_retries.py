"""What is sent again, and what is not, against a transport without a server."""

import json

import httpx
import pytest

import kaa
from kaa.events import Events

JOB = {"id": "1", "state": "queued"}


class Server:
    """Answers with one of its answers after the other, and keeps the requests."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, **options):
        return kaa.Kaa("http://kaa", "key", http=httpx.Client(transport=httpx.MockTransport(self)), **options)


def problem(status, code, after="0"):
    return httpx.Response(status, json={"code": code, "detail": "d"}, headers={"Retry-After": after} if after else {})


def result(**fields):
    return httpx.Response(200, json={"status": "ok", "stdout": "", "stderr": "", **fields})


@pytest.mark.parametrize(
    "status, code, after, sent",
    [
        (429, "key_busy", "0", 3),
        (503, "no_runner", "0.001", 3),
        (503, "no_runner", None, 1),
        (503, "no_runner", "61", 1),
        (503, "drained", "0", 1),  # the code may have run
        (503, "worker_failed", "0", 1),
        (503, "result_not_kept", "0", 1),
        (503, "unavailable", "0", 1),  # it may have been recorded
        (500, "internal", "0", 1),
        (502, "runner_lost", "0", 1),
        (504, "timeout", "0", 1),
        (409, "refused", "0", 1),
    ],
)
def test_execution(status, code, after, sent):
    server = Server(*[problem(status, code, after)] * 2, result())
    try:
        server.client().run("1")
    except kaa.Problem as error:
        assert error.code == code
    assert len(server.requests) == sent


def test_submission_is_sent_again_with_its_key():
    server = Server(httpx.ReadError("broke"), problem(503, "unavailable"), httpx.Response(202, json=JOB))
    assert server.client().submit("1").id == "1"
    keys = {request.headers["Idempotency-Key"] for request in server.requests}
    assert len(keys) == 1 and len(server.requests) == 3


def test_execution_is_not_sent_again_after_a_lost_connection():
    server = Server(httpx.ReadError("broke"))
    with pytest.raises(kaa.ConnectionLost, match="broke"):
        server.client().run("1")
    assert len(server.requests) == 1


def test_no_retries():
    server = Server(problem(429, "key_busy", "1"))
    with pytest.raises(kaa.LimitReached) as error:
        server.client(retry_for=0).run("1")
    assert error.value.retry_after == 1


@pytest.mark.parametrize(
    "answer, kind",
    [
        (httpx.Response(200, text="<html>"), kaa.NotKaa),
        (httpx.Response(404, text="<html>"), kaa.NotFound),
        (httpx.Response(502, text=""), kaa.ServerError),
        (problem(410, "session_ended"), kaa.SessionEnded),
        (problem(503, "drained"), kaa.ExecutionLost),
        (problem(418, "new"), kaa.Problem),
    ],
)
def test_errors(answer, kind):
    with pytest.raises(kind):
        Server(answer).client().run("1")


def event(type, id="", **fields):
    return (f"id: {id}\n" if id else "") + f"event: {type}\ndata: {json.dumps({'type': type, **fields}, ensure_ascii=False)}\n\n"


def stream(*events):
    return httpx.Response(200, text=":\n\n" + "".join(events), headers={"Content-Type": "text/event-stream"})


def test_a_stream_that_breaks_is_resumed():
    server = Server(
        stream(event("status", state="queued", jobId="7"), event("stream", "1-1", stream="stdout", text="a")),
        stream(event("stream", "1-2", stream="stdout", text="b"), event("error", code="draining", detail="d", resumable=True)),
        stream(event("status", "1-3", state="completed", status="ok")),
        httpx.Response(200, json={"id": "7", "state": "completed", "result": {"status": "ok", "stdout": "ab"}}),
    )
    seen = []
    assert server.client().run("1", on_stdout=seen.append).stdout == "ab" and seen == ["a", "b"]
    assert [request.headers.get("Last-Event-ID") for request in server.requests] == [None, "1-1", "1-2", None]
    assert [request.url.path for request in server.requests[1:]] == ["/v1/jobs/7/events"] * 2 + ["/v1/jobs/7"]


def test_a_resumed_execution_is_cancelled():
    server = Server(
        stream(event("status", state="queued", jobId="7")),
        stream(event("stream", "1-1", stream="stdout", text="a")),
        httpx.Response(202, json=JOB),
    )

    def fail(text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        server.client().run("1", on_stdout=fail)
    assert server.requests[-1].method == "DELETE" and server.requests[-1].url.path == "/v1/jobs/7"


def test_a_stream_that_may_not_be_resumed():
    server = Server(stream(event("status", state="queued", jobId="7"), event("error", code="unavailable", detail="d", resumable=False)))
    with pytest.raises(kaa.Unavailable):
        list(server.client().stream("1"))


def test_results_of_a_batch_go_on_after_a_break():
    def line(index, **fields):
        return json.dumps({"index": index, "result": {"status": "ok", "stdout": str(index)}, "cursor": f"c{index}", **fields}) + "\n"

    server = Server(
        httpx.Response(202, json={"id": "b"}),
        httpx.Response(200, text="\n" + line(0) + line(1)[:20]),
        httpx.Response(200, text=line(1) + json.dumps({"end": "unfinished", "cursor": "x"}) + "\n"),
        httpx.Response(200, text=json.dumps({"end": "all"}) + "\n"),
    )
    assert [result.stdout for result in server.client().map(["1", "2"])] == ["0", "1"]
    assert [request.url.params.get("cursor") for request in server.requests] == [None, None, "c0", "x"]


def test_pieces_of_events():
    """Events are the same however the bytes are cut, and line ends within a text end no line."""
    text = event("stream", "1", stream="stdout", text="a\u2028b\x85c\r") + event("status", state="completed")
    data = text.encode()
    for size in range(1, 30):
        events = Events()
        found = [item for place in range(0, len(data), size) for item in events.feed(data[place : place + size])]
        assert [(item.type, item.id) for item in found] == [("stream", "1"), ("status", "")] and found[0].text == "a\u2028b\x85c\r"
    with pytest.raises(kaa.NotKaa):
        Events().feed(b"data: []\n\n")


def test_prepare_names_what_is_imported_ahead():
    server = Server(*(httpx.Response(202, json={"id": "e", "state": "queued", "packages": ["alpha"]}) for _ in range(2)))
    with server.client() as client:
        client.prepare(["alpha"], preload=["alpha.deep"])
        client.prepare(["alpha"])
    bodies = [json.loads(request.content) for request in server.requests]
    assert bodies == [{"packages": ["alpha"], "preload": ["alpha.deep"]}, {"packages": ["alpha"]}]
