"""Packages that were added to a live session: its interpreters and commands find them.

The runner unpacks each set into a directory of its own and gives it its name then, so what has a
name here is complete. The code may change or make such directories. They are the session's own,
as everything in its directory for temporary files.

Standard library only, Python 3.8 and later, Linux.
"""

import os
import stat
import sys

from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

ADDED = "/.packages"  # in the directory for temporary files
DIGITS = 32  # of the name of a set
MOST = 32  # sets
MOST_LOOKED_AT = 1000  # names, of which the code may make any number


def places(within):
    """Return the directories of sets in a directory, the newest first."""
    found = []
    try:
        with os.scandir(within) as entries:
            for _, entry in zip(range(MOST_LOOKED_AT), entries):
                if len(entry.name) == DIGITS and not entry.name.strip("0123456789abcdef"):
                    info = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(info.st_mode):
                        found.append((info.st_mtime_ns, entry.path))
    except OSError:
        pass
    return [path for _, path in sorted(found, reverse=True)[:MOST]]


def show(within, known):
    """Let this interpreter, and programs that it starts, look for modules in sets that it does not know yet."""
    new = [path for path in places(within) if path not in known]
    if not new:
        return
    known.update(new)
    sys.path[:0] = [path for path in new if path not in sys.path]
    for path in new:
        sys.path_importer_cache.pop(path, None)  # the code may have looked there before
    for key, value in variables(new, os.environ.get).items():
        os.environ[key] = value


def variables(paths, get):
    """Return variables with which programs find the modules and the scripts of sets, before those of the present values."""
    values = {}
    for key, more in (("PYTHONPATH", paths), ("PATH", [path + "/bin" for path in paths])):
        before = [one for one in (get(key) or "").split(":") if one and one not in more]
        values[key] = ":".join(more + before)
    return values
