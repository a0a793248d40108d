"""Kaa's slot: forks one worker after the other. For what it is told, and says, see zygote.py.

A fork shares all memory, so the slot, too, pays for each page that it writes to while it
has a worker, and each pays again after the next fork. So what it does for nearly every
worker is one program, which runs without Python (program.py): it waits; makes a worker
when it is told to; and, when that has ended and has left neither processes nor files,
says so. It comes back here for all else.

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

SIGINT, SIGKILL = int(signal.SIGINT), int(signal.SIGKILL)
CHILD = (int(signal.SIGCHLD),)
# Why the program comes back. 0 is the worker, in its own process, and so is AWAITED.
COMMAND, ENDED, REAPED, LEFT, TOUCHED, GONE, AWAITED = range(1, 8)
MOST = 16 << 10  # bytes of a command; paths are the most of it
FDS = 4
SUPERVISION = "process supervision"

# The zygote puts these here.
seal = program = network = family = repl_worker = failure = None


class Report(ctypes.Structure):
    """What the runner is told when nothing of a worker is left but its files."""

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
    """What the program and Python both know."""

    _fields_ = [
        ("pid", ctypes.c_int64),  # the worker's, or 0
        ("received", ctypes.c_int64),  # the size of the last command, or the error
        ("special", ctypes.c_int64),  # not 0: the end of this worker, or the next one's beginning, needs Python
        ("zero", ctypes.c_int64), ("usual", ctypes.c_int64), ("nothing", ctypes.c_int64),  # constants
    ]


class Slot:
    def __init__(self, zygote, channel, owner):
        self.zygote, self.channel, self.strict = zygote, channel, zygote.strict
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # the ends of workers are waited for
        if self.strict:
            seal.open_slot()
        else:
            seal.become_subreaper()
        self.network = network.Network() if self.strict else None
        self.files = seal.Files(zygote.native, zygote.disk, owner, zygote.hidden, zygote.made) if self.strict else None
        if zygote.work_begins_empty:
            repl_worker.prepared.empty_size = zygote.empty.size.value = self.files.size_of_work()
        self.children = signal_fd(CHILD)
        self.own_pid = os.getpid()
        self.status, self.cpu, self.rss = None, 0.0, 0
        self.stale = False  # the files are the last worker's
        self.spent = False  # and so is the network, for good
        self.state, self.report = State(), Report(kind=b"E")
        self.data = ctypes.create_string_buffer(MOST)
        self.control = ctypes.create_string_buffer(socket.CMSG_SPACE(FDS * 4))
        self.fds = (ctypes.c_int * FDS).from_buffer(self.control, socket.CMSG_LEN(0))
        self.program = program.Program(zygote.native)
        self.add_steps(owner)
        self.program.build()
        seal.limit_signals()
        if zygote.slot_filter is not None:
            zygote.slot_filter.install()
        gc.freeze()

    # --- the program

    def add_steps(self, owner):
        steps, zygote = self.program, self.zygote
        self.add_receive()
        steps.label("spawn")
        self.workers = seal.Confinement(steps, zygote.fork, self.strict, owner, zygote.landlock, zygote.rules, zygote.filter,
                                        ctypes.addressof(self.fds), "forked")
        steps.same(self.data, b"V", 1, "parked")
        steps.leave(AWAITED)
        steps.label("parked")
        steps.leave(0)
        steps.label("forked")
        pid = program.Word(0, program.EXPECT)  # of the step that waits for it
        steps.copy(self.field("pid"), program.RESULT, 8)
        if self.strict:
            steps.copy(pid, program.RESULT, 8)
        for i in range(FDS):
            fd = program.Word(0, 1)
            steps.copy(fd, ctypes.addressof(self.fds) + i * 4, 4)
            fd.step = steps.add(SUPERVISION, "close", 0)
        steps.jump("wait")
        steps.label("ended")
        if self.strict:
            self.add_end(pid)
            steps.jump("wait")
        for label, why in (("special", ENDED), ("command", COMMAND), ("reaped", REAPED), ("left", LEFT), ("touched", TOUCHED),
                           ("gone", GONE)):
            steps.label(label)
            steps.leave(why)

    def add_receive(self):
        """Wait, and go on if what comes is the usual command for another worker."""
        steps, state = self.program, self.state
        usual = b"W " + os.fsencode(seal.WORK) + b"\0" + os.fsencode(seal.TMP)
        state.usual, state.nothing = len(usual), -errno.EAGAIN
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
        steps.same(self.field("special"), self.field("zero"), 8, "command")

    def add_end(self, pid):
        """A child has ended. If it was the worker, and nothing is left, say so."""
        steps, report = self.program, ctypes.addressof(self.report)
        steps.same(self.field("special"), self.field("zero"), 8, "special")
        steps.add(SUPERVISION, "read", self.children, bytes(128), 128, expect=program.MAY_FAIL)
        pid.step = steps.add(SUPERVISION, "wait4", -1, report + Report.status.offset, os.WNOHANG, report + Report.usage.offset,
                             expect=0, otherwise="reaped")
        steps.add(SUPERVISION, "kill", -1, SIGKILL, expect=-errno.ESRCH, otherwise="left")
        self.files.add_look(steps, "touched")
        self.network.add_look(steps, "touched")
        size = ctypes.sizeof(self.report)
        steps.add(SUPERVISION, "sendto", self.channel.fileno(), self.report, size, int(socket.MSG_NOSIGNAL), None, 0,
                  expect=size, otherwise="gone")
        steps.copy(self.field("pid"), self.field("zero"), 8)

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
                if self.obey():
                    label = "spawn"
            elif why == GONE:
                os._exit(0)
            else:
                self.note_end(why)
            if self.status is not None:
                self.end_worker()

    def obey(self):
        """Do what the runner says. Returns True if the program shall make a worker."""
        if self.state.received <= 0:  # the runner is gone
            self.end_all()
            os._exit(0)
        data = ctypes.string_at(self.data, self.state.received)
        command = data[:1]
        if command in (b"W", b"V"):
            if self.spent:  # which the runner was told
                os._exit(1)
            self.renew()
            work, _, tmp = data[2:].partition(b"\0")
            self.workers.set_dirs(work, tmp)
            return True
        if command == b"K":
            self.end_all()
        elif command == b"I":
            signal_group(self.state.pid, SIGINT)
        elif command == b"P":
            self.channel.send({"type": "ok"})
        elif command == b"R":
            self.resize(int(data[1:]))
        elif command == b"D":
            self.open_work(seal.WORK)
        elif command == b"C":
            self.renew()
        elif command == b"A":
            self.begin_family()
        return False

    def note_end(self, why):
        """A child has ended: the worker, or an orphan of it that this process has inherited."""
        if why == ENDED:
            try:
                os.read(self.children, 128)
            except BlockingIOError:
                pass
        elif why == REAPED:
            self.note(self.program.result())
        else:
            self.note(self.state.pid)
        if self.status is None:
            self.reap(os.WNOHANG)

    def note(self, pid):
        """What the program's wait has found: it is in the report."""
        if pid > 0:
            usage = self.report.usage
            self.count(pid, self.report.status, usage[0] + usage[2] + (usage[1] + usage[3]) / 1e6, usage[4])

    def count(self, pid, status, cpu, rss):
        self.state.special = 1  # there is more to report than the program sees
        self.cpu += cpu
        self.rss = max(self.rss, rss)
        if pid == self.state.pid:
            self.status = status

    def end_worker(self):
        self.end_all()
        self.renew_network()
        # They stay until C, or at the latest the next W, for the runner to collect.
        self.stale = self.files is not None and self.files.touched()
        report, usage = self.report, self.report.usage
        report.status, report.touched, report.spent = self.status, self.stale, self.spent
        usage[0], usage[1], usage[2], usage[3], usage[4] = int(self.cpu), int(self.cpu % 1 * 1e6), 0, 0, self.rss
        self.state.pid, self.state.special = 0, int(self.stale)
        self.status, self.cpu, self.rss = None, 0.0, 0
        try:
            self.channel.socket.send(report)
        except OSError:
            os._exit(0)
        report.touched = 0

    def begin_family(self):
        if not self.state.pid:  # it has just ended, which the runner was told
            self.channel.send({"type": "failed", "layer": "", "error": "there is no worker"})
            return
        self.state.special = 1
        kin = family.Family(self)
        kin.answer(kin.adopt, family.ROOT)
        kin.serve()

    def reap(self, flags):
        """Wait for children; report whether any may be left."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, flags)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self.count(pid, status, usage[0] + usage[1], usage[2])
            if pid == self.state.pid:
                return True

    def end_all(self):
        """Kill everything that descends from the worker, and the worker."""
        if self.strict:
            # All of this pid namespace but its first process.
            while seal.libc.kill(-1, SIGKILL) == 0 and self.reap(0):
                pass
            return
        signal_group(self.state.pid, SIGKILL)
        # Whatever the worker leaves behind becomes a child of this process. Groups go
        # first and in one step, so that a fork bomb cannot outrun it.
        while self.reap(os.WNOHANG):
            for pid in children_of(os.getpid()):
                try:
                    signal_group(os.getpgid(pid), SIGKILL)
                    os.kill(pid, SIGKILL)
                except OSError:
                    pass
            select.select([], [], [], 0.001)

    def renew(self):
        if self.stale:
            self.files.renew()
            self.workers.open_ruleset()
            self.stale, self.state.special = False, 0

    def renew_network(self):
        """Before the runner is told of the worker's end: it need not wait for the files to be
        collected, and the runner has to know if it fails. That is no fault of the worker."""
        if self.network is None or self.spent or not self.network.used():
            return
        try:
            self.network.renew()
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

    def resize(self, disk):
        self.state.special = 1
        if not self.state.pid:  # it has just ended: the next one is to have the usual size
            self.stale = True
        try:
            self.files.resize(disk)
            self.channel.send({"type": "ok"})
        except Exception as error:
            self.channel.send(failure(error))

    # --- in the worker's process

    def complain(self, code):
        """Say why there is no worker: in the slot, or in what was to become one."""
        message = failure(seal.LayerError(*self.program.failure(code)))
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
