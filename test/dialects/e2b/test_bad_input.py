"""Answers to a client that sends what it should not. KAA_OTHER_KEY is the key of another tenant."""

import os
import struct
from urllib.parse import quote

import httpx
import pytest
from e2b import AuthenticationException, SandboxException, SandboxNotFoundException
from e2b_code_interpreter import Sandbox

URL = os.environ["E2B_SANDBOX_URL"]
OTHER = {"X-API-Key": os.environ["KAA_OTHER_KEY"]}
STREAM = {"Content-Type": "application/connect+json", "Connect-Protocol-Version": "1"}
CLIENT = httpx.Client(base_url=URL, timeout=300)  # each new one takes a tenth of a second of the processor
UNARY = {"Content-Type": "application/json", "Connect-Protocol-Version": "1"}


@pytest.fixture(scope="module")
def sandbox():
    made = Sandbox.create(timeout=1800)
    yield made
    made.kill()


@pytest.fixture(scope="module")
def to(sandbox):
    return {"E2b-Sandbox-Id": sandbox.sandbox_id, "X-API-Key": os.environ["E2B_API_KEY"]}


def post(path, headers, content=b"{}"):
    return CLIENT.post(path, headers=headers, content=content)


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/sandboxes/%s", 404),
        ("DELETE", "/sandboxes/%s", 404),
        ("POST", "/sandboxes/%s/timeout", 404),
        ("POST", "/v2/sandboxes/%s/connect", 404),
        ("POST", "/sandboxes/%s/pause", 404),
        ("POST", "/sandboxes/%s/fork", 404),
        ("POST", "/sandboxes/%s/snapshots", 404),
        ("GET", "/sandboxes/%s/metrics", 404),
        ("GET", "/health", 502),
        ("GET", "/contexts", 502),
        ("POST", "/contexts", 502),
        ("POST", "/contexts/default/restart", 502),
        ("DELETE", "/contexts/0198c2f0-6b7c-7def-8abc-0123456789ab", 502),
        ("POST", "/execute", 502),
        ("GET", "/files?path=a", 502),
        ("POST", "/files?path=a", 502),
        ("POST", "/filesystem.Filesystem/Stat", 503),
        ("POST", "/filesystem.Filesystem/ListDir", 503),
        ("POST", "/filesystem.Filesystem/Remove", 503),
        ("POST", "/filesystem.Filesystem/CreateWatcher", 503),
        ("POST", "/process.Process/List", 503),
        ("POST", "/process.Process/SendSignal", 503),
    ],
)
def test_another_tenant(sandbox, method, path, status):
    """The sandbox of another tenant is one that never was."""
    body = {"timeout": 5, "code": "1", "path": "a", "process": {"pid": 1}}
    answers = []
    for sandbox_id in (sandbox.sandbox_id, "0" * 32):
        headers = dict(OTHER, **{"E2b-Sandbox-Id": sandbox_id})
        url = path % sandbox_id if "%s" in path else path
        got = CLIENT.request(method, url, headers=headers, json=body if method == "POST" else None)
        answers.append((got.status_code, got.text.replace(sandbox_id, "ID")))
    assert answers[0] == answers[1] and answers[0][0] == status


def test_token_of_another_sandbox(sandbox):
    other = Sandbox.create(timeout=1800)
    headers = {"E2b-Sandbox-Id": other.sandbox_id, "X-Access-Token": sandbox._envd_access_token}
    assert post("/execute", headers, b'{"code": "1"}').status_code == 401
    assert post("/process.Process/List", dict(UNARY, **headers)).json()["code"] == "unauthenticated"
    other.kill()


def test_token_is_no_key(sandbox):
    """The token of a sandbox is for calls to it, and opens, lists and ends none."""
    headers = {"E2b-Sandbox-Id": sandbox.sandbox_id, "X-Access-Token": sandbox._envd_access_token}
    assert CLIENT.get("/health", headers=headers).status_code == 204
    for method, path in (("GET", "/v2/sandboxes"), ("POST", "/v2/sandboxes"), ("DELETE", "/sandboxes/" + sandbox.sandbox_id)):
        assert CLIENT.request(method, path, headers=headers).status_code == 401


def test_keys(sandbox):
    with pytest.raises(AuthenticationException):
        Sandbox.create(api_key="e2b_00")
    with pytest.raises(SandboxNotFoundException):
        Sandbox.connect("0" * 32)
    assert CLIENT.get("/sandboxes").json().keys() == {"code", "message"}


def test_snapshot_of_another_tenant(sandbox):
    """It is one that never was, by its id and by its name, and is no sandbox."""
    for name in ("", "of-one"):
        taken = sandbox.create_snapshot(name=name or None)
        identity = taken.snapshot_id
        assert CLIENT.post("/v2/sandboxes", headers=OTHER, json={"templateID": identity}).status_code == 404
        assert CLIENT.delete("/templates/" + quote(identity, safe=""), headers=OTHER).status_code == 404
        assert CLIENT.get("/snapshots", headers=OTHER).json() == []
        assert CLIENT.get("/snapshots", headers=OTHER, params={"sandboxID": sandbox.sandbox_id}).json() == []
        own = {"X-API-Key": os.environ["E2B_API_KEY"]}
        assert CLIENT.get("/sandboxes/" + identity.split(":")[0], headers=own).status_code == 404
        assert CLIENT.delete("/templates/" + quote(identity, safe=""), headers=own).status_code == 204
    for bad in ({"name": "a b"}, {"name": "x" * 200}, {"name": "a:b:c"}, {"name": "../x"}, {"memory": False}):
        assert CLIENT.post("/sandboxes/%s/snapshots" % sandbox.sandbox_id, headers=own, json=bad).status_code == 400


def test_debug(to):
    """The sandbox of the debug mode is one for each key, and needs one where Kaa has keys."""
    debug = {"E2b-Sandbox-Id": "debug_sandbox_id"}
    assert CLIENT.post("/execute", headers=debug, json={"code": "1"}).status_code == 401
    assert '"42"' in CLIENT.post("/execute", headers=dict(to, **debug), json={"code": "x = 41; x + 1"}).text
    assert "NameError" in CLIENT.post("/execute", headers=dict(OTHER, **debug), json={"code": "x"}).text
    for headers in (dict(to, **debug), OTHER):
        assert CLIENT.delete("/sandboxes/debug_sandbox_id", headers=headers).status_code == 204


def test_templates():
    with pytest.raises(SandboxException, match="nothing-of-mine"):
        Sandbox.create(template="nothing-of-mine")


@pytest.mark.parametrize("path", ["/sandboxes/x/y/z", "/e2b/nothing", "/contexts/a/b/c", "/e2b/volumes"])
def test_unknown_routes(to, path):
    for method in ("GET", "POST", "PATCH"):
        got = CLIENT.request(method, path, headers=to)
        assert got.status_code == 404 and got.json()["code"] == 404 and got.json()["message"]


def test_unknown_methods(to):
    assert post("/process.Process/Nothing", dict(to, **UNARY)).json()["code"] == "unimplemented"
    assert CLIENT.get("/process.Process/List", headers=to).status_code == 501


def test_unknown_fields(to):
    got = post("/execute", to, b'{"code": "1", "new": {"x": [1]}}')
    assert got.status_code == 200 and "end_of_execution" in got.text
    assert post("/filesystem.Filesystem/Stat", dict(to, **UNARY), b'{"path": "/tmp", "new": 1}').status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"code": 1}', b"\xff\xfe", b'{"timeout": "x"}'])
def test_bodies(to, body):
    for path in ("/sandboxes/%s/timeout" % to["E2b-Sandbox-Id"], "/filesystem.Filesystem/Stat"):
        got = post(path, dict(to, **UNARY), body)
        assert got.status_code == 200 or got.status_code in (400, 404) and "message" in got.json()


@pytest.mark.parametrize(
    "content, code",
    [
        (struct.pack(">BI", 0, 1000) + b"{}", "internal"),  # ends half-way: the word of connect-go
        (struct.pack(">BI", 0, 0xFFFFFFFF), "resource_exhausted"),  # 4 GiB are announced
        (struct.pack(">BI", 1, 2) + b"{}", "internal"),  # compressed, without a coding
        (b"\x00\x00", "internal"),
        (b"", "unimplemented"),
        (struct.pack(">BI", 0, 1) + b"{", "invalid_argument"),
        (struct.pack(">BI", 0, 2) + b"{}", "invalid_argument"),  # no command
    ],
)
def test_envelopes(to, content, code):
    got = post("/process.Process/Start", dict(to, **STREAM), content)
    flags, size = struct.unpack(">BI", got.content[:5])
    assert got.status_code == 200 and flags == 2 and len(got.content) == 5 + size
    assert '"%s"' % code in got.text


@pytest.mark.parametrize(
    "content, code",
    [
        (struct.pack(">BI", 0, 1000) + b"\x0a\x00", "internal"),
        (struct.pack(">BI", 0, 3) + b"\x0a\x05ab", "invalid_argument"),  # cut within a field
        (struct.pack(">BI", 0, 0), "invalid_argument"),  # no command
        (struct.pack(">BI", 0, 2) + b"{}", "invalid_argument"),
        (struct.pack(">BI", 0, 4) + b"\x9a\x06\x01x", "invalid_argument"),  # an unknown field, and no command
    ],
)
def test_binary_envelopes(to, content, code):
    got = post("/process.Process/Start", dict(to, **{"Content-Type": "application/connect+proto", "Connect-Protocol-Version": "1"}), content)
    flags, size = struct.unpack(">BI", got.content[:5])
    assert got.status_code == 200 and flags == 2 and len(got.content) == 5 + size
    assert '"%s"' % code in got.text


def test_large_messages(to):
    """64 MB are refused with an error of the protocol."""
    large = b'{"path": "' + b"x" * (64 << 20) + b'"}'
    try:
        got = post("/filesystem.Filesystem/Stat", dict(to, **UNARY), large)
    except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
        return  # the server has answered and closed, and httpx sends all before it reads
    assert got.json()["code"] == "resource_exhausted"


def test_forms(to):
    got = post("/files", dict(to, **{"Content-Type": "multipart/form-data; boundary=x"}), b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf')
    assert got.status_code == 400 and got.json()["code"] == 400
    assert post("/files", dict(to, **{"Content-Type": "application/octet-stream"}), b"x").status_code == 400
    wrong = dict(to, **{"Content-Type": "application/octet-stream", "Content-Encoding": "gzip"})
    assert post("/files?path=a", wrong, b"no gzip").status_code == 400
    assert CLIENT.get("/files?path=/tmp", headers=to).status_code == 400
    assert CLIENT.get("/files?path=none", headers=to).status_code == 404
