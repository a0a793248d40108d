"""The source of a function with all that it needs, as a program."""

from __future__ import annotations

import ast
import dis
import inspect
import json
import sysconfig
import textwrap
import types
from collections.abc import Callable
from typing import Any

from .errors import Unserializable

VALUE = "application/vnd.kaa.value+json"

# It reads the arguments from standard input, and shows the value in a form of its own.
_CALL = '''
class __Value:
    def __init__(self, value):
        import base64, json
        if isinstance(value, (bytes, bytearray)):
            self.form = {"base64": base64.b64encode(value).decode()}
        else:
            self.form = {"json": json.dumps(value, allow_nan=True)}
    def __repr__(self):
        return "the value of %(name)s"
    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"%(type)s": self.form}
def __call():
    import asyncio, inspect, json, sys
    args, kwargs = json.loads(sys.stdin.read())
    value = %(name)s(*args, **kwargs)
    return __Value(asyncio.run(value) if inspect.iscoroutine(value) else value)
__call()
'''


def program_of(function: Callable[..., Any]) -> str:
    """Return a program that calls a function with the arguments on its standard input."""
    parts: dict[str, str] = {}
    _collect(function, parts)
    return "\n".join(["from __future__ import annotations", *parts.values()]) + _CALL % {"name": function.__name__, "type": VALUE}


def _collect(function: Callable[..., Any], parts: dict[str, str]) -> None:
    """Add the source of a function, and of the globals that it names, in the order in which they are needed."""
    name = function.__name__
    if name in parts:
        return
    if inspect.getclosurevars(function).nonlocals:
        names = ", ".join(inspect.getclosurevars(function).nonlocals)
        raise Unserializable(f"{name} uses {names} of the function around it; pass it as an argument")
    parts[name] = ""  # it may call itself
    source = _source(function)
    for used in _names(function.__code__):
        if used in function.__globals__:
            _add(name, used, function.__globals__[used], parts)
    del parts[name]
    parts[name] = source


def _add(user: str, name: str, value: Any, parts: dict[str, str]) -> None:
    if name in parts:
        return
    value = getattr(value, "__wrapped_function__", value)
    if isinstance(value, types.ModuleType):
        parts[name] = f"import {value.__name__} as {name}" if value.__name__ != name else f"import {name}"
    elif isinstance(value, types.FunctionType) and _own(value) and value.__name__ == name:
        _collect(value, parts)
    elif isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)) and getattr(value, "__module__", None):
        if value.__module__ == "__main__" or "<locals>" in value.__qualname__:
            raise Unserializable(f"{user} uses {name}, which is defined beside it and is no function; define it within {user}")
        parts[name] = f"from {value.__module__} import {value.__name__} as {name}"
    else:
        try:
            parts[name] = f"{name} = {_literal(value)}"
        except (TypeError, ValueError):
            kind = type(value).__name__
            raise Unserializable(f"{user} uses {name}, a {kind}, which has no form that can be sent; pass the needed part as an argument") from None


def _own(function: types.FunctionType) -> bool:
    """Whether a function is the caller's, and none of an installed package."""
    file = function.__code__.co_filename
    return "site-packages" not in file and not file.startswith(sysconfig.get_paths()["stdlib"])


def _literal(value: Any) -> str:
    json.dumps(value, allow_nan=False)  # what has no JSON is no constant
    text = repr(value)
    ast.literal_eval(text)
    return text


def _names(code: types.CodeType) -> list[str]:
    """Return the global names that a function and those within it use."""
    names = [step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names += _names(constant)
    return [name for name in dict.fromkeys(names) if not name.startswith("__")]


def _source(function: Callable[..., Any]) -> str:
    """Return the source of a function without its decorators."""
    try:
        source = textwrap.dedent(inspect.getsource(function))
        tree = ast.parse(source)
    except (OSError, TypeError, SyntaxError):
        raise Unserializable(f"the source of {function.__name__} is not there; define it in a file or a cell with def") from None
    node = tree.body[0]
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        raise Unserializable(f"{function.__name__} is no function that def has defined")
    return "".join(source.splitlines(keepends=True)[node.lineno - 1 : node.end_lineno])
