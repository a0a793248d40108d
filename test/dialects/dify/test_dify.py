"""Requests of Dify's executor of code nodes and templates against a Kaa at KAA_URL: the runner around the code, its answer and its errors."""

import base64
import json
import os
import re

import httpx
import pytest

CLIENT = httpx.Client(
    base_url=os.environ["KAA_URL"] + "/dify", timeout=300, headers={"X-Api-Key": os.environ["KAA_API_KEY"]}
)
# Dify puts the code of a node above a few lines that call its function.
CODE_NODE = """%s

import json
from base64 import b64decode

inputs_obj = json.loads(b64decode('%s').decode('utf-8'))
output_obj = main(**inputs_obj)
output_json = json.dumps(output_obj, indent=4)
result = f'''<<RESULT>>{output_json}<<RESULT>>'''
print(result)
"""
TEMPLATE_NODE = """
def main(**inputs):
    import jinja2
    template = jinja2.Template('''%s''')
    return template.render(**inputs)

import json
from base64 import b64decode

inputs_obj = json.loads(b64decode('%s').decode('utf-8'))
output = main(**inputs_obj)
result = f'''<<RESULT>>{output}<<RESULT>>'''
print(result)
"""


def run(code, language="python3", preload=""):
    body = {"language": language, "code": code, "preload": preload, "enable_network": True}
    return CLIENT.post("/v1/sandbox/run", json=body)


def node(template, code, inputs):
    answer = run(template % (code, base64.b64encode(json.dumps(inputs, ensure_ascii=False).encode()).decode()))
    assert answer.status_code == 200
    data = answer.json()
    assert data["code"] == 0 and data["data"]["error"] == "", data
    return re.search("<<RESULT>>(.*)<<RESULT>>", data["data"]["stdout"], re.DOTALL).group(1)


def test_code_node():
    code = "def main(texts: list, n: int) -> dict:\n    return {'result': [t * n for t in texts], 'text': 'é'}"
    assert json.loads(node(CODE_NODE, code, {"texts": ["a", "ü"], "n": 2})) == {"result": ["aa", "üü"], "text": "é"}


def test_template_node():
    if run("import jinja2").json()["data"]["error"]:
        pytest.skip("the runtime has no jinja2")
    assert node(TEMPLATE_NODE, "Hello {{ name }}{% for i in [1, 2] %} {{ i }}{% endfor %}", {"name": "Ada"}) == "Hello Ada 1 2"


def test_errors():
    failed = run("def main():\n    return 1 / 0\nmain()").json()
    assert failed["code"] == 0 and "ZeroDivisionError" in failed["data"]["error"]
    other = run("console.log(1)", "nodejs")
    assert other.status_code == 400 and other.json()["code"] != 0
    wrong = CLIENT.post("/v1/sandbox/run", json={"language": "python3", "code": "1"}, headers={"X-Api-Key": "wrong"})
    assert wrong.status_code == 401 and wrong.json()["message"]


def test_preload():
    assert run("print(n)", preload="n = 3").json()["data"]["stdout"] == "3\n"


def test_health():
    assert CLIENT.get("/health").status_code == 200
