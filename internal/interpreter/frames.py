"""Keeps Kaa's own frames off the stack of the code.

Python has no call that runs code without the caller's frames below. enter makes one: right
before it calls, it sets the pointer to the current frame, which the thread's state has, to
NULL, so that the next frame has none before it, as the one of a script. The interpreter's
loop holds the frame that it executes itself, and sets the pointer anew from what that frame
knows of its caller when it returns. So nothing has to be put back, whatever is raised
wherever.

Where the pointer is differs from version to version. find looks for it, a child tries it
out, and if anything is not as expected, enter calls as ever.

Standard library only, Python 3.8 and later.
"""

import builtins

__builtins__ = dict(vars(builtins))  # see repl_worker.py

import os
import sys
from functools import partial

STATE = 256  # bytes of the beginning of a thread's state, which has more
WORD = 8
FRAME_DATA = 24  # of a frame object, from 3.11 on: where its pointer to the frame is
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


class Nowhere:
    """Stands for pointers that are not known: frames are as they are."""

    top = value = None


# What the count of calls is to be for code that is called by enter, so that it may go as deep
# as a script: beside the limit from 3.11 on.
SPARE = -2 if sys.version_info < (3, 9) else -1 if sys.version_info < (3, 11) else 1 if sys.version_info < (3, 12) else 0


def make(place, depth):
    """Return enter, which calls what is written in C, so that frames of Python begin anew.

    place is what has the pointer as its attribute top, or refers to it. depth has the thread's
    count of calls as its attribute value: how many there are or, from 3.11 on, are left until
    the limit. What it is for other frames does not matter: it is set for each entry.
    """
    gettrace, settrace, getprofile, setprofile = sys.gettrace, sys.settrace, sys.getprofile, sys.setprofile
    limit = sys.getrecursionlimit
    counts_down = sys.version_info >= (3, 11)
    refers = hasattr(place, "contents")
    spare = SPARE

    def enter(*calls):
        depth.value = limit() + spare if counts_down else spare
        if refers:
            place.contents.top = None
        else:
            place.top = None
        try:
            for call in calls:
                value = call()
            return value
        finally:  # a function of ours would be seen by what traces
            if gettrace() is not None:
                settrace(None)
            if getprofile() is not None:
                setprofile(None)

    return enter


class Unknown(Exception):
    """This interpreter is not like those that are known."""


def find():
    """Return what make needs."""
    import ctypes

    if not getattr(sys, "_is_gil_enabled", lambda: True)() or hasattr(sys, "gettotalrefcount"):
        raise Unknown  # others would run at the same time, or the interpreter checks itself
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != WORD or sys.byteorder != "little":
        raise Unknown
    get_state = ctypes.pythonapi.PyThreadState_Get
    get_state.restype = ctypes.c_void_p
    state = get_state()
    words = list((ctypes.c_void_p * (STATE // WORD)).from_address(state))
    frame = frame_of(ctypes, sys._getframe())
    found = [i * WORD for i, word in enumerate(words) if word == frame]
    if len(found) == 1:
        return structure(ctypes, found[0]).from_address(state), find_depth(ctypes, state)
    if found or sys.version_info < (3, 11):
        raise Unknown
    offset, at = find_via(ctypes, words)
    return ctypes.POINTER(structure(ctypes, at)).from_address(state + offset), find_depth(ctypes, state)


def frame_of(ctypes, frame):
    """What the pointer is when frame is the current one."""
    return id(frame) if sys.version_info < (3, 11) else ctypes.c_void_p.from_address(id(frame) + FRAME_DATA).value


def structure(ctypes, offset):
    return type("Frames", (ctypes.Structure,), {"_fields_": [("rest", ctypes.c_char * offset), ("top", ctypes.c_void_p)]})


def find_via(ctypes, words):
    """Find the pointer where the state points to: 3.11 and 3.12 have a structure of its own
    for each run of the interpreter's loop."""
    ours, theirs = os.pipe()
    write = ctypes.CDLL(None).write
    write.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
    frame, found = frame_of(ctypes, sys._getframe()), []
    for i, word in enumerate(words):
        # The kernel knows what is no address.
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


def find_depth(ctypes, state):
    """Find the count of calls: the only number that each call changes by one."""
    numbers = (ctypes.c_int * (STATE // 4)).from_address(state)
    seen = []

    def look(n):
        seen.append(list(numbers))
        if n:
            look(n - 1)

    look(5)
    step = -1 if sys.version_info >= (3, 11) else 1
    found = [i for i in range(len(numbers)) if all(b[i] - a[i] == step for a, b in zip(seen, seen[1:]))]
    if len(found) != 1 or step < 0 and numbers[found[0] + 1] != sys.getrecursionlimit():
        raise Unknown
    return ctypes.c_int.from_address(state + 4 * found[0])


def stack():
    frame, found = sys._getframe(1), []
    while frame is not None:
        found.append(frame.f_code)
        frame = frame.f_back
    return found


def works(enter):
    """Whether it does what it is for, and the frames of the caller are as they were."""
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
    return all([once() for _ in range(50)]) and stack() == before


def tried(enter):
    """Try it in a child, which may break."""
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
    """Return enter(*calls), which calls what is written in C, one after the other, with no
    frames before it; then it stops tracing and returns the value of the last."""
    try:
        enter = None if plain else make(*find())
        if enter is not None and tried(enter):
            return enter
    except Exception:
        pass
    return make(Nowhere(), Nowhere())
