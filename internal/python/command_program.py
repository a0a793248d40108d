"""The start of a command, as steps of a program: see program.py.

The new process shares the memory of the one that starts it, which waits meanwhile (vfork). So the
start copies no page tables, and an error is in memory that both see. The process takes the same
steps as a worker does (confinement.py) and then executes the command's program. Until then no
foreign code runs in it.

Without machine code the process has a copy of the memory, because the code of Python in it would
change the memory of the other.

Standard library only, Python 3.8 and later, Linux.
"""

import ctypes
import os
import struct

import program
from confinement import SIG_SETMASK, add_capabilities, add_owner, add_user_namespace
from kernel import SUPERVISION, check, syscall

CLONE_VM, CLONE_VFORK, SIGCHLD = 0x100, 0x4000, 17
MAP_SHARED_ANONYMOUS, PROT_READ_WRITE, PAGE = 0x21, 3, 4096
TIOCSCTTY = 0x540E
UMASK = 0o022
NOT_STARTED = 127
# The part that failed, for the runner.
SETUP, DIRECTORY, PROGRAM = range(3)


class Outcome(ctypes.Structure):
    _fields_ = [("pid", ctypes.c_int64), ("phase", ctypes.c_int64), ("error", ctypes.c_int64)]


class CommandProgram:
    def __init__(self, native, strict, owner, confined, filter, limits):
        """limits are the kinds of resource limits that each command gets."""
        self.steps = steps = program.Program(native)
        self.outcome = Outcome.from_address(check(syscall(
            program.number("mmap"), None, PAGE, PROT_READ_WRITE, MAP_SHARED_ANONYMOUS, -1, 0), SUPERVISION, "mmap"))
        self.is_terminal = ctypes.c_int64()
        self.phases = [ctypes.c_int64(phase) for phase in range(3)]
        sharing = CLONE_VFORK | (CLONE_VM if native is not None else 0)
        steps.add(SUPERVISION, "clone", sharing | SIGCHLD, 0, 0, 0, 0, expect=program.FORK, otherwise="forked")
        first = len(steps.steps)
        steps.add(SUPERVISION, "setsid")
        self.standard = [steps.add(SUPERVISION, "dup3", 0, fd, 0) for fd in range(3)]
        steps.same(self.is_terminal, program.ZERO, 8, "terminal")
        steps.jump("limits")
        steps.label("terminal")
        steps.add(SUPERVISION, "ioctl", 0, TIOCSCTTY, 0)
        steps.label("limits")
        self.limits = {kind: ctypes.create_string_buffer(16) for kind in limits}
        for kind, value in self.limits.items():
            steps.add("rlimits", "prlimit64", 0, kind, value, None)
        steps.add(SUPERVISION, "umask", UMASK)
        if strict:
            add_user_namespace(steps, owner)
        elif owner != 0:
            add_owner(steps, owner)
        if confined:
            add_capabilities(steps)
        self.begin(DIRECTORY)
        self.cwd = steps.add(SUPERVISION, "chdir", None)
        self.begin(SETUP)
        if filter is not None:
            filter.add_to(steps)
        steps.add(SUPERVISION, "close_range", 3, -1, 0)
        steps.add(SUPERVISION, "rt_sigprocmask", SIG_SETMASK, bytes(8), 0, 8)
        self.begin(PROGRAM)
        self.execute = steps.add(SUPERVISION, "execve", None, None, None)
        for step in steps.steps[first:]:
            if step[0] >= 0 and step[2] != program.MAY_FAIL:
                step[3] = "failed"
        steps.label("failed")
        steps.copy(self.place("error"), program.RESULT, 8)
        steps.add(SUPERVISION, "exit_group", NOT_STARTED)
        steps.label("forked")
        steps.copy(self.place("pid"), program.RESULT, 8)
        steps.build()

    def begin(self, phase):
        self.steps.copy(self.place("phase"), self.phases[phase], 8)

    def place(self, name):
        return ctypes.addressof(self.outcome) + getattr(Outcome, name).offset

    def start(self, path, argv, envs, cwd, fds, is_terminal, limits):
        """Start a program with these arguments and environment, which are bytes. Return its pid, or
        raise an OSError that has the phase, and has the layer's name if that is SETUP."""
        held = [ctypes.create_string_buffer(text) for text in (path, cwd)]
        arrays = [(ctypes.c_char_p * (len(texts) + 1))(*texts, None) for texts in (argv, envs)]
        self.put(self.cwd, 0, held[1])
        for i, value in enumerate((held[0], *arrays)):
            self.put(self.execute, i, value)
        for step, fd in zip(self.standard, fds):
            self.steps.table[self.word(step, 0)] = fd
        for kind, value in limits.items():
            self.limits[kind].raw = struct.pack("QQ", value, value)
        self.is_terminal.value = int(is_terminal)
        self.outcome.phase = self.outcome.error = 0
        code = self.steps.run()
        if code < 0:
            error = self.steps.failure(code)[2]
            raise Failed(SETUP, error.errno or 0)
        if self.outcome.error:
            os.waitpid(self.outcome.pid, 0)
            raise Failed(self.outcome.phase, -self.outcome.error)
        return self.outcome.pid

    def word(self, step, argument):
        return 1 + step * program.STEP // program.WORD + 1 + argument

    def put(self, step, argument, buffer):
        self.steps.table[self.word(step, argument)] = ctypes.addressof(buffer)


class Failed(Exception):
    """A command was not started."""

    def __init__(self, phase, number):
        Exception.__init__(self, os.strerror(number))
        self.phase, self.number = phase, number
