"""The client of SandboxFusion against a Kaa at KAA_URL."""

import base64
import os

from sandbox_fusion import RunCodeRequest, RunJupyterRequest, run_code, run_jupyter

URL = os.environ.get("KAA_URL", "http://127.0.0.1:8080").replace("://", "://kaa:" + os.environ.get("KAA_API_KEY", "any") + "@") + "/sandboxfusion"


def run(**fields):
    return run_code(RunCodeRequest(**{"run_timeout": 60, **fields}), endpoint=URL, max_attempts=1)


def test_run_code():
    ran = run(code="print(input())", language="python", stdin="in")
    assert ran.status == "Success"
    assert ran.run_result.stdout == "in\n"
    assert ran.run_result.return_code == 0


def test_failures():
    assert run(code="raise SystemExit(3)", language="python").run_result.return_code == 3
    assert run(code="while True: pass", language="python", run_timeout=0.5).run_result.status == "TimeLimitExceeded"
    try:
        run(code="int main() {}", language="cpp")
    except Exception as failure:
        assert "422" in str(failure)
    else:
        raise AssertionError("C++ was executed")


def test_files():
    ran = run(
        code="open('out', 'w').write(open('in').read() * 2)", language="python",
        files={"in": base64.b64encode(b"hi").decode()}, fetch_files=["out"],
    )
    assert base64.b64decode(ran.files["out"]) == b"hihi"


def test_jupyter():
    ran = run_jupyter(RunJupyterRequest(cells=["a = 1", "a + 1", "print(a)"], total_timeout=300), endpoint=URL, max_attempts=1)
    assert ran.status == "Success"
    assert ran.cells[1].display[0]["text/plain"] == "2"
    assert ran.cells[2].stdout == "1\n"
