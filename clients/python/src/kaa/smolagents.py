"""An executor for the code of smolagents' CodeAgent: `CodeAgent(…, executor=KaaExecutor(session))`."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from smolagents.local_python_executor import CodeOutput, PythonExecutor

from .session import Session


class KaaExecutor(PythonExecutor):
    """Executes the code of an agent in a session. Its tools run here: the code calls them with JSON."""

    def __init__(self, session: Session, *, timeout: float = 60.0) -> None:
        self._session = session
        self._timeout = timeout
        self._tools: dict[str, Callable[..., Any]] = {}
        self._named: set[str] = set()  # the tools that code has named so far

    def send_tools(self, tools: Mapping[str, Callable[..., Any]]) -> None:
        """Have the code call tools. `final_answer` is among them."""
        self._tools = {name: _function(tool) for name, tool in tools.items()}

    def send_variables(self, variables: Mapping[str, Any]) -> None:
        """Set variables, which have to be JSON."""
        if variables:
            self._session.run("import json, sys; globals().update(json.load(sys.stdin))", stdin=json.dumps(variables), check=True)

    def __call__(self, code_action: str) -> CodeOutput:
        """Execute code. The value is the argument of `final_answer`, else the text of the last expression."""
        answers: list[Any] = []

        def final_answer(answer: Any) -> Any:
            answers.append(self._tools["final_answer"](answer) if "final_answer" in self._tools else answer)
            return answers[-1]

        # Code without functions takes one request. Functions of former code may call a tool again.
        functions = {**self._tools, "final_answer": final_answer}
        self._named |= {name for name in functions if name in code_action}
        functions = {name: function for name, function in functions.items() if name in self._named}
        result = self._session.run(code_action, functions=functions, timeout=self._timeout, check=True)
        value = result.value
        return CodeOutput(output=answers[0] if answers else value and value.text, logs=result.stdout, is_final_answer=bool(answers))

    def cleanup(self) -> None:
        """The session is the caller's, who ends it."""


def _function(tool: Callable[..., Any]) -> Callable[..., Any]:
    """Return a tool as a function with its parameters and its description."""
    forward = getattr(tool, "forward", tool)

    def function(*args: Any, **kwargs: Any) -> Any:
        return tool(*args, **kwargs)

    functools.update_wrapper(function, forward, assigned=("__annotations__",))
    parameters = [parameter for name, parameter in inspect.signature(forward).parameters.items() if name != "self"]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__doc__ = getattr(tool, "description", tool.__doc__)
    return function
