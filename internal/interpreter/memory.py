"""How the zygote's memory is arranged, which is what its forks cost.

Standard library only, Python 3.8 and later, Linux.
"""

import ctypes
import os

PAGE, HUGE = 4096, 2 << 20
PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS = 1, 2, 0x10, 0x20
MADV_COLLAPSE = 25  # since Linux 6.1
F_ADD_SEALS, SEAL_ALL = 1033, 0xF  # no other seals, no shrinking, growing, writing
FAILED = ctypes.c_void_p(-1).value

libc = ctypes.CDLL(None, use_errno=True)
_mmap, _munmap, _madvise = libc.mmap, libc.munmap, libc.madvise
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def enlarge_program_pages():
    """Put the interpreter's program on huge pages, as far as it fills any.

    A worker finds none of it mapped, and maps it in pieces of 64 kB as it gets there: a
    fifth of all its page faults. A huge page is there at the first one. The program and
    its constants must be one mapping for that, so the constants can be executed too. It
    is a copy which nobody can change any more. Where it cannot be had nothing changes.
    """
    start, end = program_mapping()
    start, end = -(-start // HUGE) * HUGE, end // HUGE * HUGE
    if end <= start or os.sysconf("SC_PAGESIZE") != PAGE:
        return False
    try:
        fd = os.memfd_create("program", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError:
        return False
    try:
        return copy_to_huge_pages(start, end - start, fd) and put(start, end - start, fd)
    except OSError:
        return False
    finally:
        os.close(fd)


def program_mapping():
    """Where the interpreter's program is: the mappings of its file up to what it writes."""
    inside = ctypes.cast(ctypes.pythonapi.Py_IncRef, ctypes.c_void_p).value
    start = end = 0
    name = None
    with open("/proc/self/maps") as file:
        for line in file:
            fields = line.split()
            first, last = [int(word, 16) for word in fields[0].split("-")]
            path = fields[5] if len(fields) > 5 and "w" not in fields[1] else None
            if path is None or path != name or first != end:
                if start <= inside < end:
                    break
                start, name = first, path
            end = last
    return (start, end) if start <= inside < end else (0, 0)


def copy_to_huge_pages(start, size, fd):
    if os.pwrite(fd, (ctypes.c_char * size).from_address(start), 0) != size:
        return False
    room = _mmap(None, size + HUGE, 0, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if room == FAILED:
        return False
    try:
        aligned = -(-room // HUGE) * HUGE
        return (_mmap(aligned, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == aligned
                and _madvise(aligned, size, MADV_COLLAPSE) == 0)
    finally:
        _munmap(room, size + HUGE)


def put(start, size, fd):
    """Replace the program while it runs, in one step, by a copy."""
    import fcntl

    fcntl.fcntl(fd, F_ADD_SEALS, SEAL_ALL)
    return _mmap(start, size, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd, 0) == start


def trim():
    """Give back what is free: a fork would copy it all the same."""
    try:
        libc.malloc_trim(0)
    except AttributeError:
        pass  # not every C library has it
