"""The confinement of a worker: the steps of its fork, in which it gives up all that it does not need.

A program of system calls takes the steps, which its slot prepares: see program.py.

Standard library only, Python 3.8 and later, Linux.
"""

import ctypes
import os
import struct

import namespaces
from kernel import CLONE_NEWUSER, PR_CAPBSET_DROP, PR_SET_DUMPABLE, SUPERVISION, libc
from program import MAY_FAIL, Word
from root import TMP, WORK

CONTROL = 1000  # descriptor of the control socket; code that closes or lists low descriptors does not meet it
USER_NAMESPACE = CONTROL + 1
RULESET = CONTROL + 2
CAP_HEADER = struct.pack("Ii", 0x20080522, 0)
F_DUPFD_CLOEXEC = 1030
SIG_SETMASK = 2
INT = 4  # bytes


class Confinement:
    """The fork and the confinement of workers, as steps of a program.

    After them in the new process, descriptors 0 to 2 are the code's, the control socket is
    CONTROL, and no other descriptor is open. Except for the limits, the process may run foreign
    code then."""

    def __init__(self, program, fork, strict, owner, landlock, rules, filter, descriptors, parent):
        """Add the steps to the program. The worker takes the steps after them. The slot continues
        at the label parent. descriptors is the address of the numbers of the worker's four
        descriptors, as ints. filter refuses more system calls than the slot's own filter does."""
        self.program, self.landlock, self.rules = program, landlock, rules
        # Where there is no mount namespace each worker has other directories.
        self.work, self.tmp = ctypes.create_string_buffer(4096), ctypes.create_string_buffer(4096)
        self.work.value, self.tmp.value = os.fsencode(WORK), os.fsencode(TMP)
        self.add_fork(fork, descriptors, parent)
        program.add("mount namespace", "chdir", self.work)
        program.add(SUPERVISION, "rt_sigprocmask", SIG_SETMASK, bytes(8), 0, 8)
        self.add_dumpable(SUPERVISION)  # else /proc/self does not belong to the worker
        # When memory runs out the kernel should end the code, not its supervisor.
        program.write_file("memory limit", b"/proc/self/oom_score_adj", b"1000", 3)
        if strict:
            self.add_user_namespace(owner)
        elif owner != 0:
            add_owner(program, owner)
            self.add_dumpable("user")
        if landlock is not None:
            self.add_landlock(strict)
            add_capabilities(program)
        if filter is not None:
            filter.add_to(program)

    def add_fork(self, fork, descriptors, parent):
        program = self.program
        targets = [Word(0, 1) for _ in range(4)]
        for i, target in enumerate(targets):
            program.copy(target, descriptors + i * INT, INT)
        fork.add_to(program, 0, parent)
        program.add(SUPERVISION, "setsid")
        for fd in range(3):
            targets[fd].step = program.add(SUPERVISION, "dup3", 0, fd, 0)
        targets[3].step = program.add(SUPERVISION, "fcntl", 0, F_DUPFD_CLOEXEC, CONTROL, expect=CONTROL)
        program.add(SUPERVISION, "close_range", 3, CONTROL - 1, 0)

    def add_dumpable(self, layer):
        self.program.add(layer, "prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)

    def add_user_namespace(self, owner):
        namespaces.make_user(owner, USER_NAMESPACE)
        add_user_namespace(self.program, owner)
        self.add_dumpable("user namespace")

    def add_landlock(self, strict):
        if strict:
            self.open_ruleset()
            self.landlock.add_restriction(self.program, RULESET)
            return
        rules = self.rules + [(self.work, self.landlock.all), (self.tmp, self.landlock.all)]
        self.landlock.add_ruleset(self.program, strict, rules)

    def open_ruleset(self):
        """Make the ruleset for the file systems that are mounted now. All workers use it."""
        self.landlock.make_ruleset(True, self.rules, RULESET)

    def set_dirs(self, address):
        """Copy the two paths at the address, each with a zero at its end. They must not become
        objects of Python: see slot.py."""
        for path in (self.work, self.tmp):
            libc.strcpy(path, ctypes.c_void_p(address))
            address += libc.strlen(path) + 1


def add_owner(program, owner):
    """Add steps that give the process to the user owner."""
    add, layer = program.add, "user"
    add(layer, "setgroups", 0, None)
    add(layer, "setresgid", owner, owner, owner)
    add(layer, "setresuid", owner, owner, owner)


def add_user_namespace(program, owner):
    """Add steps that enter the user namespace of the code, and close its descriptor."""
    add, layer, user = program.add, "user namespace", namespaces.USER
    if owner != 0:
        add(layer, "setgroups", 0, None)  # in the namespace it is not allowed
    add(layer, "setns", USER_NAMESPACE, CLONE_NEWUSER)
    add(layer, "close", USER_NAMESPACE)
    if owner != 0:
        add(layer, "setresgid", user, user, user)
        add(layer, "setresuid", user, user, user)


def add_capabilities(program):
    """Add steps that drop all capabilities."""
    layer = "capabilities"
    with open("/proc/sys/kernel/cap_last_cap") as file:
        last = int(file.read())
    for capability in range(last + 1):  # an ordinary user has none to drop
        program.add(layer, "prctl", PR_CAPBSET_DROP, capability, 0, 0, 0, expect=MAY_FAIL)
    program.add(layer, "capset", CAP_HEADER, bytes(24))
