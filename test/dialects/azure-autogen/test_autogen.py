"""AutoGen's code executor for Azure dynamic sessions against a Kaa at KAA_URL."""

import asyncio
import os

from autogen_core import CancellationToken
from autogen_core.code_executor import CodeBlock
from autogen_ext.code_executors.azure import ACADynamicSessionsCodeExecutor
from azure.core.credentials import AccessToken


class Key:
    """The key of Kaa as a token of Azure."""

    def get_token(self, *scopes, **options):
        return AccessToken(os.environ["KAA_API_KEY"], 2**40)


def executor(work_dir):
    return ACADynamicSessionsCodeExecutor(
        pool_management_endpoint=os.environ["KAA_URL"] + "/azure", credential=Key(), timeout=200, work_dir=str(work_dir)
    )


def test_code(tmp_path):
    async def use():
        box, token = executor(tmp_path), CancellationToken()
        run = lambda *code: box.execute_code_blocks([CodeBlock(code=c, language="python") for c in code], token)
        ran = await run("x = 41", "print('out')\nx + 1")
        assert ran.exit_code == 0 and "out\n42" in ran.output, ran
        failed = await run("1 / 0")
        assert failed.exit_code == 1 and "ZeroDivisionError" in failed.output

    asyncio.run(use())


def test_files(tmp_path):
    async def use():
        (tmp_path / "in.txt").write_text("hi")
        box, token = executor(tmp_path), CancellationToken()
        await box.upload_files(["in.txt"], token)
        ran = await box.execute_code_blocks([CodeBlock(code="open('out.txt', 'w').write(open('in.txt').read() * 2)", language="python")], token)
        assert ran.exit_code == 0, ran
        assert sorted(await box.get_file_list(token)) == ["in.txt", "out.txt"]
        await box.download_files(["out.txt"], token)
        assert (tmp_path / "out.txt").read_text() == "hihi"

    asyncio.run(use())


def test_restart(tmp_path):
    async def use():
        box, token = executor(tmp_path), CancellationToken()
        run = lambda code: box.execute_code_blocks([CodeBlock(code=code, language="python")], token)
        assert (await run("x = 1")).exit_code == 0
        await box.restart()
        ran = await run("x")
        assert ran.exit_code == 1 and "NameError" in ran.output, ran

    asyncio.run(use())
