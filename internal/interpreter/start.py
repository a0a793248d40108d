"""Starts the zygote without what compiling its scripts leaves in memory.

Each fork copies the tables of all pages and each end of a worker walks them; a worker
pays for every page that it writes to, and fewer are touched if what belongs together
lies together. Compiling leaves three times the size of the code behind, in pieces
between everything else. So a child process compiles, and only the result comes here.

Standard library only, Python 3.8 and later.
"""

import marshal
import os
import types


def compiled(path):
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with open(path, encoding="utf-8") as file:
                source = file.read()
            data = marshal.dumps(compile(source, path, "exec", 0, True))
            with open(theirs, "wb") as file:
                file.write(data)
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


def load(name):
    """Load a script that lies beside this one, without leaving it in sys.modules."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
    module = types.ModuleType("kaa_" + name)
    module.__file__, module.load = path, load
    exec(compiled(path), module.__dict__)
    return module


load("zygote").main()
