"""Programs that have code executed on a Jupyter server, with a Kaa in its place."""

import asyncio
import json
import sys
import uuid

import aiohttp
import nbformat
import papermill
import pytest
import websockets
from autogen_core import CancellationToken
from autogen_core.code_executor import CodeBlock
from autogen_ext.code_executors.docker_jupyter import DockerJupyterCodeExecutor
from autogen_ext.code_executors.docker_jupyter._jupyter_server import JupyterConnectionInfo
from smolagents import FinalAnswerTool
from smolagents.monitoring import AgentLogger, LogLevel
from smolagents.remote_executors import DockerExecutor, RemotePythonExecutor, _create_kernel_http
from smolagents.utils import AgentError

sys.path.insert(0, "test/dialects/jupyter")
import notebooks
from notebooks import KEY, URL

MANAGER = "jupyter_server.gateway.managers.GatewayKernelManager"


def run_papermill(monkeypatch, folder, *sources, **parameters):
    notebooks.use_gateway(monkeypatch)
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    book = nbformat.v4.new_notebook(cells=cells, metadata={"language_info": {"name": "python"}, "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}})
    nbformat.write(book, folder / "in.ipynb")
    return papermill.execute_notebook(
        folder / "in.ipynb", folder / "out.ipynb", parameters, kernel_name="python3", kernel_manager_class=MANAGER, progress_bar=False, start_timeout=600, iopub_timeout=600
    )


def test_papermill(monkeypatch, tmp_path):
    book = run_papermill(monkeypatch, tmp_path, "n = 1", "print('n is', n)\nn * 2", n=21)
    assert [c.execution_count for c in book.cells] == [1, 2, 3]
    assert book.cells[2].outputs[0].text == "n is 21\n" and book.cells[2].outputs[1].data["text/plain"] == "42"
    assert nbformat.read(tmp_path / "out.ipynb", 4).metadata.papermill.exception is None


def test_papermill_error(monkeypatch, tmp_path):
    with pytest.raises(papermill.PapermillExecutionError, match="ZeroDivisionError"):
        run_papermill(monkeypatch, tmp_path, "n = 0", "1 / n")
    kept = nbformat.read(tmp_path / "out.ipynb", 4)
    assert kept.metadata.papermill.exception is True


class Executor(DockerExecutor):
    """smolagents' executor for a Jupyter server, which is there already: no container is started."""

    def __init__(self):
        RemotePythonExecutor.__init__(self, [], AgentLogger(level=LogLevel.OFF))
        kernel = _create_kernel_http(f"{URL}/api/kernels?token={KEY}", self.logger)
        self.ws_url = f"{URL.replace('http', 'ws', 1)}/api/kernels/{kernel}/channels?token={KEY}"


def test_smolagents():
    executor = Executor()
    executor.send_tools({"final_answer": FinalAnswerTool()})
    executor.send_variables({"x": 5, "names": ["a", "b"]})
    step = executor("print('names', names)\nx + 1")
    assert (step.output, step.logs, step.is_final_answer) == ("6", "names ['a', 'b']\n", False)
    with pytest.raises(AgentError, match="ZeroDivisionError"):
        executor("x / 0")
    last = executor("final_answer({'sum': x + 1})")
    assert (last.output, last.is_final_answer) == ({"sum": 6}, True)


def test_autogen(tmp_path):
    async def use():
        server = JupyterConnectionInfo(host=URL.partition("://")[2], use_https=False, token=KEY)
        async with DockerJupyterCodeExecutor(jupyter_server=server, timeout=600, output_dir=tmp_path) as executor:

            async def execute(*blocks):
                return await executor.execute_code_blocks([CodeBlock(code, "python") for code in blocks], CancellationToken())

            both = await execute("x = 6", "print(x * 7)")
            assert (both.exit_code, both.output.strip()) == (0, "42")
            picture = await execute("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()")
            assert picture.exit_code == 0 and [path.suffix for path in picture.output_files] == [".png"]
            table = await execute("import pandas as pd\npd.DataFrame({'a': [1]})")
            assert table.exit_code == 0 and [path.suffix for path in table.output_files] == [".html"]
            failed = await execute("1 / 0")
            assert failed.exit_code == 1 and "ZeroDivisionError" in failed.output
            await executor.restart()
            assert "NameError" in (await execute("x")).output

    asyncio.run(use())


async def open_webui(code):
    """Makes the requests of Open WebUI's code interpreter: a kernel for each execution, and the token in the query."""
    shown = {"stdout": "", "stderr": "", "result": []}
    async with aiohttp.ClientSession(base_url=URL + "/") as session:
        async with session.post("api/kernels", params={"token": KEY}) as response:
            response.raise_for_status()
            kernel = (await response.json())["id"]
        async with websockets.connect(f"{URL.replace('http', 'ws', 1)}/api/kernels/{kernel}/channels?token={KEY}", open_timeout=300, ping_timeout=None) as socket:
            ours = uuid.uuid4().hex
            header = {"msg_id": ours, "msg_type": "execute_request", "username": "user", "session": uuid.uuid4().hex, "date": "", "version": "5.3"}
            content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False, "stop_on_error": True}
            await socket.send(json.dumps({"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}))
            while True:
                message = json.loads(await socket.recv())
                kind, content = message["msg_type"], message["content"]
                if message["parent_header"].get("msg_id") != ours:
                    continue
                if kind == "stream":
                    shown[content["name"]] += content["text"]
                elif kind in ("execute_result", "display_data"):
                    shown["result"].append(content["data"].get("image/png") or content["data"].get("text/plain"))
                elif kind == "error":
                    shown["stderr"] += "\n".join(content["traceback"])
                elif kind == "status" and content["execution_state"] == "idle":
                    break
        async with session.delete(f"api/kernels/{kernel}", params={"token": KEY}) as response:
            response.raise_for_status()
    return shown


def test_open_webui():
    assert asyncio.run(open_webui("print('hi')\n20 + 1")) == {"stdout": "hi\n", "stderr": "", "result": ["21"]}
    failed = asyncio.run(open_webui("1 / 0"))
    assert "ZeroDivisionError: division by zero" in failed["stderr"]
    picture = asyncio.run(open_webui("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"))
    assert [result.startswith("iVBOR") for result in picture["result"]] == [True]
