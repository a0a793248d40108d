"""LangChain's tools for Azure dynamic sessions against a Kaa at KAA_URL."""

import io
import json
import os

from langchain_azure_dynamic_sessions import SessionsBashTool, SessionsPythonREPLTool

SETTINGS = {
    "pool_management_endpoint": os.environ.get("KAA_URL", "http://127.0.0.1:8080") + "/azure/",
    "access_token_provider": lambda: os.environ.get("KAA_API_KEY", "any"),
}


def test_python():
    tool = SessionsPythonREPLTool(**SETTINGS)
    assert json.loads(tool.invoke("6 * 7")) == {"result": 42, "stdout": "", "stderr": ""}
    tool.invoke("x = 5")
    assert json.loads(tool.invoke("print(x)"))["stdout"] == "5\n"
    made = tool.upload_file(data=io.BytesIO(b"1,2"), remote_file_path="in.csv")
    assert (made.filename, made.size_in_bytes) == ("in.csv", 3)
    assert json.loads(tool.invoke("print(open('/mnt/data/in.csv').read())"))["stdout"] == "1,2\n"
    assert [f.filename for f in tool.list_files()] == ["in.csv"]
    assert tool.download_file(remote_file_path="in.csv").read() == b"1,2"


def test_bash():
    tool = SessionsBashTool(**SETTINGS)
    assert json.loads(tool.invoke("echo hi; exit 3")) == {"stdout": "hi\n", "stderr": "", "exitCode": 3}
    tool.upload_file(data=io.BytesIO(b"a"), remote_file_path="a.txt")
    assert [f.filename for f in tool.list_files()] == ["a.txt"]
