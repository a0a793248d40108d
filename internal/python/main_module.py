"""The module __main__ of the code, and the file that it would be in.

A script finds its files beside __file__, and debuggers and tracebacks read its source there.
Here the file has a name but is usually not written. linecache has its lines, and the module's
loader its source. The file is written only if a library that needs it is imported or called, or
if the code mentions it.

Standard library only, Python 3.8 and later.
"""

import builtins
import linecache
import os
import sys
import types
from importlib.machinery import SourceFileLoader

from start import BARE, BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

NAME, MODULE = "main.py", "main"
# Code in which one of these occurs may open the file, or start it as a program.
MENTIONS = ("__file__", "argv[0]", "+ sys.argv", "*sys.argv", "co_filename", "getsourcefile", "inspect.getfile", "cache=True", NAME,
            "main:app")
# Libraries that read the file of each function that they work on.
READERS = ("trace", "coverage", "memory_profiler", "line_profiler", "numba", "pytest")
HAS_ANNOTATIONS = sys.version_info < (3, 14)
_open, _write, _close = os.open, os.write, os.close
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_Module = types.ModuleType


class Loader(SourceFileLoader):
    """Has the source of the code. Its name is that of a script's loader."""

    text = None

    def get_data(self, path):
        if path == self.path and self.text is not None:
            return self.text.encode("utf-8", "surrogatepass")
        return super().get_data(path)


Loader.__name__ = Loader.__qualname__ = SourceFileLoader.__name__
Loader.__module__ = SourceFileLoader.__module__
loader = Loader("__main__", NAME)


def new(filename=None, source=None):
    """Return the namespace of a new module __main__. With a filename it is that of a script."""
    module = _Module("__main__")
    sys.modules["__main__"] = module
    names = module.__dict__
    if filename is None:
        names["__builtins__"] = builtins
        return names
    loader.path, loader.text = filename, source
    names["__loader__"] = loader
    if HAS_ANNOTATIONS:
        names["__annotations__"] = {}
    names["__builtins__"], names["__file__"], names["__cached__"] = builtins, filename, None
    for mention in MENTIONS:
        if mention in source:
            write()
            break
    return names


def write():
    """Write the file, unless one of its name exists, or the code is not a script."""
    if loader.text is None:
        return
    try:
        fd = _open(loader.path, FLAGS, 0o644)
    except OSError:
        return
    try:
        data = loader.text.encode("utf-8", "surrogatepass")
        while data:
            data = data[_write(fd, data):]
    except OSError:
        pass
    finally:
        _close(fd)


def write_for_import():
    """Write the file before code imports the main module by the file's name. Its directory may have been read before."""
    if loader.text is None or os.path.basename(loader.path) != NAME:
        return
    write()
    finder = sys.path_importer_cache.get(os.path.dirname(loader.path))
    forget = getattr(finder, "invalidate_caches", None)
    if forget is not None:
        forget()


def forget_sources():
    """Forget the sources of rehearsals. The program may have a file of the same name."""
    linecache.cache.clear()


def prime_linecache(source, filename):
    """Give linecache the code's lines, split as the tokenizer splits them, for tracebacks."""
    text = source.replace("\r\n", "\n").replace("\r", "\n") if "\r" in source else source
    lines = [line + "\n" for line in text.split("\n")]
    if lines[-1] == "\n":
        lines.pop()
    linecache.cache[filename] = (len(text), None, lines, filename)


def patches():
    """Return the changes of modules at their import: see notebook.py."""
    found = {name: lambda module: write() for name in READERS}
    found["multiprocessing.spawn"] = patch_spawn
    return found


def patch_spawn(module):
    """Write the file before a process is spawned, which imports the main module from it."""
    original = module.get_preparation_data

    def get_preparation_data(name):
        write()
        return original(name)

    get_preparation_data.__module__ = module.__name__
    module.get_preparation_data = get_preparation_data


# --- modules of the program with names of the standard library's modules

held = {}  # modules of the standard library that the program's may replace, by name


def let_shadow(names):
    """Let imports of these names find the program's own modules. A module that Python has loaded
    before any program keeps its name."""
    modules = sys.modules
    for name in names:
        if name in modules and name not in BARE:
            for other in [other for other in modules if other == name or other.startswith(name + ".")]:
                held[other] = modules.pop(other)


def with_held(function, *args):
    """Call a function of Kaa's that needs the standard library's modules."""
    if not held:
        return function(*args)
    modules = sys.modules
    theirs = {name: modules.get(name) for name in held}
    modules.update(held)
    try:
        return function(*args)
    finally:
        for name, module in theirs.items():
            if module is None:
                modules.pop(name, None)
            else:
                modules[name] = module
