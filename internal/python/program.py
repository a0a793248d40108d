"""A list of system calls that runs without Python.

After a fork a process pays for each page of memory that it writes to. Python writes to every
object that it looks at, to count references. Confining a worker takes some hundred system calls,
and a slot makes some twenty for each worker. Made from Python they cost as much as all the rest
of an execution. So they are prepared as a table, and a few machine instructions take the steps of
the table. The fork is one of them, so the new process returns to Python after it was confined.

A step of the table is nine words: the action, six arguments, the expected result, and the step to
go on at if the result differs. The word before the first step has the last result. The actions
are system calls, and to copy memory, compare it, add numbers in it or keep the larger one, go on
at another step, and return to Python.

A program leaves no copy of its data in Python's memory, which later forks would have. The data
is only where the steps have put it.

On architectures without machine code here, and with KAA_PLAIN=machine-code, Python takes the steps.

Standard library only, Python 3.8 and later, Linux.
"""

import ctypes
import os

MACHINE = os.uname().machine

# Actions in the place of a system call's number: return the first argument; copy memory, with
# the arguments target and source; compare memory, with the result 0 if it is equal; go on at a
# step; add a word of memory to another; replace a word by another if that is larger.
LEAVE, COPY, SAME, JUMP, ADD, MOST = -1, -2, -3, -4, -5, -6
# Expected results. Other numbers stand for themselves. FORK expects 0, the result in the new
# process. In the other process the result is not the expected one.
MAY_FAIL, FORK, NO_ERROR = -10001, -10002, -10003

NUMBERS = {
    # name: x86_64, aarch64
    "clone": (56, 220), "set_robust_list": (273, 99), "get_robust_list": (274, 100), "setsid": (112, 157),
    "dup3": (292, 24), "fcntl": (72, 25), "close_range": (436, 436), "chdir": (80, 49), "rt_sigprocmask": (14, 135),
    "prctl": (157, 167), "openat": (257, 56), "write": (1, 64),
    "close": (3, 57), "setgroups": (116, 159), "setresgid": (119, 149), "setresuid": (117, 147), "unshare": (272, 97),
    "capset": (126, 91), "landlock_create_ruleset": (444, 444), "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446), "mount_setattr": (442, 442), "setns": (308, 268), "pidfd_open": (434, 434),
    "pivot_root": (155, 41), "ppoll": (271, 73), "recvmsg": (47, 212), "sendto": (44, 206), "read": (0, 63),
    "wait4": (61, 260), "kill": (62, 129), "statx": (332, 291), "listxattr": (194, 11), "pread64": (17, 67),
    "pwrite64": (18, 68), "mmap": (9, 222), "execve": (59, 221), "exit_group": (231, 94), "rt_sigaction": (13, 134),
    "prlimit64": (302, 261), "umask": (95, 166), "ioctl": (16, 29),
}
COLUMN = {"x86_64": 0, "aarch64": 1}.get(MACHINE)


def number(name):
    if COLUMN is None:
        raise OSError("no system call numbers for " + MACHINE)
    return NUMBERS[name][COLUMN]


# long run(char *first, long offset). It begins at the step that is offset bytes after the
# first. It returns the argument of LEAVE. If a step has an unexpected result and no step to go
# on at, it returns the complement of the step's offset. program.asm is the source.
CODE = {
    "x86_64": bytes.fromhex(
        "53554889fd488d1c37488b03488b7b08488b7310488b53184885c0784c4c8b53204c8b43284c8b4b300f05488945f848"
        "8b4b384881f9efd8ffff74274881f9eed8ffff75094885c07419787beb664881f9edd8ffff75074885c07858eb054839"
        "c875514883c348eba04889d14883f8fe741d4883f8fd74304883f8fc743f4883f8fb740f4883f8fa74114889f8eb41f3"
        "a4ebd0488b0e48010febc8488b0e483b0f7ec048890febbb31c0f3a60f95c0e977ffffff488b7b404885ff780a488d5c"
        "3d00e942ffffff4889d84829e848f7d05d5bc3"),
}.get(MACHINE)

WORD = 8
STEP = 9 * WORD  # bytes
EXPECT = 7  # the word of a step with the expected result; the step to go on at follows
STOP = -1  # in the place of a step to go on at

libc = ctypes.CDLL(None, use_errno=True)
_syscall = libc.syscall
_syscall.restype = ctypes.c_long
_memcmp = libc.memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
ZERO = ctypes.c_int64()


def native():
    """The instructions as a function that keeps the interpreter's lock, or None."""
    if CODE is None:
        return None
    PROT_READ, PROT_WRITE, PROT_EXEC, MAP_PRIVATE, MAP_ANONYMOUS = 1, 2, 4, 2, 0x20
    size = os.sysconf("SC_PAGESIZE")
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    address = libc.mmap(None, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if address == ctypes.c_void_p(-1).value:
        return None
    ctypes.memmove(address, CODE, len(CODE))
    libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    if libc.mprotect(address, size, PROT_READ | PROT_EXEC) != 0:
        return None  # the system forbids this
    return ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_long)(address)


class Program:
    """Steps that are prepared once and carried out in many processes."""

    def __init__(self, run=None):
        self.steps = []
        self.names = []  # of layer and call, for errors
        self.labels = {}
        self.keep = []  # the buffers to which the arguments point
        self.native = run
        # Whether Python has added numbers, of which it has copies in its memory now.
        self.exposed = False

    def add(self, layer, name, *args, expect=NO_ERROR, otherwise=None):
        """Append a system call. Text and buffers are passed by address. If its result is not as
        expected, the program goes on at the label, or stops. Return its index."""
        return self.append(layer, name, number(name), args, expect, otherwise)

    def append(self, layer, name, what, args=(), expect=MAY_FAIL, otherwise=None):
        self.steps.append([what, list(args), expect, otherwise])
        self.names.append((layer, name))
        return len(self.steps) - 1

    def label(self, name):
        """Name the next step."""
        self.labels[name] = len(self.steps) * STEP

    def copy(self, target, source, size):
        self.append("", "copy", COPY, (target, source, size))

    def same(self, one, other, size, otherwise=None):
        """Go on at the label, or stop, unless the memory is equal."""
        self.append("", "compare", SAME, (one, other, size), 0, otherwise)

    def sum(self, target, source):
        """Add a word of memory to another."""
        self.append("", "add", ADD, (target, source))

    def most(self, target, source):
        """Let a word of memory be the larger of it and another, as signed numbers."""
        self.append("", "compare", MOST, (target, source))

    def jump(self, label):
        self.append("", "jump", JUMP, (label,))

    def leave(self, value):
        """Go back to Python."""
        self.append("", "leave", LEAVE, (value,))

    def write_file(self, layer, path, data, fd):
        """Steps that write a file; fd is the number that it will get."""
        O_WRONLY, O_CLOEXEC, AT_FDCWD = 1, 0o2000000, -100
        self.add(layer, "openat", AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0, expect=fd)
        self.add(layer, "write", fd, data, len(data), expect=len(data))
        self.add(layer, "close", fd)

    def build(self):
        self.leave(0)
        self.table = (ctypes.c_int64 * (1 + len(self.steps) * STEP // WORD))()
        self.address = ctypes.addressof(self.table) + WORD
        words = []
        for what, args, expect, otherwise in self.steps:
            args = [self.resolve(arg) for arg in args]
            words += [what] + args + [0] * (EXPECT - 1 - len(args)) + [expect, STOP if otherwise is None else self.labels[otherwise]]
        self.table[1:] = words

    def resolve(self, arg):
        """Return an argument as a number: the address of text and buffers, the offset of a label,
        the place of Word and RESULT in the table."""
        if arg is None:
            return 0
        if isinstance(arg, int):
            return arg
        if isinstance(arg, str):
            return self.labels[arg]
        if isinstance(arg, Word):
            return self.address + arg.step * STEP + arg.word * WORD
        if isinstance(arg, bytes):
            arg = ctypes.create_string_buffer(arg)
        self.keep.append(arg)
        return ctypes.addressof(arg)

    def result(self):
        """The result of the last system call or comparison."""
        return self.table[0]

    def run(self, label=None):
        """Take the steps, from the label on. Return the argument of LEAVE, or in the process that
        forked the id of the new one. If a step failed, return the complement of its offset."""
        start = 0 if label is None else self.labels[label]
        code = self.native(self.address, start) if self.native is not None else self.interpret(start)
        if code < 0 and self.steps[~code // STEP][2] == FORK and self.table[0] > 0:
            return self.table[0]
        return code

    def interpret(self, offset):
        while True:
            first = 1 + offset // WORD
            what, *args, expect, otherwise = self.table[first:first + STEP // WORD]
            offset += STEP
            if what == LEAVE:
                return args[0]
            if what == JUMP:
                offset = args[0]
            elif what == COPY:
                ctypes.memmove(*args[:3])
            elif what in (ADD, MOST):
                self.calculate(what, args[0], args[1])
            else:
                if what == SAME:
                    result = int(_memcmp(*args[:3]) != 0)
                else:
                    result = _syscall(what, *[ctypes.c_long(arg) for arg in args])
                    if result < 0:
                        result = -ctypes.get_errno()
                self.table[0] = result
                if not fits(result, expect):
                    if otherwise == STOP or (expect == FORK and result < 0):
                        return ~(offset - STEP)
                    offset = otherwise

    def calculate(self, what, target, source):
        if _memcmp(target, ctypes.addressof(ZERO), WORD) == 0:
            ctypes.memmove(target, source, WORD)  # no number is negative
            return
        self.exposed = True
        one, other = [ctypes.c_int64.from_address(address) for address in (target, source)]
        one.value = one.value + other.value if what == ADD else max(one.value, other.value)

    def failure(self, code):
        """Return layer, call and error of a run that returned a code below 0."""
        layer, name = self.names[~code // STEP]
        result = self.table[0]
        if result < 0:
            return layer, name, OSError(-result, os.strerror(-result))
        return layer, name, ValueError("unexpected result %d" % result)


def fits(result, expect):
    if expect == MAY_FAIL:
        return True
    if expect == NO_ERROR:
        return result >= 0
    return result == (0 if expect == FORK else expect)


class Word:
    """A word of a step in the table of its program. 0 is the action, then come the arguments and
    EXPECT."""

    def __init__(self, step, word):
        self.step, self.word = step, word


RESULT = Word(0, -1)  # of the last system call or comparison
