"""How the zygote's memory is arranged, which is what its forks cost.

Standard library only, Python 3.8 and later, Linux.
"""

import ctypes
import os
import sys

PAGE, HUGE = 4096, 2 << 20
PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS = 1, 2, 0x10, 0x20
# Of Python's allocator: the largest object that it has a place for, and the size of an arena.
SMALL, ARENA = 512, 256 << 10 if sys.version_info < (3, 10) else 1 << 20
RESERVED = 64 << 20
MADV_COLLAPSE = 25  # since Linux 6.1
F_ADD_SEALS, SEAL_ALL = 1033, 0xF  # no other seals, no shrinking, growing, writing
MOST_WRITTEN = 1 << 30  # bytes at once, as far as the kernel goes in one step
FAILED = ctypes.c_void_p(-1).value

libc = ctypes.CDLL(None, use_errno=True)
_mmap, _munmap, _madvise, _mprotect = libc.mmap, libc.munmap, libc.madvise, libc.mprotect
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_mincore = libc.mincore
_mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
_mprotect.argtypes = _madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def enlarge_program_pages():
    """Put the interpreter's program on huge pages, as far as it fills any.

    A worker finds none of it mapped, and maps it in pieces of 64 kB as it gets there: a
    fifth of all its page faults. A huge page is there at the first one. The program and
    its constants must be one mapping for that, so the constants can be executed too. It
    is a sealed copy that no process can change. If the kernel cannot make it, nothing changes.
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
    """Where the interpreter's program is: the mappings of its file before the first writable one."""
    inside = ctypes.cast(ctypes.pythonapi.Py_IncRef, ctypes.c_void_p).value
    begin = reached = 0
    name = None
    for start, end, mode, path in file_mappings():
        if "w" in mode or not path.startswith("/") or path != name or start != reached:
            if begin <= inside < reached:
                break
            begin, name = start, None if "w" in mode else path
        reached = end
    return (begin, reached) if begin <= inside < reached else (0, 0)


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
    """Replace the program by a copy, in one step, while it runs."""
    import fcntl

    fcntl.fcntl(fd, F_ADD_SEALS, SEAL_ALL)
    return _mmap(start, size, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd, 0) == start


def reserve():
    """Have Python's allocator get much memory at once. It asks the kernel for an arena when it
    needs one, and while libraries are loaded the mappings of their files would come in between.
    The result holds an object in each arena, so that the allocator keeps all arenas until they
    are needed. All have the same number of free places then, and the allocator takes the arena
    that had them first. So the memory in use is contiguous."""
    things = [b""] * (RESERVED // SMALL)
    for i in range(len(things)):
        things[i] = bytes(SMALL - b"".__sizeof__())
    first = min(map(id, things))
    held, last = [], None
    for thing in things:
        arena = (id(thing) - first) // ARENA
        if arena != last:
            held.append(thing)
            last = arena
    return held


def enlarge_pages():
    """Put Python's memory on huge pages, where most of a huge page is in use. A fork
    copies one entry for each, instead of 512, and an end has as many less to look at."""
    present = ctypes.create_string_buffer(HUGE // PAGE)
    for start, end, mode, path in list(file_mappings()):
        if mode != "rw-p" or path not in ("", "[heap]"):
            continue
        for address in range(-(-start // HUGE) * HUGE, end // HUGE * HUGE, HUGE):
            if _mincore(address, HUGE, present) == 0 and present.raw.count(b"\1") > HUGE // PAGE // 2:
                _madvise(address, HUGE, MADV_COLLAPSE)


def share(before, steps):
    """Move the memory that is newer than the mappings before to a file that forks share.

    A fork copies the table of a mapping if anything in it was written to, and enters the
    mapping in lists of shared pages; an end undoes both. Libraries are many such
    mappings, since the linker writes to each, and Python's memory is large ones. None of
    them has been written to if it maps a file in memory privately, with its content as it
    is now. A fork then copies nothing of it, and a process copies the pages that it writes to, as
    before. The file cannot be changed any more. It has each byte at the offset of its
    address, so neighbours are one mapping, and pages of the file can be large ones.

    steps is an empty program: what is replaced must not change meanwhile, which it would if
    Python ran. Where it would, and where the file cannot be had, nothing changes.
    """
    ranges = list(joined(written(before)))
    if steps.native is None or not ranges or os.sysconf("SC_PAGESIZE") != PAGE:
        return False
    try:
        fd = os.memfd_create("preloaded", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError:
        return False
    try:
        os.truncate(fd, -(-ranges[-1][1] // HUGE) * HUGE)
        for start, end, _ in ranges:
            prepare_huge_pages(fd, -(-start // HUGE) * HUGE, end // HUGE * HUGE)
        for start, end, _ in ranges:
            for at in range(start, end, MOST_WRITTEN):
                size = min(end - at, MOST_WRITTEN)
                steps.add("memory", "pwrite64", fd, at, size, at, expect=size)
        steps.add("memory", "fcntl", fd, F_ADD_SEALS, SEAL_ALL)
        for start, end, protection in ranges:
            steps.add("memory", "mmap", start, end - start, protection, MAP_PRIVATE | MAP_FIXED, fd, start, expect=start)
        steps.build()
        return steps.run() == 0
    except OSError:
        return False
    finally:
        os.close(fd)


def written(before):
    """The ranges that can be shared: start, end and protection, in order. Of memory without a
    file, these are the ranges of which most is in use. Untouched pages would take memory in the
    file."""
    old = [(start, end) for start, end, _, _ in before]
    files = {path for _, _, _, path in before if path.startswith("/")}
    mappings = list(file_mappings())
    nothing = (0, 0, "", "")
    for (start, end, mode, path), after in zip(mappings, mappings[1:] + [nothing]):
        if path.startswith("/"):
            relocated = mode == "r--p" and after[2:] == ("rw-p", path) and after[0] == end
            if (mode == "rw-p" or relocated) and path not in files and ".so" in os.path.basename(path):
                yield start, end, PROT_READ | PROT_WRITE if mode == "rw-p" else PROT_READ
        elif mode == "rw-p" and path in ("", "[heap]"):
            for new_start, new_end in without(start, end, old):
                for at, till in pieces(new_start, new_end):
                    if is_in_use(at, till):
                        yield at, till, PROT_READ | PROT_WRITE


def without(start, end, old):
    """The parts of a range that are in none of the old ones, which are in order."""
    for old_start, old_end in old:
        if old_end <= start or old_start >= end:
            continue
        if old_start > start:
            yield start, old_start
        start = old_end
    if start < end:
        yield start, end


def pieces(start, end):
    """A range in pieces that huge pages begin and end with."""
    while start < end:
        till = min(end, (start // HUGE + 1) * HUGE)
        yield start, till
        start = till


def is_in_use(start, end):
    present = ctypes.create_string_buffer((end - start) // PAGE)
    return _mincore(start, end - start, present) == 0 and present.raw.count(b"\1") * 2 > (end - start) // PAGE


def joined(ranges):
    last = None
    for start, end, protection in ranges:
        if last and last[1:] == (start, protection):
            last = last[0], end, protection
            continue
        if last:
            yield last
        last = start, end, protection
    if last:
        yield last


def prepare_huge_pages(fd, start, end):
    """Fill a range of a file with huge pages, if there are any."""
    if start >= end:
        return
    at = _mmap(None, end - start + HUGE, 0, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if at == FAILED:
        return
    aligned = -(-at // HUGE) * HUGE
    for offset in range(start, end, HUGE):
        if os.pwrite(fd, (ctypes.c_char * HUGE).from_address(offset), offset) == HUGE \
                and _mmap(aligned, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, offset) == aligned:
            _madvise(aligned, HUGE, MADV_COLLAPSE)
    _munmap(at, end - start + HUGE)


def merge_mappings():
    """Make the read-only mapping of a library one mapping with its program. Each mapping costs a
    fork and an end as much as a page. The linker's protected ranges stay protected."""
    mappings = list(file_mappings())
    for (start, end, mode, path), (after, _, next_mode, next_path) in zip(mappings, mappings[1:]):
        protected = next_mode == "rw-p" and next_path == path and after == end
        if mode == "r--p" and ".so" in os.path.basename(path) and not protected:
            _mprotect(start, end - start, PROT_READ | PROT_EXEC)  # if it cannot be, it stays apart


def file_mappings():
    with open("/proc/self/maps") as file:
        for line in file:
            fields = line.split(None, 5)
            start, end = [int(word, 16) for word in fields[0].split("-")]
            yield start, end, fields[1], fields[5].rstrip("\n") if len(fields) > 5 else ""


def trim():
    """Give back free memory. A fork would copy it, too."""
    try:
        libc.malloc_trim(0)
    except AttributeError:
        pass  # not every C library has it
