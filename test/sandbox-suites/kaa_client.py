"""A session of Kaa, for the adapters of other projects' sandbox tests. It speaks Kaa's own API."""

from __future__ import annotations

import base64
import os
import time
from typing import Any

import httpx

INPUT = 256 << 10  # bytes of one call
OUTPUT = 8 << 20  # the ceiling of limits.outputBytes


class Refused(Exception):
    """A problem that Kaa answered with."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(problem["detail"])
        self.code: str = problem["code"]


class TooLarge(Exception):
    """A file has more bytes than the caller wants."""


class Session:
    def __init__(self, url: str | None = None, **options: Any) -> None:
        self.http = httpx.Client(base_url=url or os.environ["KAA_URL"], timeout=300)
        self.path = "/v1/sessions/" + self.call("POST", "/v1/sessions", json=options)["id"]

    def close(self) -> None:
        self.call("DELETE", self.path)
        self.http.close()

    def call(self, method: str, path: str, **request: Any) -> Any:
        answer = self.http.request(method, path, **request)
        if answer.is_error:
            raise Refused(answer.json())
        return answer.json() if answer.headers.get("content-type", "").startswith("application/json") else answer.content

    def run(self, command: str | list[str], stdin: str | bytes | None = None, **options: Any) -> dict[str, Any]:
        """Runs a line for the shell, or a program with its arguments, and returns the result."""
        body = {"command" if isinstance(command, str) else "argv": command, "limits": {"outputBytes": OUTPUT}, **options}
        if stdin is None:
            return self.call("POST", self.path + "/commands", json=body)
        command_path = f"{self.path}/commands/{self.call('POST', self.path + '/commands', json=body | {'background': True})['id']}"
        self.feed(command_path + "/input", stdin.encode() if isinstance(stdin, str) else stdin)
        while True:
            job = self.call("GET", command_path, params={"wait": "60s"})
            if job.get("result"):
                return job["result"]

    def feed(self, path: str, data: bytes) -> None:
        """Gives a command its input. One that ends early needs no more."""
        parts = [data[i : i + INPUT] for i in range(0, len(data), INPUT)] or [b""]
        for i, part in enumerate(parts):
            body = {"dataBase64": base64.b64encode(part).decode()} if part else {}
            if i == len(parts) - 1:
                body["end"] = True
            try:
                self.send(path, body)
            except Refused as problem:
                if problem.code == "command_ended":
                    return
                raise

    def send(self, path: str, body: dict[str, Any]) -> None:
        while True:
            try:
                return self.call("POST", path, json=body)
            except Refused as problem:
                if problem.code != "input_full":
                    raise
                time.sleep(0.01)  # the command reads what it has

    def read(self, path: str, most: int | None = None) -> bytes:
        with self.http.stream("GET", self.path + "/fs/content", params={"path": path}) as answer:
            if answer.is_error:
                answer.read()
                raise Refused(answer.json())
            if most is not None and int(answer.headers["content-length"]) > most:
                raise TooLarge
            return answer.read()

    def write(self, path: str, content: bytes, **options: Any) -> None:
        self.call("PUT", self.path + "/fs/content", params={"path": path, **options}, content=content)


def command_error(result: dict[str, Any]) -> str:
    """Name of the exception for which a program did not start, if it did not."""
    return (result.get("error") or {}).get("name", "") if result["status"] == "exit" else ""

