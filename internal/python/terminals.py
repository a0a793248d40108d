"""A slot's terminals.

They end with their processes, so no worker finds one of another. The machine has some 3000 for all
sandboxes together. Where the runner is an ordinary user the code owns their files and could change
the modes for the next worker. Therefore the mount is read-only.

Standard library only, Python 3.8 and later, Linux.
"""

import ctypes

from kernel import (
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    MS_BIND,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REMOUNT,
    STATX,
    STATX_BASIC_STATS,
    mount,
    unmount,
)
from program import Program

MOST = 64
PLACE = b"/dev/pts"
# Fields of a struct statx, with offset and size: the time of the last access, and those of the
# last change of the file itself and of its content.
TIMES = ((64, 16), (96, 32))


def mount_them():
    flags = MS_NOSUID | MS_NOEXEC
    mount(b"devpts", PLACE, b"devpts", flags, b"ptmxmode=666,mode=620,max=%d" % MOST)
    mount(None, PLACE, None, MS_REMOUNT | MS_BIND | MS_RDONLY | flags)


class Terminals:
    """Checks whether a worker has used terminals, by the times of the file that makes them."""

    def __init__(self, native):
        self.seen, self.unused = [ctypes.create_string_buffer(STATX) for _ in range(2)]
        self.look = Program(native)
        self.add_look(self.look)
        self.look.build()
        self.remember()

    def remember(self):
        self.look.run()  # for its effect on self.seen
        ctypes.memmove(self.unused, self.seen, STATX)

    def add_look(self, program, used=None):
        """Add steps that continue at the label used, or stop, if the terminals were used."""
        program.add("", "statx", AT_FDCWD, PLACE + b"/ptmx", AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, self.seen, otherwise=used)
        for first, size in TIMES:
            program.same(ctypes.addressof(self.seen) + first, ctypes.addressof(self.unused) + first, size, used)

    def renew(self, used=False):
        """Make them as new if they were used. No process of the sandbox has one open."""
        if used or self.look.run() != 0:
            unmount(PLACE, name="the terminals")
            mount_them()
            self.remember()
