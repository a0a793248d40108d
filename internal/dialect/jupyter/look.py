# Looks at the variables of an interpreter for Jupyter's clients. It is executed with names, request and mark, in a
# namespace of its own. It runs no property and no __getattr__ of the user's objects.
import builtins
import codeop
import functools
import inspect
import json
import keyword
import pkgutil
import re
import sys
import warnings

MOST = 500


def member(value, name):
    found = inspect.getattr_static(value, name)
    if isinstance(found, (property, functools.cached_property)):
        raise AttributeError(name)
    if inspect.ismodule(value) or inspect.isclass(value):
        return getattr(value, name)
    if isinstance(found, (staticmethod, classmethod)) or inspect.isroutine(found):
        return object.__getattribute__(value, name)
    if hasattr(type(found), "__get__") and not inspect.isclass(found):
        raise AttributeError(name)
    return found


def resolve(path):
    first, *rest = path.split(".")
    value = names[first] if first in names else getattr(builtins, first)
    for name in rest:
        value = member(value, name)
    return value


def fitting(all_names, begin):
    return sorted(
        n for n in set(all_names) if isinstance(n, str) and n.startswith(begin) and (begin.startswith("_") or not n.startswith("_"))
    )


def complete(code, pos):
    before = code[:pos]
    token = re.search(r"(?:[^\W\d]\w*\.)*(?:[^\W\d]\w*)?$", before).group()
    path, dot, begin = token.rpartition(".")
    line = before.rpartition("\n")[2]
    matches = []
    if before[: len(before) - len(token)].endswith((".", ")", "]", "'", '"')):
        pass  # a member of what would have to be executed
    elif dot:
        try:
            value = resolve(path)
            matches = [path + "." + n for n in fitting(dir(value), begin)]
        except Exception:
            pass
    elif re.match(r"\s*(?:import|from)\s+\w*$", line):
        matches = fitting([*sys.stdlib_module_names, *(m.name for m in pkgutil.iter_modules())], begin)
    elif begin or not line.strip():
        matches = fitting([*names, *dir(builtins), *keyword.kwlist], begin)
    return {
        "status": "ok",
        "matches": matches[:MOST],
        "cursor_start": pos - len(token),
        "cursor_end": pos,
        "metadata": {},
    }


def inspected(code, pos, detail):
    begin = re.search(r"[\w.]*$", code[:pos]).group()
    end = re.match(r"\w*", code[pos:]).group()
    token = (begin + end).strip(".")
    if not token and code[:pos].endswith("("):
        token = re.search(r"[\w.]*$", code[: pos - 1]).group().strip(".")
    missing = {"status": "ok", "found": False, "data": {}, "metadata": {}}
    try:
        value = resolve(token)
    except Exception:
        return missing
    lines = []
    try:
        lines.append("Signature: " + token + str(inspect.signature(value)))
    except Exception:
        pass
    lines.append("Type:      " + type(value).__name__)
    doc = inspect.getdoc(value) if isinstance(getattr(type(value), "__doc__", None), (str, type(None))) else None
    if isinstance(doc, str) and doc:
        lines.append("Docstring:\n" + doc[:20000])
    if detail:
        try:
            lines.append("Source:\n" + inspect.getsource(value)[:20000])
        except Exception:
            pass
    return {"status": "ok", "found": True, "data": {"text/plain": "\n".join(lines)}, "metadata": {}}


def is_complete(code):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compiled = codeop.compile_command(code, "<input>", "exec")
        except (SyntaxError, OverflowError, ValueError):
            return {"status": "invalid"}
    if compiled is not None:
        return {"status": "complete"}
    last = code.rstrip().rpartition("\n")[2]
    indent = last[: len(last) - len(last.lstrip())]
    return {"status": "incomplete", "indent": indent + ("    " if last.endswith(":") else "")}


asked = json.loads(request)
if asked["do"] == "complete":
    answer = complete(asked["code"], asked["pos"])
elif asked["do"] == "inspect":
    answer = inspected(asked["code"], asked["pos"], asked["detail"])
else:
    answer = is_complete(asked["code"])
sys.stdout.write(mark + json.dumps(answer) + mark + "\n")
