"""Kaa's slot: forks one worker after the other. zygote.py describes its messages.

A fork shares all memory. So the slot, too, pays for each page that it writes to while it has a
worker, and pays again after the next fork. So one program without Python (program.py) does the
steps for nearly every worker: it waits, makes a worker at the runner's command, and reports the
worker's end if the worker has left no files. It returns to this file for everything else.

Each worker has a copy of its slot's memory. So data about a worker, such as its status, its
usage or the size of its disk, is in no object of Python, whose memory cannot be cleared. It is in
buffers that only the program reads, and that the program clears before it makes the next worker.
A fork group needs Python, so a slot that has had one gets no other worker.

Standard library only, Python 3.8 and later, Linux.
"""

import _socket as socket  # see zygote.py
import ctypes
import errno
import gc
import os
import select
import signal
import struct

import fork_group
import network
import program
import repl_worker
import seal
from prepared import prepared

SIGINT, SIGKILL = int(signal.SIGINT), int(signal.SIGKILL)
SIGSTOP, SIGCONT = int(signal.SIGSTOP), int(signal.SIGCONT)
CHILD = (int(signal.SIGCHLD),)
MOST_HELD = 10000  # processes
# Why the program comes back. 0 is the worker, in its own process, and so is AWAITED.
COMMAND, ENDED, TOUCHED, GONE, AWAITED, SOME, NOBODY = range(1, 8)
MOST = 16 << 10  # bytes of a command; paths are the most of it
FDS = 4
SUPERVISION = "process supervision"


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
        ("usual", ctypes.c_int64), ("nothing", ctypes.c_int64), ("childless", ctypes.c_int64),  # constants
    ]


class Slot:
    def __init__(self, zygote, channel, owner):
        self.zygote, self.channel, self.strict = zygote, channel, zygote.strict
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # the ends of workers are waited for
        if self.strict:
            seal.open_slot()
        else:
            seal.become_subreaper()
        self.network = network.Network(zygote.native) if self.strict else None
        self.terminals = seal.Terminals(zygote.native) if self.strict else None
        self.files = seal.Files(zygote.native, zygote.disk, owner, zygote.hidden, zygote.made) if self.strict else None
        if zygote.work_begins_empty:
            prepared.empty_size = zygote.empty.size.value = self.files.size_of_work()
        self.last_pid = seal.open_last_pid() if self.strict else None
        self.children = signal_fd(CHILD)
        self.own_pid = os.getpid()
        self.stale = False  # the files are the last worker's
        self.spent = False  # and so is the network, for good
        self.state, self.report = State(), Report(kind=b"E")
        self.child = Report()  # the same for the process that was waited for last
        self.news = ctypes.create_string_buffer(128)  # the data read from self.children
        self.data = ctypes.create_string_buffer(MOST)
        self.control = ctypes.create_string_buffer(socket.CMSG_SPACE(FDS * 4))
        self.fds = (ctypes.c_int * FDS).from_buffer(self.control, socket.CMSG_LEN(0))
        self.program = program.Program(zygote.native)
        self.add_steps(owner)
        self.program.build()
        self.reset()

    def close(self):
        """Give up what only making the slot took. Its control group has it by now."""
        if self.strict:
            seal.enter_cgroup_namespace()
        seal.limit_signals()
        if self.zygote.slot_filter is not None:
            self.zygote.slot_filter.install()
        gc.freeze()

    # --- the program

    def add_steps(self, owner):
        steps, zygote = self.program, self.zygote
        self.add_receive()
        steps.label("spawn")
        self.add_forgetting()
        self.workers = seal.Confinement(steps, zygote.fork, self.strict, owner, zygote.landlock, zygote.rules, zygote.filter,
                                        ctypes.addressof(self.fds), "forked")
        steps.same(self.data, b"V", 1, "parked")
        steps.leave(AWAITED)
        steps.label("parked")
        steps.leave(0)
        steps.label("forked")
        steps.copy(self.field("pid"), program.RESULT, 8)
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
        steps = self.program
        seen = [(ctypes.addressof(self.report) + Report.status.offset, ctypes.sizeof(Report) - Report.status.offset),
                (ctypes.addressof(self.child), ctypes.sizeof(Report)), (ctypes.addressof(self.news), ctypes.sizeof(self.news))]
        if self.strict:
            seen += [(ctypes.addressof(buffer), ctypes.sizeof(buffer)) for buffer in (self.files.seen, self.network.seen, self.terminals.seen)]
        zeros = ctypes.create_string_buffer(max(size for _, size in seen))
        for address, size in seen:
            steps.copy(address, zeros, size)
        if self.last_pid is not None:  # numbers of processes begin anew
            steps.add("pid namespace", "pwrite64", self.last_pid, b"1", 1, 0, expect=program.MAY_FAIL)

    def add_receive(self):
        """Wait, and go on if what comes is the usual command for another worker."""
        steps, state = self.program, self.state
        usual = b"W " + os.fsencode(seal.WORK) + b"\0" + os.fsencode(seal.TMP)
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
        steps = self.program
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
        self.program.add(SUPERVISION, "wait4", -1, child + Report.status.offset, flags, child + Report.usage.offset,
                         expect=program.MAY_FAIL)
        self.program.copy(self.field("reaped"), program.RESULT, 8)

    def add_count(self, other):
        """Add up what a child has used. Go on at the label if it is not the worker, else note how that ended."""
        steps, report, child = self.program, ctypes.addressof(self.report), ctypes.addressof(self.child)
        for i in range(4):  # the times
            at = Report.usage.offset + i * program.WORD
            steps.sum(report + at, child + at)
        at = Report.usage.offset + 4 * program.WORD  # the peak of memory
        steps.most(report + at, child + at)
        steps.same(self.field("reaped"), self.field("pid"), 8, other)
        steps.copy(report + Report.status.offset, child + Report.status.offset, 4)

    def add_report(self):
        """End all remaining processes of the worker, and report it. The label kill is the entry for a command."""
        steps = self.program
        steps.label("kill")
        steps.same(self.field("pid"), program.ZERO, 8, "over")
        steps.jump("wait")  # it has just ended
        # All of this pid namespace but its first process.
        steps.label("over")
        steps.add(SUPERVISION, "kill", -1, SIGKILL, expect=-errno.ESRCH, otherwise="left")
        steps.same(self.field("special"), program.ZERO, 8, "touched")
        self.files.add_look(steps, "touched")
        self.network.add_look(steps, "touched")
        self.terminals.add_look(steps, "touched")
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
        steps = self.program
        steps.label("gather")
        self.add_wait(os.WNOHANG)
        steps.same(self.field("reaped"), program.ZERO, 8, "ended one")
        steps.leave(SOME)
        steps.label("ended one")
        steps.same(self.field("reaped"), self.field("childless"), 8, "count one")
        steps.leave(NOBODY)
        steps.label("count one")
        self.add_count("gather")
        steps.jump("gather")

    def field(self, name):
        return ctypes.addressof(self.state) + getattr(State, name).offset

    # --- what else there is to do

    def serve(self):
        label = "wait"
        while True:
            why = self.program.run(label)
            if why == 0 or why == AWAITED:
                self.become_worker(why == AWAITED)
            label = "wait"
            if why < 0:
                self.complain(why)
            elif why == COMMAND:
                label = self.obey()
                ctypes.memset(self.data, 0, max(self.state.received, 0))
            elif why == GONE:
                os._exit(0)
            else:
                if why == ENDED:
                    self.end_all()
                self.end_worker()

    def obey(self):
        """Do what the runner says. Returns where the program shall go on."""
        if self.state.received <= 0:  # the runner is gone
            self.end_all()
            os._exit(0)
        command, rest = self.data[0], ctypes.addressof(self.data) + 2  # which it is, and a space
        if command in (b"W", b"V", b"X"):
            if command != b"X":  # X keeps the files of the worker before
                if self.spent:  # the report has said so
                    os._exit(1)
                self.renew()
            self.workers.set_dirs(rest)
            return "spawn"
        if command == b"K":
            if self.strict:
                return "kill"
            if self.state.pid:
                self.end_all()
                self.end_worker()
        elif command == b"I":
            signal_group(self.state.pid, SIGINT)
        elif command == b"S":
            self.hold()
        elif command == b"G":
            self.go_on()
        elif command == b"P":
            self.channel.send({"type": "ok"})
        elif command == b"R":
            self.resize(rest)
        elif command == b"D":
            self.open_work(seal.WORK)
        elif command == b"C":
            self.renew()
        elif command == b"A":
            self.begin_fork_group()
        return "wait"

    def hold(self):
        """Have everything that descends from the worker, and the worker, stand still."""
        if not self.state.pid:
            return
        self.spent = True  # this is known here, and other workers must not know
        self.state.special = 1
        self.still = {pid for pid in fork_group.descendants(self.own_pid) if stands_still(pid)}  # of the code's will
        if self.strict:
            seal.libc.kill(-1, SIGSTOP)  # in one step, so that none of them can wake another
            return
        held = set()
        while True:
            new = [pid for pid in fork_group.descendants(self.own_pid) if pid not in held]
            if not new or len(held) > MOST_HELD:
                return
            held.update(new)
            for pid in new:
                fork_group.signal_one(pid, SIGSTOP)

    def go_on(self):
        if not self.state.pid:
            return
        if self.strict and not self.still:
            seal.libc.kill(-1, SIGCONT)
            return
        for pid in fork_group.descendants(self.own_pid):
            if pid not in self.still:
                fork_group.signal_one(pid, SIGCONT)

    def end_worker(self):
        """Report that all processes of the worker have ended. Its files stay."""
        self.renew_shared()
        # They stay until C, or at the latest the next W, for the runner to collect.
        self.stale = self.files is not None and self.files.touched()
        if self.program.exposed:
            self.spent = True
        report = self.report
        report.touched, report.spent = self.stale, self.spent
        self.reset()
        try:
            self.channel.socket.send(report)
        except OSError:
            os._exit(0)
        report.touched = 0

    def reset(self):
        """There is no worker, and none that needs more than the program."""
        self.state.pid = 0
        self.state.special = int(self.stale or self.spent or self.zygote.native is None)

    def begin_fork_group(self):
        if not self.state.pid:  # it has just ended, and the runner has the report
            self.channel.send({"type": "failed", "layer": "", "error": "there is no worker"})
            return
        group = fork_group.ForkGroup(self)
        group.answer(group.adopt, fork_group.ROOT)
        group.serve()
        self.spent = True
        self.end_worker()

    def end_all(self):
        """Kill everything that descends from the worker, and the worker."""
        if self.strict:
            # All of this pid namespace but its first process.
            while seal.libc.kill(-1, SIGKILL) == 0 and self.reap():
                pass
            return
        signal_group(self.state.pid, SIGKILL)
        # Whatever the worker leaves behind becomes a child of this process. Groups go
        # first and in one step, so that a fork bomb cannot outrun it.
        while self.program.run("gather") != NOBODY:
            for pid in children_of(os.getpid()):
                try:
                    signal_group(os.getpgid(pid), SIGKILL)
                    os.kill(pid, SIGKILL)
                except OSError:
                    pass
            select.select([], [], [], 0.001)

    def reap(self):
        """Wait for a child of a fork group; report whether there was one."""
        try:
            os.wait()
        except ChildProcessError:
            return False
        return True

    def renew(self):
        if self.stale:
            self.files.renew()
            self.workers.open_ruleset()
            self.stale = False
            self.reset()

    def renew_shared(self):
        """Make shared resources as new, before the report of the worker's end. This need not wait
        until the files are collected, and the report shows a failure. The worker is not to blame."""
        if not self.strict or self.spent:
            return
        try:
            if self.network.used():
                self.network.renew()
            self.terminals.renew()
        except Exception:
            self.spent = True

    def open_work(self, path):
        """Let the runner put files there, and collect what the code has left."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            self.channel.send({"type": "dir", "error": str(error)})
            return
        self.channel.send({"type": "dir"}, fd)
        os.close(fd)

    def resize(self, options):
        self.state.special = 1
        if not self.state.pid:  # it has just ended: the next one is to have the usual size
            self.stale = True
        try:
            self.files.resize(options)
            self.channel.send({"type": "ok"})
        except Exception as error:
            self.channel.send(seal.failure(error))

    # --- in the worker's process

    def complain(self, code):
        """Report why there is no worker, from the slot or from the process that should have become one."""
        message = seal.failure(seal.LayerError(*self.program.failure(code)))
        if os.getpid() == self.own_pid:
            self.channel.send(message)
            os._exit(1)
        for fd in (seal.Confinement.CONTROL, self.fds[FDS - 1]):
            try:
                repl_worker.complain(fd, message)
                break
            except OSError:
                pass
        os._exit(1)

    def become_worker(self, awaited):
        try:
            if not self.strict:
                self.zygote.set_dirs(os.fsdecode(self.workers.work.value), os.fsdecode(self.workers.tmp.value))
            repl_worker.main(seal.Confinement.CONTROL, seal.set_limits, awaited)
        finally:
            os._exit(70)


def stands_still(pid):
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b") ")[2][:1] == b"T"
    except OSError:
        return False


def signal_fd(signals):
    """A descriptor that is readable when one of the signals has come."""
    mask = ctypes.create_string_buffer(128)
    for number in signals:
        seal.libc.sigaddset(mask, number)
    SFD_CLOEXEC, SFD_NONBLOCK = 0x80000, 0x800
    return seal.check(seal.libc.signalfd(-1, mask, SFD_CLOEXEC | SFD_NONBLOCK), SUPERVISION, "signalfd")


def signal_group(pgid, number):
    try:
        if pgid > 1 and pgid != os.getpgrp():
            os.killpg(pgid, number)
    except OSError:
        pass


def children_of(pid):
    with open("/proc/self/task/%d/children" % pid) as file:
        return [int(word) for word in file.read().split()]
