"""verl's client of SandboxFusion, which judges the code of models in training, against a Kaa at KAA_URL."""

import importlib.metadata
import importlib.util
import os

import pytest

# The module by itself: the package would import PyTorch.
(PATH,) = (f.locate() for f in importlib.metadata.files("verl") if str(f).endswith("reward_score/sandbox_fusion/utils.py"))
SPEC = importlib.util.spec_from_file_location("verl_sandbox_fusion", PATH)
client = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(client)

# It has no setting for a key.
URL = os.environ["KAA_URL"].replace("://", f"://kaa:{os.environ['KAA_API_KEY']}@") + "/sandboxfusion/run_code"
ADD = "a, b = map(int, input().split())\nprint(a + b)"


def test_call():
    answer, failure = client.call_sandbox_api(URL, ADD, "1 2", 60, 60, 1024, "python")
    assert failure is None
    assert answer["status"] == "Success" and answer["run_result"]["stdout"] == "3\n"


@pytest.mark.parametrize(
    "code, timeout, results",
    [
        (ADD, 60, [True, True]),
        ("print(3)", 60, [True, False]),
        ("1 / 0", 60, [-2, -2]),
        ("while True: pass", 2, [-3, -3]),
    ],
)
def test_judge(code, timeout, results):
    cases = {"inputs": ["1 2", "3 4"], "outputs": ["3\n", "7\n"]}
    got, metadata = client.check_correctness(URL, cases, code, timeout=timeout, language="python")
    assert got == results, metadata


def test_function():
    cases = {"fn_name": "add", "inputs": ["1\n2"], "outputs": ["3"]}
    got, metadata = client.check_correctness(URL, cases, "class Solution:\n    def add(self, a, b):\n        return a + b", timeout=60)
    assert got == [True], metadata
