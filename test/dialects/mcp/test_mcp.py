"""Smoke of the MCP dialect with the official SDK for Python, at the Kaa at KAA_URL."""

import asyncio
import os

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

URL = os.environ.get("KAA_URL", "http://127.0.0.1:8080")
KEY = os.environ.get("KAA_API_KEY", "")
KAA = os.environ["KAA_BIN"]


def over_http(mode):
    headers = {"Authorization": f"Bearer {KEY}"} if KEY else {}
    http = httpx2.AsyncClient(headers=headers, timeout=300)
    return Client(streamable_http_client(URL + "/mcp", http_client=http), mode=mode)


def over_stdio(mode):
    environ = {"KAA_URL": URL, "KAA_API_KEY": KEY, "PATH": os.environ["PATH"]}
    return Client(StdioServerParameters(command=KAA, args=["mcp"], env=environ), mode=mode)


def text(result):
    return "\n".join(c.text for c in result.content if c.type == "text")


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize("connect", [over_http, over_stdio])
def test_session(connect, mode):
    name = f"smoke-{connect.__name__}-{mode}".replace("_", "-")

    async def use():
        async with connect(mode) as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
            assert {"run_code", "run_code_fresh", "run_command", "read_file"} <= tools
            first = await client.call_tool("run_code", {"session": name, "code": "x = 41"})
            assert not first.is_error and "(new)" in text(first)
            second = await client.call_tool("run_code", {"session": name, "code": "x + 1"})
            assert text(second).startswith("42\n")
            failed = await client.call_tool("run_code", {"session": name, "code": "1 / 0"})
            assert failed.is_error and "ZeroDivisionError" in text(failed)
            long = await client.call_tool("run_code_fresh", {"code": "print('x' * 100_000)"})
            link = next(c for c in long.content if c.type == "resource_link")
            whole = await client.read_resource(str(link.uri))
            assert len(whole.contents[0].text) > 100_000
            ended = await client.call_tool("end_session", {"session": name})
            assert not ended.is_error

    asyncio.run(use())
