"""Semantic Kernel's plugin for Azure dynamic sessions against a Kaa at KAA_URL."""

import asyncio
import os
import sys
import types

import httpx
import pytest

# Semantic Kernel imports pybars for templates, which PyPI has as a source only.
sys.modules["pybars"] = types.ModuleType("pybars")
sys.modules["pybars"].Compiler = sys.modules["pybars"].PybarsError = type("Missing", (Exception,), {})

from semantic_kernel.core_plugins.sessions_python_tool.sessions_python_plugin import SessionsPythonTool  # noqa: E402
from semantic_kernel.exceptions.function_exceptions import FunctionExecutionException  # noqa: E402


class Plain(httpx.AsyncHTTPTransport):
    """The plugin takes addresses with https only. Here nothing decrypts them before Kaa."""

    async def handle_async_request(self, request):
        request.url = request.url.copy_with(scheme="http")
        return await super().handle_async_request(request)


def tool(key=os.environ["KAA_API_KEY"], **options):
    return SessionsPythonTool(
        auth_callback=lambda: key,
        pool_management_endpoint=os.environ["KAA_URL"].replace("http://", "https://") + "/azure/",
        http_client=httpx.AsyncClient(transport=Plain(), timeout=300),
        **options,
    )


def test_code():
    async def use():
        box = tool()
        await box.execute_code("x = 41")
        told = await box.execute_code("```python\nprint('out')\nx + 1\n```")
        assert "Result:\n42" in told and "Stdout:\nout\n" in told
        assert "ZeroDivisionError" in await box.execute_code("1 / 0")

    asyncio.run(use())


def test_files(tmp_path):
    async def use():
        box, local = tool(enable_dangerous_file_uploads=True, allowed_upload_directories=[str(tmp_path)]), tmp_path / "in.csv"
        local.write_text("1,2")
        made = await box.upload_file(local_file_path=str(local))
        assert (made.filename, made.size_in_bytes) == ("in.csv", 3)
        assert "1,2" in await box.execute_code("print(open('/mnt/data/in.csv').read())")
        assert [f.filename for f in await box.list_files()] == ["in.csv"]
        assert (await box.download_file(remote_file_name="in.csv")).read() == b"1,2"

    asyncio.run(use())


def test_wrong_key():
    with pytest.raises(FunctionExecutionException, match="401"):
        asyncio.run(tool("wrong").execute_code("1"))
