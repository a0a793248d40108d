"""Requests of LibreChat's code tools (npm @librechat/agents) against a Kaa at KAA_URL: executions, files, and code that calls tools."""

import os

import httpx

CLIENT = httpx.Client(
    base_url=os.environ["KAA_URL"] + "/librechat",
    timeout=300,
    headers={"X-API-Key": os.environ["KAA_API_KEY"], "User-Agent": "LibreChat/1.0"},
)


def execute(code, lang="py", **more):
    answer = CLIENT.post("/exec", json={"lang": lang, "code": code, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_exec():
    ran = execute("import sys; print('out', sys.argv[1:]); print('err', file=sys.stderr)", args=["a"])
    assert (ran["stdout"], ran["stderr"]) == ("out ['a']\n", "err\n")
    assert ran["session_id"] and not ran["files"]
    assert "ZeroDivisionError" in execute("1 / 0")["stderr"]
    assert execute("echo $((6 * 7))", "bash")["stdout"] == "42\n"
    assert CLIENT.post("/exec", json={"lang": "rs", "code": "1"}).status_code == 400


def test_files():
    ran = execute("open('/mnt/data/out.csv', 'w').write('1,2')")
    (made,) = ran["files"]
    assert made["name"] == "out.csv"
    assert CLIENT.get(f"/download/{ran['session_id']}/{made['id']}").content == b"1,2"
    # The next call gets the file, as the host of the tool injects it.
    injected = {"id": made["id"], "name": "out.csv", "session_id": ran["session_id"], "storage_session_id": ran["session_id"]}
    assert execute("print(open('/mnt/data/out.csv').read())", files=[injected])["stdout"] == "1,2\n"


def test_upload():
    answer = CLIENT.post("/upload", files={"file": ("in.txt", b"hi", "text/plain")}, data={"entity_id": "agent"})
    assert answer.status_code == 200, answer.text
    up = answer.json()
    file = up["files"][0]
    session = up.get("storage_session_id") or up["session_id"]
    file = {"id": file.get("fileId") or file["id"], "name": "in.txt", "session_id": session}
    assert execute("print(open('in.txt').read() * 2)", files=[file])["stdout"] == "hihi\n"


TOOLS = [
    {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]


def programmatic(**body):
    answer = CLIENT.post("/exec/programmatic", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_programmatic():
    code = """
import asyncio
print('once')
one = await weather(city='Ulm')
two, three = await asyncio.gather(weather(city='Bonn'), weather(city='Kiel'))
print(one, two, three)
open('/mnt/data/log.txt', 'w').write(str(one))
"""
    response, rounds = programmatic(code=code, tools=TOOLS, timeout=300_000), []
    while response["status"] == "tool_call_required":
        rounds.append(sorted(call["input"]["city"] for call in response["tool_calls"]))
        results = [{"call_id": c["id"], "result": c["input"]["city"] + " 20", "is_error": False} for c in response["tool_calls"]]
        response = programmatic(continuation_token=response["continuation_token"], tool_results=results)
    assert response["status"] == "completed", response
    assert rounds[0] == ["Ulm"] and sorted(sum(rounds[1:], [])) == ["Bonn", "Kiel"]  # on a busy machine the two do not come together
    assert response["stdout"] == "once\nUlm 20 Bonn 20 Kiel 20\n"
    assert [f["name"] for f in response["files"]] == ["log.txt"]


def test_tool_that_fails():
    code = "try:\n    await weather(city='x')\nexcept Exception as failure:\n    print('failed:', failure)"
    response = programmatic(code=code, tools=TOOLS, timeout=300_000)
    (call,) = response["tool_calls"]
    results = [{"call_id": call["id"], "result": None, "is_error": True, "error_message": "no such city"}]
    response = programmatic(continuation_token=response["continuation_token"], tool_results=results)
    assert response["status"] == "completed" and "no such city" in response["stdout"]
