"""The functions that a caller offers to the code, as the code sees them: see calls.py.

Standard library only, Python 3.8 and later.
"""

import json
import keyword
import sys

from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

OVERHEAD = 256  # bytes that a call counts beside its arguments
encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
TYPES = {"string": str, "integer": int, "number": float, "boolean": bool, "array": list, "object": dict, "null": None}


class CallError(Exception):
    """A call to a function of the caller has failed. name is the error's name as the caller gave it."""

    name = ""


CallError.__module__ = "builtins"
errors: dict = {}  # subclasses by name


def error_class(name):
    """Return the class of errors with a name. It is also a subclass of Python's exception with that
    name, so that the code can catch either."""
    if not name or not name.isidentifier() or name == "CallError":
        return CallError
    found = errors.get(name)
    if found is None:
        known = BUILTINS.get(name)
        bases: tuple = (CallError,)
        if isinstance(known, type) and issubclass(known, Exception) and not issubclass(known, (StopIteration, StopAsyncIteration)):
            bases = (CallError, known)
        try:
            found = type(name, bases, {"__module__": "builtins", "__doc__": CallError.__doc__})
            found("")  # some need more than a message
        except Exception:
            found = type(name, (CallError,), {"__module__": "builtins", "__doc__": CallError.__doc__})
        if len(errors) < 1000:
            errors[name] = found
    return found


def failure(name, message):
    error = error_class(name)(message)
    error.name = name
    return error


class Omitted:
    """The default of a parameter that the caller of the function may leave out."""

    def __repr__(self):
        return "<omitted>"


class Function:
    """A function of the caller. Outside of an event loop it returns the answer. Inside of one it
    returns a coroutine, to be awaited."""

    def __init__(self, calls, offer):
        self.__name__ = self.__qualname__ = offer["name"]
        self.__module__ = "__main__"
        self.__doc__ = offer.get("description") or None
        self._calls, self._schema = calls, offer.get("schema")
        self._epoch = calls.epoch
        self._names, self._required, self._more = parameters(self._schema)

    def __call__(self, *args, **kwargs):
        if is_in_loop():
            return self._calls.coroutine(self, args, kwargs)
        return self._calls.wait(self, args, kwargs)

    def sync(self, *args, **kwargs):
        """Call it and wait for the answer, also inside of an event loop, which stands still meanwhile."""
        return self._calls.wait(self, args, kwargs)

    def aio(self, *args, **kwargs):
        """Return a coroutine that calls it, also outside of an event loop."""
        return self._calls.coroutine(self, args, kwargs)

    def __repr__(self):
        try:
            return "<function %s%s of the caller>" % (self.__name__, self.__signature__)
        except Exception:
            return "<function %s of the caller>" % self.__name__

    def __reduce_ex__(self, protocol):
        raise TypeError("cannot pickle %s: a function of the caller works only in the process of the code" % self.__name__)

    @property
    def __signature__(self):
        return signature(self)


Function.__module__ = "__main__"


def parameters(schema):
    """Return the names of the parameters, or None if the schema has none; those that are required;
    and whether there may be others."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        return None, (), True
    required = schema.get("required")
    required = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    names = [name for name in properties if name in required] + [name for name in properties if name not in required]
    return names, required, bool(schema.get("additionalProperties", False))


def signature(function):
    import inspect

    kinds, names = inspect.Parameter, function._names
    if names is None:
        found = [kinds("args", kinds.VAR_POSITIONAL), kinds("kwargs", kinds.VAR_KEYWORD)]
        return inspect.Signature(found)
    found, more = [], function._more
    for name in names:
        if not name.isidentifier() or keyword.iskeyword(name):
            more = True
            continue
        about = function._schema["properties"][name]
        about = about if isinstance(about, dict) else {}
        kind = about.get("type")
        known = isinstance(kind, str) and kind in TYPES
        default = kinds.empty if name in function._required else about.get("default", Omitted())
        found.append(kinds(name, kinds.POSITIONAL_OR_KEYWORD, default=default, annotation=TYPES[kind] if known else kinds.empty))
    if more:
        taken = [p.name for p in found]
        name = "kwargs"
        while name in taken:
            name += "_"
        found.append(kinds(name, kinds.VAR_KEYWORD))
    return inspect.Signature(found)


def bind(function, args, kwargs):
    """Return the arguments by name, and the others."""
    names, title = function._names, function.__name__
    if names is None:
        return kwargs, args
    if len(args) > len(names):
        raise TypeError("%s() takes at most %d positional arguments but %d were given" % (title, len(names), len(args)))
    found = dict(zip(names, args))
    for name, value in kwargs.items():
        if name in found:
            raise TypeError("%s() got multiple values for argument '%s'" % (title, name))
        if name not in names and not function._more:
            raise TypeError("%s() got an unexpected keyword argument '%s'" % (title, name))
        found[name] = value
    missing = [name for name in function._required if name not in found]
    if missing:
        raise TypeError("%s() missing required arguments: %s" % (title, ", ".join(map(repr, missing))))
    return found, ()


def to_json(value, depth):
    try:
        text = encode(value)
    except RecursionError:
        raise ValueError("the arguments are nested deeper than %d" % depth) from None
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("the arguments have surrogate characters, which JSON in UTF-8 cannot have") from None
    if data.count(b"[") + data.count(b"{") > depth and deeper(value, depth):
        raise ValueError("the arguments are nested deeper than %d" % depth)
    return data


def deeper(value, depth):
    level, at = [value], 0
    while level:
        at += 1
        inner: list = []
        for one in level:
            if isinstance(one, dict):
                inner.extend(one.values())
            elif isinstance(one, (list, tuple)):
                inner.extend(one)
        if at > depth and any(isinstance(one, (dict, list, tuple)) for one in level):
            return True
        level = inner
    return False


def running_loop():
    """Return the event loop that runs in this thread, or None. The functions of asyncio also return
    a session's loop that does not run."""
    events = sys.modules.get("asyncio.events")
    get = getattr(events, "_get_running_loop", None)
    return get() if get is not None else None


def is_in_loop():
    return running_loop() is not None


def ended(title):
    return failure("CallError", "%s() cannot be called: its caller offered it to an execution that has ended; offer it again" % title)
