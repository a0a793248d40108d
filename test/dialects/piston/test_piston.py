"""A client of Piston's API for Python against a Kaa at KAA_URL."""

import asyncio
import os

import pytest
from ultra_piston import File, PistonClient
from ultra_piston.errors import BadRequestError, NotFoundError, UnexpectedStatusError
from ultra_piston.http_clients import HTTPXClient

URL, KEY = os.environ["KAA_URL"] + "/piston/api/v2", os.environ["KAA_API_KEY"]


class Patient(HTTPXClient):
    """The client waits for 5 s, which is too short on a busy machine."""

    def _get_http_payload(self, endpoint=""):
        return super()._get_http_payload(endpoint) | {"timeout": 300}


def client(key=KEY):
    return PistonClient(api_key=key, base_url=URL, rate_limit=0, http_client=Patient)


def run(code, language="python", **options):
    return client().post_execute(language, "*", File(name="main", content=code), run_timeout=300_000, **options)


def test_runtimes():
    python, bash = client().get_runtimes()
    assert (python.language, python.version.partition(".")[0], bash.language) == ("python", "3", "bash") and "py" in python.aliases
    assert client().get_packages() == []


def test_execute():
    ran = run("import sys\nprint(input(), sys.argv[1:])\nsys.exit(3)", "py", stdin="in", args=["a", "b c"])
    assert (ran.language, ran.run.stdout, ran.run.stderr, ran.run.code, ran.run.signal) == ("python", "in ['a', 'b c']\n", "", 3, None)
    failed = run("1 / 0")
    assert failed.run.code == 1 and "ZeroDivisionError" in failed.run.stderr and failed.run.output == failed.run.stderr
    assert run("echo $1; exit 2", "bash", args=["hi"]).run.stdout == "hi\n"


def test_limits():
    ended = client().post_execute("python", "3", File(content="while True: pass"), run_timeout=300)
    assert (ended.run.code, ended.run.signal) == (None, "SIGKILL")


def test_refusals():
    with pytest.raises(BadRequestError):
        run("fn main() {}", "rust")
    with pytest.raises(NotFoundError):
        client().post_packages("python", "3.12.0")
    with pytest.raises(UnexpectedStatusError, match="401"):
        client("wrong").get_runtimes()


def test_async():
    async def use():
        return await client().post_execute_async("python", "3", File(content="print(6 * 7)"), run_timeout=300_000)

    assert asyncio.run(use()).run.stdout == "42\n"
