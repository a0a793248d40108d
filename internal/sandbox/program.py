"""A list of system calls that runs without Python.

What a process pays for after a fork is each page of memory that it writes to, and
Python writes wherever it looks, to count references. Confining a worker takes some
hundred system calls; made from Python they cost as much as all the rest of an
execution. So the zygote prepares them as a table, and a few machine instructions
carry the table out: fork included, so that the new process comes back to Python when
it is confined already.

On architectures for which there are no instructions here, Python takes the steps.

Standard library only, Python 3.8 and later, Linux.
"""

import ctypes
import mmap
import os

MACHINE = os.uname().machine

# What a step's result must be; a number from 0 on stands for itself.
MAY_FAIL, FORK, NO_ERROR = -1, -2, -3
END = -1  # in the place of a system call's number

NUMBERS = {
    # name: x86_64, aarch64
    "clone": (56, 220), "set_robust_list": (273, 99), "get_robust_list": (274, 100), "setsid": (112, 157),
    "dup3": (292, 24), "fcntl": (72, 25), "close_range": (436, 436), "mount": (165, 40), "mkdirat": (258, 34),
    "chdir": (80, 49), "rt_sigprocmask": (14, 135), "prctl": (157, 167), "openat": (257, 56), "write": (1, 64),
    "close": (3, 57), "setgroups": (116, 159), "setresgid": (119, 149), "setresuid": (117, 147), "unshare": (272, 97),
    "capset": (126, 91), "landlock_create_ruleset": (444, 444), "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446), "mount_setattr": (442, 442), "setns": (308, 268), "pidfd_open": (434, 434), "pivot_root": (155, 41),
}
COLUMN = {"x86_64": 0, "aarch64": 1}.get(MACHINE)


def number(name):
    if COLUMN is None:
        raise OSError("no system call numbers for " + MACHINE)
    return NUMBERS[name][COLUMN]


# int run(step *table). A step is its number, six arguments and what the result must
# be. 0: all steps were taken; above 0: the result of the fork in the parent; below 0:
# the complement of the offset of the step that failed, which then has the result in
# the place of what it must be.
CODE = {
    # push rbx; push rbp; mov rbx,rdi; mov rbp,rdi
    # next: mov rax,[rbx]; cmp rax,-1; je end
    #       mov rdi,[rbx+8]; mov rsi,[rbx+16]; mov rdx,[rbx+24]
    #       mov r10,[rbx+32]; mov r8,[rbx+40]; mov r9,[rbx+48]; syscall
    #       mov rcx,[rbx+56]; cmp rcx,-1; je good
    #       cmp rcx,-2; jne 2f; test rax,rax; jg return; js bad; jmp good
    # 2:    cmp rcx,-3; jne 3f; test rax,rax; js bad; jmp good
    # 3:    cmp rax,rcx; jne bad
    # good: add rbx,64; jmp next
    # end:  xor eax,eax
    # return: pop rbp; pop rbx; ret
    # bad:  mov [rbx+56],rax; mov rax,rbx; sub rax,rbp; not rax; jmp return
    "x86_64": bytes.fromhex(
        "53554889fb4889fd488b034883f8ff744b488b7b08488b7310488b53184c8b53204c8b43284c8b4b300f05488b4b38"
        "4883f9ff74214883f9fe75094885c07f1e781feb124883f9fd75074885c07812eb054839c8750b4883c340ebac31c0"
        "5d5bc3488943384889d84829e848f7d0ebee"),
}.get(MACHINE)

WORD = 8
STEP = 8 * WORD

_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long


def native():
    """The instructions as a function that keeps the interpreter's lock, or None."""
    if CODE is None:
        return None
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    memory.write(CODE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None).mprotect
    protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    if protect(address, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC) != 0:
        return None  # a system that forbids this
    run = ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_void_p)(address)
    run.memory = memory  # lives as long as the function
    return run


class Program:
    """Steps that are prepared once and carried out in many processes."""

    def __init__(self, run=None):
        self.steps = []
        self.names = []  # of layer and call, for errors
        self.keep = []  # what the arguments point to
        self.native = run

    def add(self, layer, name, *args, expect=NO_ERROR):
        """Append a step; text and buffers are passed by address. Returns its index."""
        words = [number(name)]
        for arg in args:
            if isinstance(arg, bytes):
                arg = ctypes.create_string_buffer(arg)
            if not isinstance(arg, int) and arg is not None:
                self.keep.append(arg)
                arg = ctypes.addressof(arg)
            words.append(arg or 0)
        words += [0] * (7 - len(words)) + [expect]
        self.steps.append(words)
        self.names.append((layer, name))
        return len(self.steps) - 1

    def write_file(self, layer, path, data, fd):
        """Steps that write a file; fd is the number that it will get."""
        O_WRONLY, O_CLOEXEC, AT_FDCWD = 1, 0o2000000, -100
        self.add(layer, "openat", AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0, expect=fd)
        self.add(layer, "write", fd, data, len(data), expect=len(data))
        self.add(layer, "close", fd)

    def build(self):
        words = [word for step in self.steps for word in step] + [END] + [0] * 7
        self.table = (ctypes.c_int64 * len(words))(*words)
        self.address = ctypes.addressof(self.table)
        self.expected = [step[7] for step in self.steps]

    def set(self, step, argument, value):
        """Change an argument of a step, which is a number."""
        self.table[step * 8 + 1 + argument] = value

    def run(self):
        if self.native is not None:
            return self.native(self.address)
        return self.interpret()

    def interpret(self):
        for i in range(len(self.steps)):
            number, *args, expect = self.table[i * 8:i * 8 + 8]
            result = _syscall(number, *[ctypes.c_long(arg) for arg in args])
            if result < 0:
                result = -ctypes.get_errno()
            if expect == FORK and result > 0:
                return result
            bad = result < 0 if expect in (FORK, NO_ERROR) else expect != MAY_FAIL and result != expect
            if bad:
                self.table[i * 8 + 7] = result
                return ~(i * STEP)
        return 0

    def failure(self, code):
        """Layer, call and error of a run that returned a code below 0."""
        step = ~code // STEP
        result = self.table[step * 8 + 7]
        self.table[step * 8 + 7] = self.expected[step]
        layer, name = self.names[step]
        if result < 0:
            return layer, name, OSError(-result, os.strerror(-result))
        return layer, name, ValueError("unexpected result %d" % result)
