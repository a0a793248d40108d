"""Another path of the working directory, for the worker that a slot has: /home/user, say.

The root of the sandbox is common to all slots and cannot be changed. So a slot mounts a small file system of its own
at one of the places that the root has, makes the path in it, and mounts the working directory there. The slot gets no
other worker: its memory has the path.

Standard library only, Python 3.8 and later, Linux.
"""

import os

from kernel import MS_BIND, MS_NODEV, MS_NOSUID, MS_RDONLY, MS_REC, MS_REMOUNT, mount
from root import PATHS, WORK, covered, interpreter_dirs

FLAGS = MS_NOSUID | MS_NODEV
OPTIONS = b"size=256k,nr_inodes=256,mode=755"


def put_work_at(path):
    """Make the working directory visible at the path, too."""
    top = "/" + path.split("/")[1]
    if top not in PATHS or os.path.normpath(path) != path:
        raise ValueError("no place for a working directory")
    kept = [one for one in interpreter_dirs() if covered(one, [top])]
    if any(covered(one, [path]) or covered(path, [one]) for one in kept):
        raise ValueError("the interpreter is installed there")
    descriptors = [os.open(one, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for one in kept]
    if path != top or kept:
        mount(b"tmpfs", os.fsencode(top), b"tmpfs", FLAGS, OPTIONS)
        for one in [path] + kept:
            os.makedirs(one, 0o755, exist_ok=True)
        for one, fd in zip(kept, descriptors):
            mount(b"/proc/self/fd/%d" % fd, os.fsencode(one), None, MS_BIND | MS_REC)
        mount(None, os.fsencode(top), None, MS_REMOUNT | MS_BIND | MS_RDONLY | FLAGS)
    mount(os.fsencode(WORK), os.fsencode(path), None, MS_BIND)
    for fd in descriptors:
        os.close(fd)
