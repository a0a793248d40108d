"""Tools for agents of LangChain and LangGraph: `create_agent(model, tools=kaa.langchain.tools(session))`."""

from __future__ import annotations

from typing import Any

from langchain_core.tools import BaseTool, StructuredTool

from .agents import Toolbox
from .errors import KaaError
from .session import Session


def tools(session: Session, *, timeout: float = 60.0, size: int = 8000) -> list[BaseTool]:
    """Return a session as tools: `run_python`, `run_command`, `read_file` and `write_file`.

    `size` bounds the text for the model. The artifact of `run_python` and of `run_command` is the whole result, with charts and tables.
    """
    box = Toolbox(session, timeout=timeout, size=size)

    def run_python(code: str) -> tuple[str, Any]:
        try:
            return box.python(code)
        except KaaError as error:
            return f"[{error}]", None

    def run_command(command: str) -> tuple[str, Any]:
        try:
            return box.command(command)
        except KaaError as error:
            return f"[{error}]", None

    made: list[BaseTool] = []
    for function, described in ((run_python, box.run_python), (run_command, box.run_command)):
        made.append(StructuredTool.from_function(function, description=described.__doc__, response_format="content_and_artifact"))
    return made + [StructuredTool.from_function(box.functions[name]) for name in ("read_file", "write_file")]
