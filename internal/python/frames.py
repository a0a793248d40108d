"""Keeps Kaa's own frames off the stack of the code.

Python has no call that runs code without the caller's frames below it. The function enter is
such a call. A piece of machine code sets the pointer to the current frame, in the thread's
state, to NULL, and calls. So the next frame has none before it, like that of a script. Then
the machine code restores the pointer.

The place of the pointer differs from version to version. find looks for it, and a child tries
it. If anything is not as expected, enter calls in the ordinary way.

Standard library only, Python 3.8 and later.
"""

import ctypes
import os
import sys
from functools import partial

from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

STATE = 256  # bytes at the beginning of a thread's state that are searched
WORD = 8
FRAME_DATA = 24  # the offset in a frame object, from 3.11 on, of its pointer to the frame
TRIAL = """
def depth(n):
    return 1 if n == 0 else 1 + depth(n - 1)
def numbers():
    yield sys._getframe().f_back.f_code.co_name
frames.append(sys._getframe().f_back)
frames.append(list(numbers())[0])
frames.append(depth(sys.getrecursionlimit() - 20))
sys.setrecursionlimit(sys.getrecursionlimit())
1 // 0
"""


class Unknown(Exception):
    """This interpreter differs from the known ones."""


# The arguments are a callable, the address of the pointer and that of PyObject_CallObject. The
# code calls with a pointer of NULL. It restores the pointer before any Python code runs, because
# a tracer looks for the current frame when an exception arrives. frames.asm is the source.
CODE = {
    "x86_64": bytes.fromhex("53 41 54 41 54 48 89 f3 4c 8b 26 48 c7 06 00 00 00 00 31 f6 ff d2 4c 89 23 41 5c 41 5c 5b c3"),
}.get(os.uname().machine)


def native():
    """Return CODE as a function, and the address of PyObject_CallObject."""
    if CODE is None:
        raise Unknown
    PROT_READ, PROT_WRITE, PROT_EXEC, MAP_PRIVATE, MAP_ANONYMOUS = 1, 2, 4, 2, 0x20
    libc, size = ctypes.CDLL(None), os.sysconf("SC_PAGESIZE")
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    address = libc.mmap(None, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if address == ctypes.c_void_p(-1).value:
        raise Unknown
    ctypes.memmove(address, CODE, len(CODE))
    if libc.mprotect(address, size, PROT_READ | PROT_EXEC) != 0:
        raise Unknown  # the system forbids this
    function = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.c_void_p, ctypes.c_void_p)(address)
    return function, ctypes.cast(ctypes.pythonapi.PyObject_CallObject, ctypes.c_void_p).value


# The count of calls that code begins with, so that it may go as deep as a script. From 3.11 on
# the recursion limit is added.
SPARE = -3 if sys.version_info < (3, 9) else -2 if sys.version_info < (3, 11) else 2 if sys.version_info < (3, 12) else 0
# The depth of calls that Kaa's scripts may have afterwards, however low a limit the code has set.
ROOM = 500
COUNTS_DOWN = sys.version_info >= (3, 11)


def make(loop, offset, depth, run, address):
    """Return enter, which calls functions so that their frames have none before them.

    offset is the address of the pointer. If the pointer is in a structure of the interpreter's
    loop, offset is its place there, and loop refers to the structure. depth has the thread's count
    of calls as its attribute value. Up to 3.10 it counts the calls, from 3.11 on those that are
    left. Its value for other frames does not matter, because enter sets it each time.
    """
    gettrace, settrace, getprofile, setprofile = sys.gettrace, sys.settrace, sys.getprofile, sys.setprofile
    limit, addressof = sys.getrecursionlimit, ctypes.addressof
    counts_down, spare, room = COUNTS_DOWN, SPARE, ROOM if COUNTS_DOWN else -ROOM

    def enter(*calls):
        place = offset if loop is None else addressof(loop.contents) + offset
        depth.value = limit() + spare if counts_down else spare
        try:
            for call in calls:
                value = run(call, place, address)
            return value
        finally:  # without a call of a function in Python, which a tracer would see
            if gettrace() is not None:
                settrace(None)
            if getprofile() is not None:
                setprofile(None)
            depth.value = limit() + room if counts_down else room

    return enter


def make_plain():
    """Return an enter that calls in the ordinary way."""
    class Number:
        value = 0

    return make(None, 0, Number(), lambda call, *_: call(), 0)


def find():
    """Return the arguments of make."""
    if not getattr(sys, "_is_gil_enabled", lambda: True)() or hasattr(sys, "gettotalrefcount"):
        raise Unknown  # other threads would run at the same time, or the interpreter checks itself
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != WORD or sys.byteorder != "little":
        raise Unknown
    get_state = ctypes.PyDLL(None).PyThreadState_Get
    get_state.restype = ctypes.c_void_p
    state = get_state()
    words = list((ctypes.c_void_p * (STATE // WORD)).from_address(state))
    frame = frame_of(sys._getframe())
    found = [i * WORD for i, word in enumerate(words) if word == frame]
    depth = find_depth(state)
    if len(found) == 1:
        return (None, state + found[0], depth) + native()
    if found or sys.version_info < (3, 11):
        raise Unknown
    offset, at = find_via(words)
    loop = ctypes.POINTER(ctypes.c_char).from_address(state + offset)
    return (loop, at, depth) + native()


def frame_of(frame):
    """Return the value of the pointer while frame is the current one."""
    return id(frame) if sys.version_info < (3, 11) else ctypes.c_void_p.from_address(id(frame) + FRAME_DATA).value


def find_via(words):
    """Find the pointer in the structures to which the state points. 3.11 and 3.12 have one for each
    run of the interpreter's loop."""
    ours, theirs = os.pipe()
    write = ctypes.CDLL(None).write
    write.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
    frame, found = frame_of(sys._getframe()), []
    for i, word in enumerate(words):
        # write fails if the word is not a valid address.
        if word is not None and word % WORD == 0 and write(theirs, word, 2 * WORD) == 2 * WORD:
            data = os.read(ours, 2 * WORD)
            for at in (0, WORD):
                if int.from_bytes(data[at:at + WORD], sys.byteorder) == frame:
                    found.append((i * WORD, at))
    os.close(ours)
    os.close(theirs)
    if len(found) != 1:
        raise Unknown
    return found[0]


def find_depth(state):
    """Find the count of calls, the only number that each call changes by one."""
    numbers = (ctypes.c_int * (STATE // 4)).from_address(state)
    seen = []

    def look(n):
        seen.append(list(numbers))
        if n:
            look(n - 1)

    look(5)
    step = -1 if sys.version_info >= (3, 11) else 1
    found = [i for i in range(len(numbers)) if all(b[i] - a[i] == step for a, b in zip(seen, seen[1:]))]
    if len(found) != 1 or (step < 0 and numbers[found[0] + 1] != sys.getrecursionlimit()):
        raise Unknown
    return ctypes.c_int.from_address(state + 4 * found[0])


def stack():
    frame, found = sys._getframe(1), []
    while frame is not None:
        found.append(frame.f_code)
        frame = frame.f_back
    return found


def works(enter):
    """Return whether enter works, and leaves the frames of its caller unchanged."""
    def once():
        frames = []
        try:
            enter(partial(eval, compile(TRIAL, "<trial>", "exec"), {"frames": frames, "sys": sys}))
        except ZeroDivisionError as error:
            trace = error.__traceback__
            while trace.tb_next is not None:
                trace = trace.tb_next
            return frames == [None, "<module>", sys.getrecursionlimit() - 19] and trace.tb_frame.f_back is None
        return False

    before = stack()
    return all([once() for _ in range(50)]) and stack() == before  # noqa: C419 - all 50, without a generator's frame


def tried(enter):
    """Return whether enter works in a child. The child may crash."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if works(enter):
                os.write(theirs, b"1")
        finally:
            os._exit(0)
    os.close(theirs)
    answer = os.read(ours, 1)
    os.close(ours)
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:  # where SIGCHLD is ignored
        pass
    return answer == b"1"


def install(plain=False):
    """Return enter(*calls). It calls functions written in C, one after the other, with no frames
    before them. Then it stops tracing and returns the value of the last one."""
    try:
        enter = None if plain else make(*find())
        if enter is not None and tried(enter):
            return enter
    except Exception:
        pass
    return make_plain()
