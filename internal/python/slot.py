"""Kaa's slot: forks one worker after the other. zygote.py describes its messages.

A fork shares all memory. So the slot, too, pays for each page that it writes to while it has a
worker, and pays again after the next fork. So one program without Python (slot_program.py) does the
steps for nearly every worker. It returns to this file for everything else.

Each worker has a copy of its slot's memory. So data about a worker, such as its status, its
usage or the size of its disk, is in no object of Python, whose memory cannot be cleared. It is in
buffers that only the program reads, and that the program clears before it makes the next worker.
A fork group needs Python, so a slot that has had one gets no other worker.

Standard library only, Python 3.8 and later, Linux.
"""

import ctypes
import gc
import os
import select
import signal
import time

import fork_group
import fork_steps
import kernel
import limits
import namespaces
import network
import processes
import repl_worker
from confinement import CONTROL
from disk import Disk
from prepared import prepared
from root import WORK
from slot_program import AWAITED, COMMAND, ENDED, FDS, GONE, NO_CHILDREN, SlotProgram
from start import load
from terminals import Terminals

SIGINT, SIGKILL = int(signal.SIGINT), int(signal.SIGKILL)
SIGSTOP, SIGCONT = int(signal.SIGSTOP), int(signal.SIGCONT)
CHILD = (int(signal.SIGCHLD),)
MOST_HELD = 10000  # processes
MOST_DEPTH = 1000  # of processes that are stopped one below the other
PAUSE_LOOK, PAUSE_MOST = 0.001, 2  # seconds, between looks and for all of them: on a busy machine a stop takes a while


class Slot:
    def __init__(self, zygote, channel, owner):
        self.zygote, self.channel, self.strict, self.owner = zygote, channel, zygote.strict, owner
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # the ends of workers are waited for
        if self.strict:
            namespaces.set_up()
        else:
            kernel.become_subreaper()
        native = zygote.native
        self.network = network.Network(native) if self.strict else None
        self.terminals = Terminals(native) if self.strict else None
        self.disk = Disk(native, zygote.disk, owner, zygote.hidden, zygote.made) if self.strict else None
        self.last_pid = namespaces.open_last_pid() if self.strict else None
        if zygote.work_begins_empty:
            prepared.empty_size = zygote.empty.size.value = self.disk.size_of_work()
        self.children = processes.signal_fd(CHILD)
        self.own_pid = os.getpid()
        self.stale = False  # the files are the last worker's
        self.spent = False  # the network is, too, permanently
        self.program = SlotProgram(self, zygote, owner)
        self.state, self.report, self.data = self.program.state, self.program.report, self.program.data
        self.workers = self.program.workers
        self.reset()

    def close(self):
        """Give up the rights that only making the slot took. Its control group has it by now."""
        if self.strict:
            namespaces.enter_cgroup()
        limits.limit_signals()
        if self.zygote.slot_filter is not None:
            self.zygote.slot_filter.install()
        gc.freeze()

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
        """Carry out a command of the runner. Return the label at which the program continues."""
        if self.state.received <= 0:  # the runner is gone
            self.end_all()
            os._exit(0)
        command, rest = self.data[0], ctypes.addressof(self.data) + 2  # after its letter and a space
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
            processes.signal_group(self.state.pid, SIGINT)
        elif command == b"S":
            self.hold()
        elif command == b"F":
            self.pause()
        elif command == b"G":
            self.go_on()
        elif command == b"P":
            self.channel.send({"type": "ok"})
        elif command == b"R":
            self.resize(rest)
        elif command == b"D":
            self.open_work(WORK)
        elif command == b"C":
            self.renew()
        elif command == b"L":
            self.put_work_at(ctypes.string_at(rest))
        elif command == b"A":
            self.begin_fork_group()
        elif command == b"N":
            self.open_proxy()
        elif command == b"T":
            self.trust_proxy(ctypes.string_at(rest))
        elif command == b"B":
            self.begin_commands(self.program.fds[0])
        return "wait"

    def hold(self):
        """Stop the worker and all its descendants, until G."""
        if not self.state.pid:
            return
        self.spent = True  # the slot's memory shows this, and other workers must not see it
        self.state.special = 1
        # The code has stopped these itself.
        self.still = {pid for pid in processes.descendants(self.own_pid) if processes.is_stopped(pid)}
        self.stop_all()

    def pause(self):
        """Do what hold does, parents first: a shell that sees its job stop takes the terminal from it. This may last longer."""
        if not self.state.pid:
            return
        self.spent = True
        self.state.special = 1
        self.still = set()
        above, until = processes.children(self.own_pid), time.monotonic() + PAUSE_MOST
        for _ in range(MOST_DEPTH):
            if not above or time.monotonic() > until:  # hostile processes continue each other, and have children without end
                break
            self.still |= {pid for pid in above if processes.is_stopped(pid)}
            for pid in above:
                processes.signal_one(pid, SIGSTOP)
            while time.monotonic() < until and not all(processes.state(pid) in b"TtZX" for pid in above):  # b"" is in every bytes
                time.sleep(PAUSE_LOOK)
            above = [child for pid in above for child in processes.children(pid)]
        self.stop_all()

    def stop_all(self):
        if self.strict:
            kernel.libc.kill(-1, SIGSTOP)  # in one step, so that none of them can continue another
            return
        held = set()
        while True:
            new = [pid for pid in processes.descendants(self.own_pid) if pid not in held]
            if not new or len(held) > MOST_HELD:
                return
            held.update(new)
            for pid in new:
                processes.signal_one(pid, SIGSTOP)

    def go_on(self):
        if not self.state.pid:
            return
        # Children first: a shell that goes on before its job does takes the job for a stopped one.
        for pid in reversed(processes.descendants(self.own_pid)):
            if pid not in self.still:
                processes.signal_one(pid, SIGCONT)
        if self.strict and not self.still:
            kernel.libc.kill(-1, SIGCONT)

    def end_worker(self):
        """Report that all processes of the worker have ended. Its files stay."""
        self.renew_shared()
        # The runner collects them before it sends C, or the next W.
        self.stale = self.disk is not None and self.disk.touched()
        if self.program.steps.exposed:
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
        """Note that there is no worker, and that the next one needs only the program if that holds."""
        self.state.pid = 0
        self.commanded = False  # there was no process that starts commands
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

    def begin_commands(self, fd):
        """Fork the process that starts commands beside the worker. It serves the socket fd."""
        if not self.state.pid:  # it has just ended, and nothing may begin before the next one
            self.channel.send({"type": "failed", "layer": "", "error": "there is no worker"})
            os.close(fd)
            return
        self.state.special = 1
        self.commanded = True
        try:
            pid = fork_steps.run(self.zygote.helpers)
            if pid == 0:
                load("commands").main(self, fd)  # here, so that executions do not pay for its memory
            pidfd = kernel.pidfd_open(pid)
            self.channel.send({"type": "ok"}, pidfd)
            os.close(pidfd)
        except Exception as error:
            self.channel.send(kernel.failure(error))
        finally:
            os.close(fd)

    def end_all(self):
        """Kill the worker and all its descendants."""
        if self.strict:
            # This is all of the pid namespace except its first process, which is this one.
            while kernel.libc.kill(-1, SIGKILL) == 0 and self.reap():
                pass
            return
        processes.signal_group(self.state.pid, SIGKILL)
        # All processes that the worker leaves become children of this process. Groups are killed
        # first, each in one step, so that a fork bomb cannot be faster.
        while self.program.run("gather") != NO_CHILDREN:
            for pid in processes.own_children():
                try:
                    processes.signal_group(os.getpgid(pid), SIGKILL)
                    os.kill(pid, SIGKILL)
                except OSError:
                    pass
            select.select([], [], [], 0.001)

    def reap(self):
        """Wait for a child. Return whether there was one."""
        try:
            os.wait()
        except ChildProcessError:
            return False
        return True

    def renew(self):
        if self.stale:
            self.disk.renew()
            self.workers.open_ruleset()
            self.stale = False
            self.reset()

    def renew_shared(self):
        """Make shared resources as new, before the report of the worker's end. This need not wait
        until the files are collected, and the report shows a failure. A failure is not the worker's fault."""
        if not self.strict or self.spent:
            return
        try:
            if self.network.used():
                self.network.renew()
            self.terminals.renew(self.commanded)
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

    def put_work_at(self, path):
        self.spent = True  # the mounts stay, and the slot's memory shows them
        self.state.special = 1
        try:
            load("places").put_work_at(os.fsdecode(path))  # here, so that executions do not pay for its memory
            self.channel.send({"type": "ok"})
        except Exception as error:
            self.channel.send(kernel.failure(error))

    def open_proxy(self):
        """Pass the runner a socket at which it serves the worker's proxy."""
        self.spent = True  # the port stays taken until the runner has closed the socket
        self.state.special = 1
        try:
            fd = load("proxy").listen()  # here, so that executions do not pay for its memory
            self.channel.send({"type": "ok"}, fd)
            os.close(fd)
        except Exception as error:
            self.channel.send(kernel.failure(error))

    def trust_proxy(self, certificate):
        """Have clients in the sandbox trust the proxy, which looks into TLS. N came before, so the slot gets no other worker."""
        try:
            load("proxy").trust(certificate)
            self.channel.send({"type": "ok"})
        except Exception as error:
            self.channel.send(kernel.failure(error))

    def resize(self, options):
        self.state.special = 1
        if not self.state.pid:  # it has just ended, and the next one is to have the usual size
            self.stale = True
        try:
            self.disk.resize(options)
            self.channel.send({"type": "ok"})
        except Exception as error:
            self.channel.send(kernel.failure(error))

    # --- in the worker's process

    def complain(self, code):
        """Report why there is no worker, from the slot or from the process that should have become one."""
        message = kernel.failure(kernel.LayerError(*self.program.failure(code)))
        if os.getpid() == self.own_pid:
            self.channel.send(message)
            os._exit(1)
        for fd in (CONTROL, self.program.fds[FDS - 1]):
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
            repl_worker.main(CONTROL, limits.set_limits, awaited)
        finally:
            os._exit(70)
