"""Modules as they were before the code could change them, for the scripts that fork a session.

Standard library only, Python 3.8 and later, Linux.
"""

import os
import stat

from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py


class Held:
    def __init__(self, module):
        self.__dict__.update(vars(module))


environ = os.environ
os, stat = Held(os), Held(stat)  # type: ignore[assignment]
