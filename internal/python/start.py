"""Starts the zygote, with its memory laid out for what forks cost.

Each fork copies the tables of all pages and each end of a worker walks them; a worker
pays for every page that it writes to, be it only to count a reference, and fewer are
touched if what belongs together lies together. So

    a child compiles the scripts: compiling leaves three times the size of the code
    behind, in pieces between everything else;
    what the scripts import is imported first, and the places that this left free are
    filled with ballast: so what the scripts are made of lies together.

Its arguments name what is left out of that and of what other scripts do to make forks cheap:
"ballast", "pages", "machine-code". docs/architecture/tricks.md has a section for each.

Standard library only, Python 3.8 and later.
"""

import sys

BARE = frozenset(sys.modules)  # what Python has loaded by itself

import gc
import marshal
import os
import types

HERE = os.path.dirname(os.path.abspath(__file__))
# Of CPython's allocator for small objects. It gives out places of a size from a pool of
# memory, from its beginning if the pool is new.
SMALL_SIZES = range(16, 513, 16)
POOL = 4096 if sys.version_info < (3, 10) else 16384
POOL_HEADER = 48
NEW_POOL = 4  # places, one after the other, that only a new pool gives out, as good as
# Objects: it takes some 3,000 where the above holds, and again with large libraries.
MOST_BALLAST, MOST_PRELOADED = 10000, 100000

plain = set()  # what is left out


def compiled(path, scripts):
    """Return what the script at path imports: modules of others, and of the scripts what it
    calls them by; and its code without docstrings, marshalled."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            import ast

            with open(path, encoding="utf-8") as file:
                tree = ast.parse(file.read())
            others, ours = take_imports(tree, scripts)
            # Its frames name no directory of the machine, wherever they show, and are no files
            # to what traces.
            name = os.path.splitext(os.path.basename(path))[0]
            code = compile(tree, "<kaa %s>" % name.replace("repl_", ""), "exec", 0, True, 2)
            with open(theirs, "wb") as file:
                marshal.dump((others, ours, marshal.dumps(code)), file)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(theirs)
    with open(ours, "rb") as file:
        data = file.read()
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise RuntimeError("compile %s: status %d" % (path, status))
    return marshal.loads(data)


def take_imports(tree, scripts):
    """Return what is imported at the top of a script: names of modules; and of other scripts
    (name, script, attribute or None). The latter are taken out: load does them."""
    import ast

    others, ours, body = [], [], []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module in scripts:
            ours += [(alias.asname or alias.name, node.module, alias.name) for alias in node.names]
            continue
        if isinstance(node, ast.Import):
            if node.names[0].name in scripts:  # one in a statement
                ours.append((node.names[0].asname or node.names[0].name, node.names[0].name, None))
                continue
            others += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            others.append(node.module)
        body.append(node)
    tree.body = body
    return others, ours


def ballast(most=MOST_BALLAST):
    """Objects for all places that are free in pools which have begun to be used; none with
    another allocator, where they would fill memory without an end."""
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
    """Return a script that lies beside this one. No import finds it, and sys.modules does not
    have it: both are the code's."""
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
    """Compile all scripts, and import what they need."""
    files = [os.path.splitext(file) for file in sorted(os.listdir(HERE))]
    scripts = [name for name, extension in files if extension == ".py"]
    for name in scripts:
        if name != "start":
            others, ours, code = compiled(os.path.join(HERE, name + ".py"), scripts)
            codes[name] = ours, code
            for other in others:
                __import__(other)
    import_for_errors()


def import_for_errors():
    """Import what CPython 3.11 and later need to show where in its line an error was. They
    do so when there is one, which takes longer than most programs."""
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
    load("zygote").main()
