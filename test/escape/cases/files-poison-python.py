# tries: change the interpreter, its library or the worker's script for later executions
# strict: read-only; its home and work directory are its own
# basic: Landlock refuses; its home and work directory are its own
# end: ok HELD

import gc
import json as victim_module
import site
import sysconfig
import types

own = tuple(os.path.realpath(path) + "/" for path in (os.environ.get("HOME", "."), os.getcwd()))
dirs = {os.path.dirname(os.__file__), os.path.dirname(victim_module.__file__), sysconfig.get_path("purelib"), sysconfig.get_path("platlib"),
        os.path.join(os.path.dirname(os.__file__), "__pycache__"), os.path.dirname(sys.executable), "/usr/lib/python3/dist-packages",
        os.path.join(sys.prefix, "lib")}
dirs.update(sys.path)
dirs.update(site.getsitepackages())
scripts = set()
for thing in gc.get_objects():  # the code that serves us came from files
    if isinstance(thing, types.FunctionType):
        scripts.add(thing.__code__.co_filename)
    elif isinstance(thing, types.ModuleType):
        scripts.add(getattr(thing, "__file__", None) or "")
dirs.update(os.path.dirname(s) for s in scripts)
for path in sorted(dirs):
    if path and os.path.isdir(path) and not (os.path.realpath(path) + "/").startswith(own):
        writable(path)
for path in sorted(scripts | {sys.executable, os.path.realpath(sys.executable), os.__file__}):
    if os.path.isfile(path) and not os.path.realpath(path).startswith(own):
        opens(path, os.O_WRONLY)
finish()
