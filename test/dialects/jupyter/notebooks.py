"""The notebooks of notebooks/: their execution by nbclient, and the comparison of what they show.

Each notebook has the outputs that ipykernel makes, without tracebacks and with the heads of pictures only. The metadata
of a cell whose outputs differ in Kaa has the name of the difference, as docs/dialects/jupyter.md lists it, and Kaa's
outputs. KAA_RECORD=1 writes the outputs of a test into the notebooks instead of comparing them.
"""

import base64
import functools
import io
import json
import math
import os
import re
import time
import zipfile
from pathlib import Path

# A busy machine needs longer than the clients wait.
os.environ.update(JUPYTER_GATEWAY_REQUEST_TIMEOUT="300", JUPYTER_GATEWAY_CONNECT_TIMEOUT="300")

import nbformat
import requests
import websocket
from jupyter_server.gateway import managers
from jupyter_server.gateway.gateway_client import GatewayClient
from nbclient import NotebookClient

# The tests are started in the root of the project.
FOLDER = Path("test/dialects/jupyter/notebooks")
PAGE = Path("docs/dialects/jupyter.md")
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
# The others take more processor time than `make test` has; test/dialects/jupyter-beside has them.
SHORT = ["errors", "input", "shell", "values"]
RECORD = bool(os.environ.get("KAA_RECORD"))
URL, KEY = os.environ["KAA_URL"] + "/jupyter", os.environ["KAA_API_KEY"]
HEADERS = {"Authorization": "token " + KEY}


def load(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", 4)


def write(name, book):
    text = json.dumps(book, indent=1, ensure_ascii=False, sort_keys=True)
    (FOLDER / f"{name}.ipynb").write_text(text + "\n")


def differences():
    """The names of the differences that the page lists."""
    section = PAGE.read_text().partition("## Beside ipykernel\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([a-z-]+)` \|", section, re.M)


def use_gateway(monkeypatch):
    """Points the manager of a gateway at Kaa. Its client sends the token with HTTP only, so the WebSocket gets it here."""
    client = GatewayClient.instance()
    client.url, client.auth_token, client.headers = URL, KEY, json.dumps(HEADERS)
    connect = functools.partial(websocket.create_connection, header=["Authorization: token " + KEY])
    monkeypatch.setattr(websocket, "create_connection", connect)
    monkeypatch.setattr(managers.ChannelQueue, "_async_get", calm(managers.ChannelQueue._async_get))


def calm(get):
    """The client of a gateway asks its queues without a pause, which takes the processor that Kaa needs."""

    async def _async_get(self, timeout=None):
        end = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            try:
                return await get(self, timeout=0)
            except managers.Empty:
                if time.monotonic() > end:
                    raise
            await managers.asyncio.sleep(0.002)

    return _async_get


def widgets():
    """A zip of ipywidgets and what it needs besides IPython, for kernels whose Python lacks them."""
    import comm
    import ipywidgets

    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for package in comm, ipywidgets:
            folder = Path(package.__file__).parent
            for path in folder.rglob("*.py"):
                if "tests" not in path.parts:
                    archive.write(path, path.relative_to(folder.parent))
    return data.getvalue()


def put(kernel, name, data):
    """Writes a file into the working directory of a kernel of Kaa."""
    body = {"type": "file", "format": "base64", "content": base64.b64encode(data).decode()}
    requests.put(f"{URL}/api/contents/{kernel}/{name}", json=body, headers=HEADERS, timeout=300).raise_for_status()


def execute(book, prepare=None, **options):
    """Executes a notebook. prepare is called with the kernel before the first cell."""
    client = NotebookClient(book, timeout=600, startup_timeout=600, iopub_timeout=600, allow_errors=True, **options)
    if prepare is not None:
        client.km = client.create_kernel_manager()
        client.start_new_kernel()
        prepare(client.km)
    client.execute()
    return book


def in_kaa(name):
    """Executes a notebook in Kaa."""
    prepare = None
    if name == "widgets":
        prepare = lambda kernel: put(kernel.kernel_id, "widgets.zip", widgets())
    return execute(load(name), prepare, kernel_name="python3", kernel_manager_class=managers.GatewayKernelManager)


def compare(name, monkeypatch):
    """Executes a notebook in Kaa, and compares what it shows with what it has."""
    use_gateway(monkeypatch)
    book, wrong = load(name), []
    for cell, done in zip(book.cells, in_kaa(name).cells):
        kept, got, expected = cell.metadata.get("kaa", {}), seen(done), seen(cell)
        if RECORD and "differs" in kept:
            kept["shows"] = got
        elif "differs" in kept and got == expected:
            wrong.append(f"{cell.id}: there is no difference any more")
        elif got != kept.get("shows", expected):
            wrong.append(f"{cell.id}: {cell.source}\n     kept: {kept.get('shows', expected)}\n  instead: {got}")
    if RECORD:
        write(name, book)
    assert not wrong, "\n".join(wrong)


def seen(cell):
    """What a reader sees below a cell: without tracebacks, names of cells, addresses, ids of widgets, and contents of pictures."""
    shown = []
    for output in cell.outputs:
        kind = output.output_type
        if kind == "stream":
            if shown and shown[-1][:2] == ["stream", output.name]:
                shown[-1][2] += plain(output.text)
            else:
                shown.append(["stream", output.name, plain(output.text)])
        elif kind == "error":
            shown.append(["error", output.ename, plain(output.evalue)])
        else:
            data = {mime: form(mime, value) for mime, value in output.data.items()}
            shown.append([kind, data, dict(output.metadata), output.get("execution_count")])
    return json.loads(json.dumps([cell.execution_count, shown]))


def packages(text):
    """A text without the directories in which the packages of the kernel are."""
    return re.sub(r"""[^\s"']*/site-packages/""", "…/site-packages/", text)


def plain(text):
    text = packages(text)
    text = re.sub(r"\b0x[0-9a-fA-F]{6,}", "0x…", text)
    text = re.sub(r"\b\d+(\.\d+)? (ns|[µμ]s|ms|s)\b", "… s", text)  # of %time
    return re.sub(r"<stdin-\d+>|(/tmp/ipykernel_\d+/)?\b\d{4,}\.py\b", "<cell>", text)


def form(mime, value):
    if mime == "application/vnd.jupyter.widget-view+json":
        return dict(value, model_id="")
    if mime == "image/jpeg":
        return "JPEG"
    if mime == "image/png":
        head = base64.b64decode(value)[:24]
        return f"PNG of {int.from_bytes(head[16:20], 'big')} x {int.from_bytes(head[20:24], 'big')}"
    return plain(value) if isinstance(value, str) else value


def trimmed(outputs):
    """The outputs as they are kept: what seen leaves out is cut off."""
    for output in outputs:
        output.get("metadata", {}).pop("transient", None)
        if output.output_type == "error":
            output.traceback = []
        if output.output_type == "stream":
            output.text = packages(output.text)
        for mime in "image/png", "image/jpeg":
            if mime in output.get("data", {}):
                output.data[mime] = base64.b64encode(base64.b64decode(output.data[mime])[:33]).decode()
    return outputs
