"""A fork that costs a tenth of os.fork, as steps of a program.

Standard library only, Python 3.8 and later, Linux.
"""

import ctypes

from kernel import PR_GET_TID_ADDRESS, SUPERVISION, LayerError, check, prctl, syscall
from program import FORK, MACHINE, number

CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID = 0x00200000, 0x01000000
SIGCHLD = 17


class ForkSteps:
    """The steps of a fork, into new namespaces if any are given.

    os.fork runs the handlers of the C library and of each module that registered some. They
    write to many pages to reset locks that other threads may have held. A zygote has no other
    threads. These steps do the rest: they put the id of the new process's thread where the C
    library keeps it, and register its robust locks again.
    """

    def __init__(self):
        address = ctypes.c_void_p()
        # Some kernels are built without this call. Then the C library's own checks of locks
        # see a stale id.
        known = prctl(PR_GET_TID_ADDRESS, ctypes.addressof(address), 0, 0, 0) == 0
        self.tid = address.value if known else 0
        self.flags = CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID if known else 0
        head, size = ctypes.c_void_p(), ctypes.c_size_t()
        check(syscall(number("get_robust_list"), 0, ctypes.byref(head), ctypes.byref(size)), SUPERVISION, "get_robust_list")
        self.robust = head.value or 0, size.value

    def add_to(self, program, namespaces, parent=None):
        """Add the steps. The new process takes the steps after them. The parent continues at
        the label parent."""
        # The order of the last two arguments depends on the architecture.
        tid = (self.tid, 0) if MACHINE == "x86_64" else (0, self.tid)
        layer = "namespaces" if namespaces else SUPERVISION
        program.add(layer, "clone", namespaces | self.flags | SIGCHLD, 0, 0, *tid, expect=FORK, otherwise=parent)
        program.add(SUPERVISION, "set_robust_list", *self.robust)


def run(program):
    """Fork with a program that has only the steps of a fork. It returns as os.fork does."""
    pid = program.run()
    if pid < 0:
        raise LayerError(*program.failure(pid))
    return pid
