"""Requests of Moodle's CodeRunner against a Kaa at KAA_URL: runs with files that the server asks for, outcomes, languages."""

import base64
import hashlib
import os

import httpx
import pytest

# CodeRunner appends this path to the host that is configured: kaa:8080/jobe.
CLIENT = httpx.Client(
    base_url=os.environ["KAA_URL"] + "/jobe/jobe/index.php/restapi",
    timeout=300,
    headers={"X-API-KEY": os.environ["KAA_API_KEY"], "User-Agent": "CodeRunner", "X-CodeRunner-Job-Id": "0a1b2c3d"},
)
SYNTAX_ERROR, RUNTIME_ERROR, TIME_LIMIT, OK = 11, 12, 13, 15


def execute(code, input="", files=(), language="python3", **parameters):
    """Submits a run, and puts its files if the server does not have them, as CodeRunner does."""
    spec = {
        "language_id": language, "sourcecode": code, "sourcefilename": "__tester__." + language, "input": input,
        "file_list": [[hashlib.md5(content).hexdigest(), name] for name, content in files],
    }
    if parameters:
        spec["parameters"] = parameters
    answer = CLIENT.post("/runs", json={"run_spec": spec})
    if answer.status_code == 404:
        for _, content in files:
            body = {"file_contents": base64.b64encode(content).decode()}
            assert CLIENT.put("/files/" + hashlib.md5(content).hexdigest(), json=body).status_code == 204
        answer = CLIENT.post("/runs", json={"run_spec": spec})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_languages():
    answer = CLIENT.get("/languages").json()
    assert "python3" in [name for name, version in answer]


def test_run():
    ran = execute("print(input()[::-1])", "abc\n")
    assert (ran["outcome"], ran["stdout"], ran["stderr"], ran["cmpinfo"]) == (OK, "cba\n", "", "")


def test_files():
    content = os.urandom(16).hex().encode()
    files = [("data.txt", content), ("more.py", b"n = 3")]
    code = "import more\nprint(open('data.txt').read(), more.n)"
    assert execute(code, files=files)["stdout"] == content.decode() + " 3\n"
    assert CLIENT.head("/files/" + hashlib.md5(content).hexdigest()).status_code == 204
    assert execute(code, files=files)["outcome"] == OK  # nothing is sent again
    assert CLIENT.head("/files/" + hashlib.md5(b"never sent").hexdigest()).status_code == 404


@pytest.mark.parametrize(
    "code, parameters, outcome",
    [
        ("print(", {}, SYNTAX_ERROR),
        ("1 / 0", {}, RUNTIME_ERROR),
        ("while True: pass", {"cputime": 1}, TIME_LIMIT),
        ("import sys; assert sys.argv[1:] == ['a', 'b']", {"runargs": ["a", "b"], "cputime": 60, "memorylimit": 500}, OK),
    ],
)
def test_outcomes(code, parameters, outcome):
    assert execute(code, **parameters)["outcome"] == outcome


def test_refusals():
    spec = {"language_id": "c", "sourcecode": "int main() {}", "sourcefilename": "a.c", "input": "", "file_list": []}
    answer = CLIENT.post("/runs", json={"run_spec": spec})
    assert answer.status_code == 400 and "'c'" in answer.json()
    assert CLIENT.get("/languages", headers={"X-API-KEY": "wrong"}).status_code in (401, 403)
