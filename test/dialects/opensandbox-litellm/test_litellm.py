"""LiteLLM's sandbox tools, by which its code interpreter runs the code of models, with a Kaa at KAA_URL as the OpenSandbox."""

import asyncio
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would fetch a table of prices
os.environ["OPEN_SANDBOX_API_BASE"] = os.environ["KAA_URL"] + "/opensandbox/v1"
os.environ["OPEN_SANDBOX_API_KEY"] = os.environ["KAA_API_KEY"]

import litellm
import pytest


def test_tool():
    async def use():
        ran = await litellm.acode_interpreter_tool(provider="opensandbox", code="print(sum(range(10)))\n6 * 7")
        assert ran.stdout == "45\n" and ran.error is None
        assert "42" in str(ran.results)
        failed = await litellm.acode_interpreter_tool(provider="opensandbox", code="1/0")
        assert failed.error["name"] == "ZeroDivisionError" and failed.error["value"] == "division by zero"

    asyncio.run(use())


def test_sandbox():
    async def use():
        sandbox = await litellm.acreate_sandbox(provider="opensandbox", metadata={"chat": "1"})
        try:
            await litellm.arun_code(provider="opensandbox", container=sandbox, code="x = 41")
            ran = await litellm.arun_code(provider="opensandbox", container=sandbox, code="print(x + 1)")
            assert ran.stdout == "42\n"
        finally:
            assert await litellm.adelete_sandbox(provider="opensandbox", container=sandbox)
        assert not await litellm.adelete_sandbox(provider="opensandbox", container=sandbox)

    asyncio.run(use())


def test_wrong_key():
    with pytest.raises(Exception, match="401|key|Unauthorized"):
        asyncio.run(litellm.acode_interpreter_tool(provider="opensandbox", code="1", api_key="wrong"))
