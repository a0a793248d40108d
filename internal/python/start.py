"""Starts the zygote, with its memory laid out so that forks cost little.

Each fork copies the page tables, and each end of a worker walks them. A worker pays for every
page that it writes to, even if it only counts a reference. It touches fewer pages if the
objects that it uses are close together. Therefore:

    A child compiles the scripts. Compiling leaves garbage of three times the size of the code,
    between all other objects.
    The modules that the scripts import are imported first. Then ballast fills the places that
    this has left free. So the objects of the scripts are close together.
    The scripts that every execution runs are loaded first.

Its arguments name those of the measures for cheap forks, here and in other scripts, that are
left out: "ballast", "pages", "machine-code". docs/architecture/tricks.md has a section for each.

Standard library only, Python 3.8 and later.
"""

import sys

BARE = frozenset(sys.modules)  # the modules that Python has loaded by itself

import builtins
import gc
import marshal
import os
import types
from _frozen_importlib_external import MAGIC_NUMBER

# A copy of the builtins, which the worker's scripts have as __builtins__. Their functions look
# builtins up there, so the code cannot change them by replacing builtins.len, for example.
BUILTINS = dict(vars(builtins))

HERE = os.path.dirname(os.path.abspath(__file__))
# The file with the compiled scripts, for the Pythons that can load it.
COMPILED = "%s-%s.compiled" % (sys.implementation.cache_tag, MAGIC_NUMBER.hex())
# Constants of CPython's allocator for small objects. It gives out places of a size from a pool
# of memory, from its beginning if the pool is new.
SMALL_SIZES = range(16, 513, 16)
POOL = 4096 if sys.version_info < (3, 10) else 16384
POOL_HEADER = 48
# So many places, one after the other, are almost certainly from a new pool.
NEW_POOL = 4
# In objects. With this allocator some 3,000 are enough, or more with large libraries.
MOST_BALLAST, MOST_PRELOADED = 10000, 100000

# The scripts that every execution runs. They are loaded first and after one another, so that
# their objects are on few pages. That saves a worker some 15 of the 500 pages that it copies.
FIRST = ("last_expression", "display", "control", "prepared", "main_module", "interrupts", "execution", "finalization",
         "script", "marks", "streams")

plain = set()  # the measures that are left out


def compile_all(names):
    """Return (name, others, ours, code) of each of these scripts: the modules that it imports,
    the names that it has from other scripts, and its code, marshalled. One child compiles all,
    unless a file beside the scripts has what a child has compiled for a Python of the same kind."""
    try:
        with open(os.path.join(HERE, COMPILED), "rb") as file:
            return marshal.loads(file.read())
    except (OSError, EOFError, ValueError, TypeError):  # there is none, or not the whole
        pass
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            data = marshal.dumps([compile_one(name, names) for name in names if name != "start"])
            with open(theirs, "wb") as file:
                file.write(data)
            keep(data)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(theirs)
    with open(ours, "rb") as file:
        data = file.read()
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise RuntimeError("compile scripts: status %d" % status)
    return marshal.loads(data)


def keep(data):
    """Write what is compiled for the next zygote. Without it that one takes longer to start, so a
    full disk does no harm."""
    path = os.path.join(HERE, COMPILED)
    own = "%s.%d" % (path, os.getpid())
    try:
        with open(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
        os.rename(own, path)
    except OSError:
        try:
            os.unlink(own)
        except OSError:
            pass


def compile_one(name, scripts):
    """Return a script as compile_all does."""
    with open(os.path.join(HERE, name + ".py"), encoding="utf-8") as file:
        text, others, ours = take_imports(file.read(), scripts)
    # Frames show neither a directory of the machine nor a file that a tracer would open.
    # Code has no docstrings.
    code = compile(text, "<kaa %s>" % name.replace("repl_", ""), "exec", 0, True, 2)
    return name, others, ours, marshal.dumps(code)


def take_imports(text, scripts):
    """Return the text of a script without its imports of other scripts, which load does, and the
    imports at its top: the names of modules, and for other scripts (name, script, attribute or None).
    Only the top is made a tree, since a tree of everything takes as long as compiling twice."""
    import ast

    lines = text.splitlines(True)
    others, ours = [], []
    for node in ast.parse("".join(lines[: end_of_imports(lines)])).body:
        if isinstance(node, ast.ImportFrom) and node.module in scripts:
            ours += [(alias.asname or alias.name, node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import) and node.names[0].name in scripts:  # one in a statement
            ours.append((node.names[0].asname or node.names[0].name, node.names[0].name, None))
        else:
            if isinstance(node, ast.Import):
                others += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                others.append(node.module)
            continue
        lines[node.lineno - 1 : node.end_lineno] = ["\n"] * (node.end_lineno - node.lineno + 1)
    return "".join(lines), others, ours


def end_of_imports(lines):
    """Return the number of lines at the top of a script that are its docstring, comments and imports."""
    docstring = bool(lines) and lines[0].startswith('"""')
    for i, line in enumerate(lines):
        if docstring:
            docstring = '"""' not in (line[3:] if i == 0 else line)
        elif not line.startswith(("import ", "from ", "#", " ", ")", "\n")):
            return i
    return len(lines)


def ballast(most=MOST_BALLAST):
    """Return objects in all places that are free in the pools in use. With another allocator
    there are none, since they would fill memory without an end."""
    held = []
    if "ballast" in plain:
        return held
    for size in SMALL_SIZES:
        row, last = 0, 0  # places one after the other from the beginning of a pool
        while row < NEW_POOL:
            if len(held) == most:
                return []
            i = len(held)
            thing = object() if size == 16 else i + (1 << 20) if size == 32 else bytes(size - b"".__sizeof__())
            held.append(thing)
            address = id(thing)
            row = 1 if address % POOL == POOL_HEADER else row + 1 if row and last < address < last + POOL else 0
            last = address
    return held


codes = {}  # of the scripts that are not loaded yet
loaded = {"start": sys.modules[__name__]}  # the scripts, by name


def load(name):
    """Return another script as a module. No import finds it and sys.modules does not have it,
    because both belong to the code."""
    if name not in loaded:
        if not codes:  # a test, to which scripts are ordinary modules
            return __import__(name)
        ours, code = codes.pop(name)
        module = loaded[name] = types.ModuleType("kaa_" + name)
        for own, script, attribute in ours:
            other = load(script)
            setattr(module, own, other if attribute is None else getattr(other, attribute))
        exec(marshal.loads(code), module.__dict__)
    return loaded[name]


def prepare():
    """Compile all scripts, and import the modules that they need."""
    files = [os.path.splitext(file) for file in sorted(os.listdir(HERE))]
    for name, others, ours, code in compile_all([name for name, extension in files if extension == ".py"]):
        codes[name] = ours, code
        for other in others:
            __import__(other)
    import_for_errors()


def import_for_errors():
    """Import the modules with which CPython 3.11 and later show the place of an error in its line.
    They import them at the first error, which takes longer than most programs."""
    import linecache
    import traceback

    linecache.cache["<error>"] = (4, None, ["1/0\n"], "<error>")
    try:
        exec(compile("1/0\n", "<error>", "exec"), {})
    except ZeroDivisionError:
        traceback.format_exc()
    linecache.cache.clear()


if __name__ == "__main__":
    plain.update(sys.argv[1:])
    prepare()
    gc.collect()
    held = ballast()
    for script in FIRST:
        load(script)
    load("zygote").main()
