# Looks at the variables of an interpreter for Jupyter's clients. It is executed with names, request and mark, in a
# namespace of its own. No code of the user's objects runs: no property, no __getattr__, no __dir__, no __repr__. So it
# reads the dictionaries of objects and classes, asks for types by type() only, and compares them by identity.
import builtins
import codeop
import inspect
import json
import keyword
import linecache
import pkgutil
import re
import sys
import types
import warnings

MOST, LONGEST = 500, 20000
MISSING = object()
BUILTIN = (
    types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType, types.MethodWrapperType,
    types.ClassMethodDescriptorType,
)
BINDABLE = (types.FunctionType, types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType)
PLACES = tuple({sys.prefix + "/", sys.base_prefix + "/"})


def of_type(name):
    """Return a function that reads an attribute of a class, past its metaclass."""
    return type.__dict__[name].__get__


mro, space, module_of, name_of, qualified, flags = map(
    of_type, ("__mro__", "__dict__", "__module__", "__name__", "__qualname__", "__flags__")
)


def is_in_c(kind):
    return not flags(kind) & 1 << 9  # Py_TPFLAGS_HEAPTYPE


def is_class(value):
    return issubclass(type(value), type)


def in_class(kind, name):
    for base in mro(kind):
        found = space(base).get(name, MISSING)
        if found is not MISSING:
            return found
    return MISSING


def own(value):
    """Return the dictionary of an object."""
    if is_class(value):
        return space(value)
    found = in_class(type(value), "__dict__")
    if type(found) in (types.GetSetDescriptorType, types.MemberDescriptorType):
        try:
            found = found.__get__(value)
        except Exception:
            return {}
        if type(found) is dict:
            return found
    return {}


def is_installed(kind):
    """Report whether a class, and all that it inherits from, is Python's or of an installed package."""
    for base in mro(kind):
        module = module_of(base)
        if module == "builtins" and is_in_c(base):
            continue
        found = sys.modules.get(module) if type(module) is str else None
        path = own(found).get("__file__") if type(found) is types.ModuleType else None
        if type(path) is not str or not path.startswith(PLACES):
            return False
    return True


def bind(found, value, kind):
    """Return what an attribute of a class is for a value, or None as the value for the class itself."""
    if type(found) is staticmethod:
        return found.__func__
    if type(found) is classmethod and type(found.__func__) is types.FunctionType:
        return types.MethodType(found.__func__, kind)
    if type(found) in BINDABLE or value is not None and type(found) is types.MemberDescriptorType:
        return found.__get__(value, kind)
    if in_class(type(found), "__get__") is not MISSING:
        raise AttributeError
    return found


def member(value, name):
    found = in_class(value if is_class(value) else type(value), name)
    if is_class(value):
        if found is MISSING:
            raise AttributeError(name)
        return bind(found, None, value)
    mine = own(value).get(name, MISSING)
    if mine is not MISSING and (found is MISSING or in_class(type(found), "__set__") is MISSING):
        return mine
    if found is MISSING:
        raise AttributeError(name)
    return bind(found, value, type(value))


def resolve(path):
    first, *rest = path.split(".")
    value = names[first] if first in names else builtins.__dict__[first]
    for name in rest:
        value = member(value, name)
    return value


def attributes(value):
    """Return the names of the attributes of an object. __dir__ is that of installed packages: pandas adds columns there."""
    kind = type(value)
    found = set(own(value))
    for base in mro(value if is_class(value) else kind):
        found.update(space(base))
    if type(value) is types.ModuleType and type(own(value).get("__all__")) is list:
        found.update(n for n in own(value)["__all__"] if type(n) is str)
    if type(in_class(kind, "__dir__")) is types.FunctionType and is_installed(kind):
        found.update(dir(value))
    return found


def fitting(all_names, begin):
    return sorted(
        {n for n in all_names if type(n) is str and n.startswith(begin) and (begin.startswith("_") or not n.startswith("_"))}
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
            matches = [path + "." + n for n in fitting(attributes(resolve(path)), begin)]
        except Exception:
            pass
    elif re.match(r"\s*(?:import|from)\s+\w*$", line):
        matches = fitting([*sys.stdlib_module_names, *(m.name for m in pkgutil.iter_modules())], begin)
    elif begin or not line.strip():
        matches = fitting([*names, *builtins.__dict__, *keyword.kwlist], begin)
    return {
        "status": "ok",
        "matches": matches[:MOST],
        "cursor_start": pos - len(token),
        "cursor_end": pos,
        "metadata": {},
    }


class Text:
    """Has a text as its repr."""

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text


def default(value):
    if type(value) in (int, float, complex, bool, str, bytes, type(None), type(...)):
        return repr(value)[:200]
    if type(value) in (tuple, list, dict, set) and not value:
        return repr(value)
    if is_class(value) or type(value) in (types.FunctionType, types.BuiltinFunctionType):
        return annotation(value)
    return "<" + name_of(type(value)) + ">"


def annotation(value, depth=0):
    if type(value) is str:
        return value
    if is_class(value):
        return "None" if value is type(None) else qualified(value)
    if type(value) in (types.FunctionType, types.BuiltinFunctionType):
        return value.__name__
    if value is None or value is ...:
        return "..." if value else "None"
    of_builtin = type(value) in (types.GenericAlias, getattr(types, "UnionType", None))
    parts = value.__args__ if of_builtin else own(value).get("__args__")
    if type(parts) is tuple and depth < 5:
        inner = [annotation(part, depth + 1) for part in parts]
        if type(value) is not types.GenericAlias and of_builtin:
            return " | ".join(inner)
        origin = value.__origin__ if of_builtin else own(value).get("__origin__")
        return annotation(own(value).get("_name") or origin, depth + 1) + "[" + ", ".join(inner) + "]"
    name = own(value).get("_name")
    return name if type(name) is str else "<" + name_of(type(value)) + ">"


def function_of(value):
    """Return the function that a call runs and the number of its parameters that are bound, or None."""
    bound = 0
    if is_class(value):
        found = in_class(value, "__init__")
        if type(found) is not types.FunctionType:
            found = in_class(value, "__new__")
            found = found.__func__ if type(found) is staticmethod else found
        value, bound = found, 1
    elif type(value) is types.MethodType:
        value, bound = value.__func__, 1
    for _ in range(100):
        if type(value) is not types.FunctionType:
            break
        if "__wrapped__" not in value.__dict__:
            return value, bound
        value = value.__dict__["__wrapped__"]
    return None


def signature(value):
    if type(value) in BUILTIN or is_class(value) and is_in_c(value):
        return str(inspect.signature(value))
    found = function_of(value)
    if found is None or {"__signature__", "_partialmethod", "__partialmethod__"} & set(found[0].__dict__):
        return None
    more = {}
    if sys.version_info >= (3, 14):
        more["annotation_format"] = __import__("annotationlib").Format.STRING
    shown = inspect.signature(found[0], follow_wrapped=False, **more)
    empty = inspect.Parameter.empty
    parameters = [
        p.replace(
            default=empty if p.default is empty else Text(default(p.default)),
            annotation=empty if p.annotation is empty else Text(annotation(p.annotation)),
        )
        for p in list(shown.parameters.values())[found[1]:]
    ]
    returned = shown.return_annotation
    return str(shown.replace(parameters=parameters, return_annotation=empty if returned is empty else Text(annotation(returned))))


def doc_of(value):
    if type(value) is types.MethodType:
        value = value.__func__
    if type(value) in BUILTIN or type(value) is types.FunctionType:
        return value.__doc__
    if type(value) is types.ModuleType:
        return own(value).get("__doc__")
    for base in mro(value if is_class(value) else type(value)):
        found = space(base).get("__doc__")
        if type(found) is str and base is not object:
            return found
    return None


def source(value):
    """Return the source of a function, or of a class with functions."""
    pattern = None
    if is_class(value):
        found = [f for f in space(value).values() if type(f) is types.FunctionType]
        pattern = r"\s*class\s+" + re.escape(name_of(value)) + r"\b"
    else:
        found = function_of(value) or ()
    if not found:
        return None
    code = found[0].__code__
    lines = linecache.getlines(code.co_filename)
    begin = code.co_firstlineno - 1
    while pattern and begin > 0 and not re.match(pattern, lines[begin]):
        begin -= 1
    return "".join(inspect.getblock(lines[begin:]))


def inspected(code, pos, detail):
    begin = re.search(r"[\w.]*$", code[:pos]).group()
    end = re.match(r"\w*", code[pos:]).group()
    token = (begin + end).strip(".")
    if not token and code[:pos].endswith("("):
        token = re.search(r"[\w.]*$", code[: pos - 1]).group().strip(".")
    try:
        value = resolve(token)
    except Exception:
        return {"status": "ok", "found": False, "data": {}, "metadata": {}}
    lines = []
    for head, read in ("Signature: " + token, signature), ("Type:      " + name_of(type(value)), None), ("Docstring:\n", doc_of), ("Source:\n", source):
        try:
            text = "" if read is None else read(value)
        except Exception:
            continue
        if type(text) is str and (text or read is None) and (detail or read is not source):
            lines.append(head + (inspect.cleandoc(text) if read is doc_of else text)[:LONGEST])
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
(sys.__stdout__ or sys.stdout).write(mark + json.dumps(answer) + mark + "\n")
