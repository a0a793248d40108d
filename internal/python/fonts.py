"""The fonts that matplotlib finds, for code that imports it where it is not preloaded.

matplotlib looks through all fonts of a machine when it is imported, and keeps the result in
a file. An execution begins without files, so each would look again, which takes most of the
time of its import. So a child of the zygote does it once and leaves the result in memory
that the zygote, slots and workers can only read. A worker that imports matplotlib writes
the file for itself. No process waits for the result: until it is there each looks itself.

Standard library only, Python 3.8 and later, Linux.
"""

import ctypes
import os
import signal
import sys
from importlib.machinery import PathFinder

import memory
from kernel import CLONE_NEWNS, MS_NODEV, MS_NOSUID, mount, unshare

LIBRARY = "matplotlib"
SIZE = 8 << 20
LENGTH = ctypes.sizeof(ctypes.c_int64)
F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE = 1, 2, 4, 16
PR_SET_PDEATHSIG = 1
PATIENCE = 120  # seconds
# A program may bring its own fonts here. The zygote did not find those.
OF_PROGRAMS = (".fonts", ".local/share/fonts", "Library/Fonts")

result = 0  # the address of: length, name, NUL, content; the length is 0 until all is there


def look(strict, scratch):
    """Begin to look for fonts if code can import matplotlib and it is not loaded."""
    global result
    if LIBRARY in sys.modules or PathFinder.find_spec(LIBRARY) is None:
        return
    try:
        theirs, result = shared_memory()
    except OSError:
        return
    try:
        pid = os.fork()
    except OSError:
        pid = -1
    if pid == 0:
        try:
            find(theirs, strict, scratch)
        finally:
            os._exit(0)
    memory._munmap(theirs, SIZE)


def shared_memory():
    """Memory for the result: where it can be written, and where it can only be read."""
    import fcntl

    fd = os.memfd_create("fonts", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.truncate(fd, SIZE)
        to_write = memory._mmap(None, SIZE, memory.PROT_READ | memory.PROT_WRITE, memory.MAP_SHARED, fd, 0)
        # From now on nothing else can be written to it, whatever becomes of the mapping to read.
        fcntl.fcntl(fd, memory.F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE)
        to_read = memory._mmap(None, SIZE, memory.PROT_READ, memory.MAP_SHARED, fd, 0)
    finally:
        os.close(fd)
    if memory.FAILED in (to_write, to_read):
        raise OSError("mmap")
    return to_write, to_read


def find(target, strict, scratch):
    """Look for fonts, in a process of its own at the lowest priority, and write the result."""
    import shutil
    import tempfile

    memory.libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.closerange(3, 1 << 10)
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(nothing, fd)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.alarm(PATIENCE)
    os.nice(19)
    if strict:  # in a file system of its own; there the interpreter cannot be
        unshare(CLONE_NEWNS, "fonts")
        mount(b"tmpfs", b"/dev/shm", b"tmpfs", MS_NOSUID | MS_NODEV, b"size=64m,mode=1777", "fonts")
        scratch = "/dev/shm"
    directory = tempfile.mkdtemp(prefix="fonts", dir=scratch)
    try:
        os.environ["MPLCONFIGDIR"] = directory
        __import__(LIBRARY + ".font_manager")
        name = next(name for name in os.listdir(directory) if name.startswith("fontlist") and name.endswith(".json"))
        with open(os.path.join(directory, name), "rb") as file:
            data = name.encode() + b"\0" + file.read()
        if len(data) <= SIZE - LENGTH:
            ctypes.memmove(target + LENGTH, data, len(data))
            ctypes.c_int64.from_address(target).value = len(data)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def put():
    """Give matplotlib the file with the fonts, before it looks for it."""
    length = ctypes.c_int64.from_address(result).value if result else 0
    home = os.path.expanduser("~")
    if not length or any(os.path.exists(os.path.join(home, name)) for name in OF_PROGRAMS):
        return
    name, _, content = ctypes.string_at(result + LENGTH, length).partition(b"\0")
    path = os.path.join(sys.modules[LIBRARY].get_cachedir(), name.decode())
    if not os.path.exists(path):
        with open(path, "wb") as file:
            file.write(content)
