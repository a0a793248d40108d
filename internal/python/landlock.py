"""The files that a worker may read and write, as rules of Landlock.

Standard library only, Python 3.8 and later, Linux.
"""

import os
import struct

from kernel import AT_FDCWD, LayerError, check, syscall
from program import number

LAYER = "landlock"
O_PATH = 0o10000000


class Landlock:
    """The rights that the version of this kernel knows.

    A worker keeps a right that the kernel does not know. The first version knows all kinds of
    writing except truncation."""

    EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
    TRUNCATE, REFER, IOCTL_DEV = 1 << 14, 1 << 13, 1 << 15

    def __init__(self):
        version = syscall(number("landlock_create_ruleset"), None, 0, 1)
        self.version = check(version, LAYER, "landlock_create_ruleset")
        self.all = (1 << 13) - 1
        if version >= 2:
            self.all |= self.REFER
        if version >= 3:
            self.all |= self.TRUNCATE
        if version >= 5:
            self.all |= self.IOCTL_DEV
        self.read = self.EXECUTE | self.READ_FILE | self.READ_DIR
        self.write_file = self.all & (self.WRITE_FILE | self.TRUNCATE)
        scopes = 3 if version >= 6 else 0  # abstract sockets and signals
        self.sizes = 8 if version < 4 else 16 if version < 6 else 24
        # No TCP where there is no network namespace.
        self.attributes = {True: struct.pack("QQQ", self.all, 0, scopes),
                           False: struct.pack("QQQ", self.all, 3 if version >= 4 else 0, scopes)}

    def make_ruleset(self, strict, rules, at):
        """Make the ruleset that a process can restrict itself with, as the descriptor at."""
        fd = check(syscall(number("landlock_create_ruleset"), self.attributes[strict], self.sizes, 0), LAYER, "landlock_create_ruleset")
        try:
            for path, rights in rules:
                beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
                try:
                    rule = struct.pack("=Qi", rights, beneath)
                    check(syscall(number("landlock_add_rule"), fd, 1, rule, 0), LAYER, "landlock_add_rule")
                finally:
                    os.close(beneath)
            os.dup2(fd, at, inheritable=False)
        except OSError as error:
            raise LayerError(LAYER, "make the ruleset", error)
        finally:
            os.close(fd)

    def add_ruleset(self, program, strict, rules):
        """Add steps that make a ruleset and restrict the process. Descriptors 3 and 4 are free."""
        RULESET, PATH = 3, 4
        program.add(LAYER, "landlock_create_ruleset", self.attributes[strict], self.sizes, 0, expect=RULESET)
        for path, rights in rules:
            program.add(LAYER, "openat", AT_FDCWD, path, O_PATH, 0, expect=PATH)
            program.add(LAYER, "landlock_add_rule", RULESET, 1, struct.pack("=Qi", rights, PATH), 0)
            program.add(LAYER, "close", PATH)
        self.add_restriction(program, RULESET)

    def add_restriction(self, program, ruleset):
        """Add steps that restrict the process with a ruleset, and close it."""
        program.add(LAYER, "landlock_restrict_self", ruleset, 0)
        program.add(LAYER, "close", ruleset)
