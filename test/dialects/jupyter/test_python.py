"""The smoke of Jupyter's clients for Python. KAA_URL and KAA_API_KEY say where Kaa is."""

import functools
import json
import os

# A busy machine needs longer than the clients wait.
os.environ.update(REQUEST_TIMEOUT="300", JUPYTER_GATEWAY_REQUEST_TIMEOUT="300", JUPYTER_GATEWAY_CONNECT_TIMEOUT="300")

import nbformat
import pytest
import websocket
from jupyter_client.session import Session
from jupyter_kernel_client import JupyterKernelClient
from jupyter_server.gateway.gateway_client import GatewayClient
from jupyter_server.gateway.managers import GatewayKernelManager
from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1, serialize_msg_to_ws_v1
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

URL, KEY = os.environ["KAA_URL"] + "/jupyter", os.environ["KAA_API_KEY"]


@pytest.fixture(scope="module")
def kernel():
    with JupyterKernelClient(server_url=URL, token=KEY) as client:
        yield client


def texts(reply, kind="stream"):
    return "".join(o.get("text", "") for o in reply["outputs"] if o["output_type"] == kind)


def test_execute(kernel):
    reply = kernel.execute("x = 20\nprint('hi')\nx + 1")
    assert reply["status"] == "ok" and texts(reply) == "hi\n"
    assert reply["outputs"][-1]["data"]["text/plain"] == "21"
    assert kernel.execute("x")["outputs"][0]["data"]["text/plain"] == "20"


def test_error(kernel):
    reply = kernel.execute("1/0")
    assert reply["status"] == "error" and reply["outputs"][0]["ename"] == "ZeroDivisionError"


def test_input(kernel):
    prompts = []

    def answer(message):
        prompts.append(message["content"]["prompt"])
        kernel._manager.client.input("Ada")

    reply = kernel.execute("print('hello', input('name? '))", allow_stdin=True, stdin_hook=answer, timeout=300)
    assert prompts == ["name? "] and texts(reply) == "hello Ada\n"


def test_interrupt(kernel):
    def interrupt(message):
        if message["msg_type"] == "stream":  # the code runs
            kernel.interrupt()

    reply = kernel.execute_interactive("print('begins', flush=True)\nwhile True: pass", output_hook=interrupt, timeout=300)
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    assert kernel.execute("x")["outputs"][0]["data"]["text/plain"] == "20"


def test_binary_subprotocol(kernel):
    """The client of Jupyter's server has its own code for v1; that of jupyter-kernel-client 1.0.2 fails with any server."""
    address = URL.replace("http", "ws") + f"/api/kernels/{kernel.id}/channels?token={KEY}"
    socket = websocket.create_connection(address, subprotocols=["v1.kernel.websocket.jupyter.org"], timeout=300)
    assert socket.subprotocol == "v1.kernel.websocket.jupyter.org"
    session = Session()
    message = session.msg("execute_request", {"code": "print(x)"})
    socket.send_binary(serialize_msg_to_ws_v1(message, "shell", session.pack))
    got = []
    while ("iopub", "status", "idle") not in got:
        channel, parts = deserialize_msg_from_ws_v1(socket.recv())
        header, parent, _, content = (json.loads(p) for p in parts)
        assert parent["msg_id"] == message["header"]["msg_id"]
        got.append((channel, header["msg_type"], content.get("execution_state", content.get("text", content.get("status")))))
    socket.close()
    assert got == [
        ("iopub", "status", "busy"),
        ("iopub", "execute_input", None),
        ("iopub", "stream", "20\n"),
        ("shell", "execute_reply", "ok"),
        ("iopub", "status", "idle"),
    ]


@pytest.fixture
def gateway(monkeypatch):
    """The manager of a gateway; its client sends the token with HTTP only, so the test adds it to the WebSocket."""
    client = GatewayClient.instance()
    client.url, client.auth_token, client.headers = URL, KEY, json.dumps({"Authorization": "token " + KEY})
    monkeypatch.setattr(websocket, "create_connection", functools.partial(websocket.create_connection, header=["Authorization: token " + KEY]))


def run(*cells, **options):
    """Executes a notebook with nbclient through the manager of a gateway."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    NotebookClient(book, timeout=600, startup_timeout=600, iopub_timeout=600, kernel_name="python3", kernel_manager_class=GatewayKernelManager, **options).execute()
    return [cell.outputs for cell in book.cells], [cell.execution_count for cell in book.cells]


def test_notebook(gateway):
    (a, b, c), counts = run("import sys\nprint('a')\nprint('b', file=sys.stderr)\n1 + 1", "y = 5", "y")
    assert [(o.output_type, o.get("name")) for o in a] == [("stream", "stdout"), ("stream", "stderr"), ("execute_result", None)]
    assert a[2].data["text/plain"] == "2" and b == [] and c[0].data["text/plain"] == "5" and counts == [1, 2, 3]


def test_notebook_error(gateway):
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        run("1/0", "1")
    (a, b), _ = run("1/0", "1", allow_errors=True)
    assert a[0].ename == "ZeroDivisionError" and b[0].data["text/plain"] == "1"


def test_notebook_input_is_refused(gateway):
    with pytest.raises(CellExecutionError, match="StdinNotImplementedError"):
        run("input()")
