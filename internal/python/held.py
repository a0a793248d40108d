"""Modules as they were before the code could change them, for the scripts that fork a session.

Standard library only, Python 3.8 and later, Linux.
"""

import builtins

__builtins__ = dict(vars(builtins))  # type: ignore[assignment]  # see repl_worker.py

import os
import stat


class Held:
    def __init__(self, module):
        self.__dict__.update(vars(module))


environ = os.environ
os, stat = Held(os), Held(stat)  # type: ignore[assignment]
