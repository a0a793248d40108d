"""The program of a slot: the steps for nearly every worker, without Python.

It waits, makes a worker at the runner's command, and reports the worker's end if the worker has
left no files. It returns to slot.py for all other work.

Standard library only, Python 3.8 and later, Linux.
"""

import _socket as socket  # see channel.py
import ctypes
import errno
import os
import select
import signal
import struct

import confinement
import program
from kernel import SUPERVISION
from root import TMP, WORK

SIGKILL = int(signal.SIGKILL)
# The reasons for which the program returns. 0 is the worker, in its own process, and so is AWAITED.
COMMAND, ENDED, TOUCHED, GONE, AWAITED, CHILDREN_LEFT, NO_CHILDREN, JOINED = range(1, 9)
MOST = 16 << 10  # bytes of a command; paths are the most of it
FDS = 4


class Report(ctypes.Structure):
    """The report to the runner after all processes of a worker have ended."""

    _fields_ = [
        ("kind", ctypes.c_char), ("touched", ctypes.c_uint8), ("spent", ctypes.c_uint8), ("reserved", ctypes.c_uint8),
        ("status", ctypes.c_int32), ("usage", ctypes.c_int64 * 18),  # a struct rusage
    ]


class Header(ctypes.Structure):
    """A struct msghdr."""

    _fields_ = [
        ("name", ctypes.c_void_p), ("name_size", ctypes.c_uint32), ("pieces", ctypes.c_void_p), ("piece_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p), ("control_size", ctypes.c_size_t), ("flags", ctypes.c_int),
    ]


class State(ctypes.Structure):
    """The state that the program and Python share."""

    _fields_ = [
        ("pid", ctypes.c_int64),  # the worker's, or 0
        ("received", ctypes.c_int64),  # the size of the last command, or the error
        ("special", ctypes.c_int64),  # not 0: the end of this worker, or the next one's beginning, needs Python
        ("reaped", ctypes.c_int64),  # the child that was waited for, or the error
        ("grouped", ctypes.c_int64),  # not 0: the worker is one of a fork group, and Python waits for commands
        ("usual", ctypes.c_int64), ("nothing", ctypes.c_int64), ("childless", ctypes.c_int64),  # constants
    ]


class SlotProgram:
    """The steps, and the memory that they use."""

    def __init__(self, slot, zygote, owner):
        self.strict, self.channel, self.children, self.last_pid = slot.strict, slot.channel, slot.children, slot.last_pid
        # Those resources that the program compares with a new one.
        self.looked_at = [slot.disk, slot.network, slot.terminals] if self.strict else []
        self.state, self.report = State(), Report(kind=b"E")
        self.child = Report()  # the same for the process that was waited for last
        self.news = ctypes.create_string_buffer(128)  # the data read from self.children
        self.data = ctypes.create_string_buffer(MOST)
        self.control = ctypes.create_string_buffer(socket.CMSG_SPACE(FDS * 4))
        self.fds = (ctypes.c_int * FDS).from_buffer(self.control, socket.CMSG_LEN(0))
        self.steps = program.Program(zygote.native)
        self.add_steps(zygote, owner)
        self.steps.build()
        self.run, self.failure = self.steps.run, self.steps.failure

    def add_steps(self, zygote, owner):
        steps = self.steps
        self.add_receive()
        steps.label("spawn")
        self.add_forgetting()
        steps.label("another")  # beside living ones
        self.workers = confinement.Confinement(steps, zygote.fork, self.strict, owner, zygote.landlock, zygote.rules, zygote.filter,
                                               ctypes.addressof(self.fds), "forked")
        steps.same(self.data, b"V", 1, "parked")
        steps.leave(AWAITED)
        steps.label("parked")
        steps.leave(0)
        steps.label("joined")
        steps.leave(JOINED)
        steps.label("forked")
        steps.copy(self.field("pid"), program.RESULT, 8)
        steps.same(self.field("grouped"), program.ZERO, 8, "joined")
        for i in range(FDS):
            fd = program.Word(0, 1)
            steps.copy(fd, ctypes.addressof(self.fds) + i * 4, 4)
            fd.step = steps.add(SUPERVISION, "close", 0)
        steps.jump("wait")
        self.add_end()
        if self.strict:
            self.add_report()
        else:
            self.add_gathering()
        for label, why in (("command", COMMAND), ("over", ENDED), ("touched", TOUCHED), ("gone", GONE)):
            if label not in steps.labels:
                steps.label(label)
                steps.leave(why)

    def add_forgetting(self):
        """Before there is another worker, forget the last one."""
        steps = self.steps
        seen = [(ctypes.addressof(self.report) + Report.status.offset, ctypes.sizeof(Report) - Report.status.offset),
                (ctypes.addressof(self.child), ctypes.sizeof(Report)), (ctypes.addressof(self.news), ctypes.sizeof(self.news))]
        seen += [(ctypes.addressof(thing.seen), ctypes.sizeof(thing.seen)) for thing in self.looked_at]
        zeros = ctypes.create_string_buffer(max(size for _, size in seen))
        for address, size in seen:
            steps.copy(address, zeros, size)
        if self.last_pid is not None:  # numbers of processes begin anew
            steps.add("pid namespace", "pwrite64", self.last_pid, b"1", 1, 0, expect=program.MAY_FAIL)

    def add_receive(self):
        """Wait, and go on if what comes is the usual command for another worker."""
        steps, state = self.steps, self.state
        usual = b"W " + os.fsencode(WORK) + b"\0" + os.fsencode(TMP)
        state.usual, state.nothing, state.childless = len(usual), -errno.EAGAIN, -errno.ECHILD
        socket_fd = self.channel.fileno()
        piece = struct.pack("PN", ctypes.addressof(self.data), MOST)
        self.piece = ctypes.create_string_buffer(piece, len(piece))
        fresh = Header(None, 0, ctypes.addressof(self.piece), 1, ctypes.addressof(self.control), len(self.control), 0)
        header = Header()
        rights = struct.pack("Nii", socket.CMSG_LEN(FDS * 4), socket.SOL_SOCKET, socket.SCM_RIGHTS)
        polled = struct.pack("ihhihh", self.children, select.POLLIN, 0, socket_fd, select.POLLIN, 0)
        steps.label("wait")
        steps.add(SUPERVISION, "ppoll", polled, 2, None, None, 0, expect=program.MAY_FAIL)
        steps.copy(header, fresh, ctypes.sizeof(fresh))
        steps.add(SUPERVISION, "recvmsg", socket_fd, header, int(socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT),
                  expect=program.MAY_FAIL)
        steps.copy(self.field("received"), program.RESULT, 8)
        steps.same(self.field("received"), self.field("nothing"), 8, "something")
        steps.jump("ended")
        steps.label("something")
        if not self.strict:  # each has other directories
            steps.jump("command")
        steps.same(self.field("received"), self.field("usual"), 8, "command")
        steps.same(ctypes.addressof(self.data) + 1, usual[1:], len(usual) - 1, "command")  # W or V
        steps.same(self.control, rights, len(rights), "command")
        steps.same(self.field("special"), program.ZERO, 8, "command")

    def add_end(self):
        """Children have ended: the worker, or orphans of it that this process has inherited."""
        steps = self.steps
        steps.label("ended")
        steps.add(SUPERVISION, "read", self.children, self.news, len(self.news), expect=program.MAY_FAIL)
        steps.label("reap")
        self.add_wait(os.WNOHANG)
        steps.same(self.field("reaped"), program.ZERO, 8, "one more")
        steps.jump("wait")
        steps.label("one more")
        steps.same(self.field("reaped"), self.field("childless"), 8, "count")
        steps.jump("wait")
        steps.label("count")
        self.add_count("reap")
        steps.jump("over")

    def add_wait(self, flags):
        child = ctypes.addressof(self.child)
        self.steps.add(SUPERVISION, "wait4", -1, child + Report.status.offset, flags, child + Report.usage.offset,
                         expect=program.MAY_FAIL)
        self.steps.copy(self.field("reaped"), program.RESULT, 8)

    def add_count(self, other):
        """Add up what a child has used. Go on at the label if it is not the worker, else note how that ended."""
        steps, report, child = self.steps, ctypes.addressof(self.report), ctypes.addressof(self.child)
        for i in range(4):  # the times
            at = Report.usage.offset + i * program.WORD
            steps.sum(report + at, child + at)
        at = Report.usage.offset + 4 * program.WORD  # the peak of memory
        steps.most(report + at, child + at)
        steps.same(self.field("reaped"), self.field("pid"), 8, other)
        steps.copy(report + Report.status.offset, child + Report.status.offset, 4)

    def add_report(self):
        """End all remaining processes of the worker, and report it. The label kill is the entry for a command."""
        steps = self.steps
        steps.label("kill")
        steps.same(self.field("pid"), program.ZERO, 8, "over")
        steps.jump("wait")  # it has just ended
        # All of this pid namespace but its first process.
        steps.label("over")
        steps.add(SUPERVISION, "kill", -1, SIGKILL, expect=-errno.ESRCH, otherwise="left")
        steps.same(self.field("special"), program.ZERO, 8, "touched")
        for thing in self.looked_at:
            thing.add_look(steps, "touched")
        size = ctypes.sizeof(self.report)
        steps.add(SUPERVISION, "sendto", self.channel.fileno(), self.report, size, int(socket.MSG_NOSIGNAL), None, 0,
                  expect=size, otherwise="gone")
        steps.copy(self.field("pid"), program.ZERO, 8)
        steps.jump("wait")
        steps.label("left")
        self.add_wait(0)
        steps.same(self.field("reaped"), self.field("childless"), 8, "count left")
        steps.jump("over")
        steps.label("count left")
        self.add_count("left")
        steps.jump("left")

    def add_gathering(self):
        """Wait for those children that have ended, and say whether there are others."""
        steps = self.steps
        steps.label("gather")
        self.add_wait(os.WNOHANG)
        steps.same(self.field("reaped"), program.ZERO, 8, "ended one")
        steps.leave(CHILDREN_LEFT)
        steps.label("ended one")
        steps.same(self.field("reaped"), self.field("childless"), 8, "count one")
        steps.leave(NO_CHILDREN)
        steps.label("count one")
        self.add_count("gather")
        steps.jump("gather")

    def field(self, name):
        return ctypes.addressof(self.state) + getattr(State, name).offset
