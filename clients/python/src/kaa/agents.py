"""Tools for models: a session as the tools of OpenAI's and Anthropic's APIs, and of any other that takes JSON schemas."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Callable, Mapping
from typing import Any, Union

from .errors import KaaError
from .result import Result
from .session import Session

Arguments = Union[str, Mapping[str, Any]]

_MIDDLE = "\n... [{} characters left out] ...\n"


def observation(result: Result, size: int = 8000) -> str:
    """Return what a model should see of a result: what it shows, how it ended, its files. The middle of a long text is left out."""
    text = str(result)
    if len(text) > size:
        text = text[: size // 2] + _MIDDLE.format(len(text) - size) + text[-(size - size // 2) :]
    notes = []
    if result.status == "exit" and not result.ok:
        notes.append(f"exit code {result.exit_code}")
    if result.pngs:
        notes.append(f"pictures: {len(result.pngs)}")
    if len(result.files):
        notes.append("files: " + ", ".join(result.files))
    return "\n".join(part for part in (text, *(f"[{note}]" for note in notes)) if part) or "[no output]"


class Toolbox:
    """A session as tools of a model: `run_python`, `run_command`, `read_file` and `write_file`.

    Errors of the code, and of Kaa, are texts for the model: an agent's loop goes on after them.
    """

    def __init__(self, session: Session, *, timeout: float = 60.0, size: int = 8000) -> None:
        self.session = session
        self._timeout = timeout
        self._size = size
        # The tools by name. They return an error of Kaa as a text.
        self.functions: dict[str, Callable[..., str]] = {
            function.__name__: _guarded(function) for function in (self.run_python, self.run_command, self.read_file, self.write_file)
        }

    def run_python(self, code: str) -> str:
        """Run Python code in a session. Variables, imports and files stay for the next call. Returns the output and the value of the last expression."""
        return self.python(code)[0]

    def run_command(self, command: str) -> str:
        """Run a line of a shell beside the Python session, among the same files. Returns its output."""
        return self.command(command)[0]

    def python(self, code: str) -> tuple[str, Result]:
        """Run Python code, and return the text for a model, and the result."""
        result = self.session.run(code, timeout=self._timeout)
        return observation(result, self._size), result

    def command(self, command: str) -> tuple[str, Result]:
        """Run a line of a shell, and return the text for a model, and the result."""
        result = self.session.commands.run(command, timeout=self._timeout)
        return observation(result, self._size), result

    def read_file(self, path: str) -> str:
        """Return the text of a file."""
        text = self.session.files.read(path).decode("utf-8", "replace")
        return text if len(text) <= self._size else text[: self._size] + _MIDDLE.format(len(text) - self._size)

    def write_file(self, path: str, content: str) -> str:
        """Write a text to a file, and replace the file if there is one."""
        self.session.files.write(path, content)
        return f"wrote {len(content)} characters to {path}"

    def schemas(self) -> list[dict[str, Any]]:
        """Return name, description and JSON schema of each tool."""
        from ._tools import describe

        found = []
        for name, function in self.functions.items():
            described = describe(name, function)
            found.append({**described, "schema": {**described["schema"], "additionalProperties": False}})
        return found

    def openai(self, responses: bool = False) -> list[dict[str, Any]]:
        """Return `tools` for OpenAI's chat completions, or for its responses."""
        functions = [{"name": tool["name"], "description": tool["description"], "parameters": tool["schema"], "strict": True} for tool in self.schemas()]
        return [{"type": "function", **function} if responses else {"type": "function", "function": function} for function in functions]

    def anthropic(self) -> list[dict[str, Any]]:
        """Return `tools` for Anthropic's messages."""
        return [{"name": tool["name"], "description": tool["description"], "input_schema": tool["schema"]} for tool in self.schemas()]

    def call(self, name: str, arguments: Arguments) -> str:
        """Call a tool with the arguments that a model has sent, and return the text for it."""
        try:
            if isinstance(arguments, str):
                arguments = json.loads(arguments or "{}")
            if name not in self.functions:
                return f"[there is no tool {name}; the tools are {', '.join(self.functions)}]"
            return self.functions[name](**_mapping(arguments))
        except (TypeError, ValueError) as error:
            return f"[the arguments of {name} are wrong: {error}]"

    def answer_openai(self, message: Any) -> list[dict[str, Any]]:
        """Call the tools of a message of a chat completion, and return the messages with their answers."""
        calls = _get(message, "tool_calls") or []
        return [
            {
                "role": "tool",
                "tool_call_id": _get(call, "id"),
                "content": self.call(_get(_get(call, "function"), "name"), _get(_get(call, "function"), "arguments")),
            }
            for call in calls
        ]

    def answer_anthropic(self, message: Any) -> dict[str, Any]:
        """Call the tools of a message of Anthropic's API, and return the message with their answers. Pictures are among them."""
        content = []
        for block in _get(message, "content") or []:
            if _get(block, "type") != "tool_use":
                continue
            pictures: list[bytes] = []
            if _get(block, "name") == "run_python" and isinstance(_get(block, "input"), Mapping):
                answer, pictures = self._with_pictures(_get(block, "input"))
            else:
                answer = self.call(_get(block, "name"), _get(block, "input"))
            parts: list[dict[str, Any]] = [{"type": "text", "text": answer}]
            for picture in pictures:
                source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(picture).decode()}
                parts.append({"type": "image", "source": source})
            content.append({"type": "tool_result", "tool_use_id": _get(block, "id"), "content": parts})
        return {"role": "user", "content": content}

    def openai_agents(self) -> list[Any]:
        """Return `tools` for an agent of OpenAI's Agents SDK (`openai-agents`)."""
        from agents import function_tool

        return [function_tool(function) for function in self.functions.values()]

    def pydantic_ai(self) -> Any:
        """Return a toolset for an agent of Pydantic AI (`pydantic-ai-slim`)."""
        from pydantic_ai import FunctionToolset

        return FunctionToolset([*self.functions.values()])

    def _with_pictures(self, arguments: Mapping[str, Any]) -> tuple[str, list[bytes]]:
        try:
            text, result = self.python(**arguments)
        except KaaError as error:
            return f"[{error}]", []
        except TypeError as error:
            return f"[the arguments of run_python are wrong: {error}]", []
        return text, result.pngs


def _guarded(function: Callable[..., str]) -> Callable[..., str]:
    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> str:
        try:
            return function(*args, **kwargs)
        except KaaError as error:
            return f"[{error}]"

    return guarded


def _mapping(arguments: Any) -> Mapping[str, Any]:
    if not isinstance(arguments, Mapping):
        raise TypeError("they are no object")
    return arguments


def _get(thing: Any, name: str) -> Any:
    """Return a member of an object of an SDK, or of the same as a dictionary."""
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)
