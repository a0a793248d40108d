"""Functions of the caller that the code may call while it runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Union, get_type_hints

from ._steps import Call, Request, Steps, at, send
from .errors import Conflict
from .events import Event

Functions = Union[Mapping[str, Callable[..., Any]], Iterable[Callable[..., Any]], None]

_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", tuple: "array", dict: "object"}


class Tools:
    """Functions by name."""

    def __init__(self, functions: Functions = None) -> None:
        if isinstance(functions, Mapping):
            self._functions = dict(functions)
        else:
            self._functions = {function.__name__: function for function in functions or ()}

    def __bool__(self) -> bool:
        return bool(self._functions)

    def offer(self) -> dict[str, Any]:
        """Return the field of a request that offers them."""
        return {"functions": [describe(name, function) for name, function in self._functions.items()]} if self else {}

    def answer(self, job: str, event: Event) -> Steps[None]:
        """Call the function that the code has called, and send its value or its error."""
        data = event.data
        function = self._functions[data["name"]]
        try:
            value = yield Call(function, tuple(data.get("positional") or ()), data.get("arguments") or {})
            reply: dict[str, Any] = {"value": value}
        except Exception as error:  # it belongs to the code, which may catch it
            text = error.args[0] if len(error.args) == 1 and isinstance(error.args[0], str) else str(error)  # a KeyError quotes it
            reply = {"error": {"name": type(error).__name__, "message": text}}
        path = at("jobs", job, "calls", str(data["callId"]))
        try:
            yield from send(Request("POST", path, json=reply, read=30.0))
        except TypeError as error:
            yield from send(Request("POST", path, json={"error": {"name": "TypeError", "message": f"the value is no JSON: {error}"}}, read=30.0))
        except Conflict:
            pass  # the code does not wait any more


def describe(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    """Return the name, the description and the schema of a function, of its signature and its docstring."""
    try:
        hints = get_type_hints(function)
    except Exception:  # an annotation that cannot be evaluated here says nothing
        hints = {}
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    required = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        hint = hints.get(parameter.name)
        kind = _TYPES.get(getattr(hint, "__origin__", hint) or object)
        schema["properties"][parameter.name] = {"type": kind} if kind else {}
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    if required:
        schema["required"] = required
    described = {"name": name, "schema": schema}
    if function.__doc__:
        described["description"] = inspect.cleandoc(function.__doc__)
    return described
