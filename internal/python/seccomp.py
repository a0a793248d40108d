"""The filter of system calls.

Standard library only, Python 3.8 and later, Linux.
"""

import ctypes

from kernel import PR_SET_SECCOMP, SECCOMP_MODE_FILTER, check, prctl

LAYER = "seccomp"


class Filter:
    """A program of seccomp, as the runner assembled it. All filters of a process apply."""

    class _Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    def __init__(self, code):
        self.code = ctypes.create_string_buffer(code, len(code))
        self.program = self._Program(len(code) // 8, ctypes.cast(self.code, ctypes.c_void_p))

    def install(self):
        check(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(self.program), 0, 0), LAYER, "prctl")

    def add_to(self, program):
        """Add the step that installs it."""
        program.add(LAYER, "prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, self.program, 0, 0)
