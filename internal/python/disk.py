"""The file systems that a slot's workers can write to: empty for each worker.

Standard library only, Python 3.8 and later, Linux.
"""

import ctypes
import os
import struct

from kernel import (
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    MS_BIND,
    MS_NODEV,
    MS_NODIRATIME,
    MS_NOSUID,
    MS_REMOUNT,
    STATX,
    STATX_BASIC_STATS,
    STATX_SIZE,
    mount,
    unmount,
)
from program import Program
from root import SCRATCH, TMP, WORK, bind_hidden, covered

# The times of a directory do not show that it was listed, so the next worker cannot see it either.
FLAGS = MS_NOSUID | MS_NODEV | MS_NODIRATIME
# Fields of a struct statx, with offset and size: links, owners, mode and size; the time of the last
# change.
COMPARED = ((16, 48), (96, 16))


class Empty:
    """Checks whether the working directory has the size of a new one, without Python."""

    def __init__(self, native):
        self.size = ctypes.c_int64(-1)  # of a new one; the slot writes it
        seen = ctypes.create_string_buffer(STATX)
        program = Program(native)
        program.add("", "statx", AT_FDCWD, os.fsencode(WORK), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, seen)
        program.same(ctypes.addressof(seen) + STATX_SIZE, self.size, 8)
        program.build()
        self.look = program.run


class Disk:
    """The file systems, from one worker to the next.

    To make and to destroy them takes the kernel longer than all other work for a worker, and
    most workers write nothing. So the next worker gets the same ones if the worker changed
    nothing in them. Every change in a directory sets the time of its last change, which a
    program cannot set, or one of the other values that are compared."""

    def __init__(self, native, disk_bytes, owner, hidden, made):
        self.disk_bytes, self.owner, self.hidden, self.made = disk_bytes, owner, hidden, made
        self.work, self.tmp = self.options(disk_bytes, b"700"), self.options(disk_bytes, b"1777")
        self.dirs = [WORK, TMP] + above(hidden) + made
        self.seen, self.untouched = [ctypes.create_string_buffer(len(self.dirs) * STATX) for _ in range(2)]
        self.resized = False
        self.mount()
        # A security module may have put attributes there.
        self.attributes = [sum(len(os.fsencode(name)) + 1 for name in os.listxattr(path)) for path in self.dirs]
        self.look = Program(native)
        self.add_look(self.look)
        self.look.build()
        self.remember()

    def mount(self):
        mount(b"tmpfs", b"/work", b"tmpfs", FLAGS, self.work)
        mount(b"tmpfs", b"/tmp", b"tmpfs", FLAGS, self.tmp)
        mount(b"/tmp", b"/dev/shm", None, MS_BIND)
        bind_hidden(self.hidden)
        for path in self.made:
            os.mkdir(path, 0o700)
            os.chown(path, self.owner, self.owner)

    def remember(self):
        self.look.run()  # for its effect on self.seen
        ctypes.memmove(self.untouched, self.seen, len(self.seen))

    def options(self, disk_bytes, mode):
        inodes = max(1024, min(disk_bytes // 4096, 65536))
        return b"size=%d,nr_inodes=%d,mode=%s,uid=%d,gid=%d" % (disk_bytes, inodes, mode, self.owner, self.owner)

    def mount_at(self, path, disk_bytes):
        """Mount another working directory, for a fork of the worker. It ends with the others."""
        mount(b"tmpfs", path, b"tmpfs", FLAGS, self.options(disk_bytes, b"700"))

    def add_look(self, program, touched=None):
        """Add steps that look at the directories. They continue at the label touched, or stop,
        if a directory is not as it was when it was new."""
        for i, path in enumerate(self.dirs):
            program.add("", "statx", AT_FDCWD, os.fsencode(path), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS,
                        ctypes.addressof(self.seen) + i * STATX, otherwise=touched)
        for path, size in zip(self.dirs, self.attributes):
            program.add("", "listxattr", os.fsencode(path), None, 0, expect=size, otherwise=touched)
        for i in range(len(self.dirs)):
            for first, size in COMPARED:
                at = i * STATX + first
                program.same(ctypes.addressof(self.seen) + at, ctypes.addressof(self.untouched) + at, size, touched)

    def size_of_work(self):
        return struct.unpack_from("q", self.untouched, STATX_SIZE)[0]  # it is the first

    def touched(self):
        """Return whether a worker has used them or changed their size."""
        return self.resized or self.look.run() != 0

    def renew(self):
        """Make them empty again. No process uses them."""
        self.resized = False
        # Mounts below them end with them. The code may have moved such a mount, so that its path
        # is not known.
        for path in SCRATCH:
            unmount(path)
        self.mount()
        self.remember()

    def resize(self, options):
        """Change their size limit for the current worker. options is the address of the options
        of mount. They must not become an object of Python: see slot.py."""
        self.resized = True
        for path in (b"/work", b"/tmp"):
            mount(None, path, None, MS_REMOUNT | FLAGS, ctypes.c_char_p(options))


def above(hidden):
    """Return the directories in /tmp and /work that contain parts of the interpreter. The code
    owns them, too, if the runner is an ordinary user."""
    found = set()
    for path, _ in hidden:
        path = os.path.dirname(path)
        while covered(path, (TMP, WORK)) and path not in (TMP, WORK):
            found.add(path)
            path = os.path.dirname(path)
    return sorted(found)
