"""A slot with several workers: a session, its contexts and its forks, and theirs.

It takes over from class Slot (slot.py) when the first fork or context is to be made, until the last
of the fork group has ended. The slot gets no other worker then: what is known here of this
fork group's members is in Python's memory. Packets from the runner:

    A 0                 a fork group begins, with the slot's worker, which is its member 0
    A pid               the worker has made this fork: a member from now on
    W + descriptors 0, 1, 2, control   fork a fresh worker, a context: a member whose number is its pid
    H                   go on without members, until Q
    Q                   end when no member is left
    N name bytes        make a directory with a size limit below /tmp
    U name              and remove it
    D name              open it; without a name, the one that the worker has
    I member            SIGINT to its process group
    K member            its end, with all that descends from it
    G                   go on, as the slot does
    P                   answer once all before it is done
    B + a socket        start commands for the runner there: see commands.py

and to the runner:

    {"type": "ok"}, to an A with a pidfd of the member; {"type": "failed", ...}
    {"type": "joined", "pid"} to a W, with a pidfd; {"type": "refused", "errno"} if there is no room for a process
    M member status cpu_us max_rss_kb   a member has ended
    E ...                               the last has, and nothing is left

Members share one sandbox, so the kernel cannot end one of them with all that it has
started. A process that has left both its parents and its session lives until the fork group's end.

A pid is what the worker says, so it is believed only if it is a child of this process;
then a wrong pid can only harm the fork group.

Standard library only, Python 3.8 and later, Linux.
"""

import errno
import os
import select
import signal

import kernel
import processes
from root import TMP, WORK
from slot_program import FDS

SIGINT, SIGKILL, SIGSTOP = int(signal.SIGINT), int(signal.SIGKILL), int(signal.SIGSTOP)
ROOT = 0  # the member that the slot forked
MOST_ROUNDS = 50  # of looking for the descendants of a member
UMOUNT_NOFOLLOW = 8
NO_ROOM = (errno.EAGAIN, errno.ENOMEM)


class ForkGroup:
    def __init__(self, slot):
        self.slot = slot
        self.members = {slot.state.pid: ROOT}  # by pid
        self.pids = {ROOT: slot.state.pid}
        self.status, self.cpu, self.rss = 0, 0.0, 0
        self.held = False  # it goes on without members
        self.poll = select.poll()
        for readable in slot.children, slot.channel:
            self.poll.register(readable, select.POLLIN)

    def serve(self):
        """Go on until no member is left."""
        slot = self.slot
        while self.members or self.held:
            for fd, _ in self.poll.poll():
                if fd == slot.children:
                    os.read(fd, 128)
                    self.reap()
                else:
                    self.obey()
        slot.end_all()
        slot.report.status, usage = self.status, slot.report.usage
        usage[0], usage[1], usage[4] = int(self.cpu), int(self.cpu % 1 * 1e6), self.rss

    def obey(self):
        slot = self.slot
        data, fds = slot.channel.receive(4)
        command, _, rest = data.decode().partition(" ")
        if command == "B":
            slot.begin_commands(fds[0])
            return
        if command == "W":
            self.spawn(fds)
            return
        for fd in fds:
            os.close(fd)
        if not command:  # the runner is gone
            slot.end_all()
            os._exit(0)
        elif command == "A":
            self.answer(self.adopt, int(rest))
        elif command == "D":
            slot.open_work(TMP + "/" + rest if rest else WORK)
        elif command == "N":
            name, size = rest.split()
            self.answer(self.make_dir, name, int(size))
        elif command == "U":
            self.answer(self.remove_dir, rest)
        elif command == "P":
            slot.channel.send({"type": "ok"})
        elif command == "F":  # a session and its contexts, without forks, are paused
            slot.pause()
        elif command == "S":  # an execution that has begun before the fork group may send it
            slot.hold()
        elif command == "G":  # an execution that has begun before the fork group may have sent S
            slot.go_on()
        elif command in ("H", "Q"):
            self.held = command == "H"
            slot.channel.send({"type": "ok"})
        elif command == "I":
            processes.signal_group(self.pids.get(int(rest), 0), SIGINT)
        elif command == "K":
            self.kill(self.pids.get(int(rest), 0))

    def answer(self, do, *args):
        try:
            fd = do(*args)
        except Exception as error:
            self.slot.channel.send({"type": "failed", "layer": "", "error": "%s: %s" % (type(error).__name__, error)})
            return
        self.slot.channel.send({"type": "ok"}, fd)
        if fd is not None:
            os.close(fd)

    def adopt(self, pid):
        if pid == ROOT:
            pid = self.pids[ROOT]
        elif pid in self.members:
            raise ValueError("it is a member already")
        # It fails unless it is a child of this process, dead or alive.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        fd = kernel.pidfd_open(pid)
        if pid not in self.members:
            self.members[pid] = self.pids[pid] = pid
        return fd

    def spawn(self, fds):
        """Fork a worker as the slot does, beside those that live."""
        slot, state = self.slot, self.slot.state
        root, state.grouped = state.pid, 1
        for i in range(FDS):
            slot.program.fds[i] = fds[i]
        why = slot.program.run("another")
        if os.getpid() != slot.own_pid:
            if why < 0:
                slot.complain(why)
            slot.become_worker(True)
        for fd in fds:
            os.close(fd)
        pid, state.pid = state.pid, root
        if why < 0:
            slot.channel.send(self.refusal(*slot.program.failure(why)))
            return
        self.members[pid] = self.pids[pid] = pid
        pidfd = kernel.pidfd_open(pid)
        slot.channel.send({"type": "joined", "pid": pid}, pidfd)
        os.close(pidfd)

    def refusal(self, layer, what, error):
        if getattr(error, "errno", None) in NO_ROOM:
            return {"type": "refused", "errno": error.errno}
        return kernel.failure(kernel.LayerError(layer, what, error))

    def make_dir(self, name, size):
        path = TMP + "/" + name
        os.mkdir(path, 0o700)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            # By its descriptor: the code could have put another in its place. Once
            # something is mounted there it cannot.
            self.slot.disk.mount_at(b"/proc/self/fd/%d" % fd, size)
        finally:
            os.close(fd)

    def remove_dir(self, name):
        path = TMP + "/" + name
        kernel.unmount(os.fsencode(path), UMOUNT_NOFOLLOW)
        os.rmdir(path)

    def reap(self):
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            pid = ended.si_pid
            member = self.members.get(pid)
            if member is not None:
                self.kill_orphans(pid)  # as long as its number is its own
            _, status, usage = os.wait4(pid, 0)
            cpu = usage[0] + usage[1]
            self.cpu += cpu
            self.rss = max(self.rss, usage[2])
            if member is not None:
                del self.members[pid], self.pids[member]
                self.status = status
                self.tell(b"M %d %d %d %d" % (member, status, cpu * 1e6, usage[2]))

    def tell(self, message):
        try:
            self.slot.channel.socket.send(message)
        except OSError:
            os._exit(0)

    def kill(self, pid):
        """End a member and its descendants. They are stopped first, so that they start no others."""
        if pid <= 1:
            return
        stopped = {pid}
        processes.signal_one(pid, SIGSTOP)
        for _ in range(MOST_ROUNDS):
            new = [other for other in processes.descendants(pid) if other not in stopped]
            if not new:
                break
            stopped.update(new)
            for other in new:
                processes.signal_one(other, SIGSTOP)
        for other in stopped - set(self.members):
            processes.signal_one(other, SIGKILL)
        self.kill_orphans(pid)
        processes.signal_one(pid, SIGKILL)

    def kill_orphans(self, pid):
        """End the processes of a member's process group, and those of its session that have lost
        their parents."""
        processes.signal_group(pid, SIGKILL)
        for other in processes.children(os.getpid()):
            try:
                if other not in self.members and os.getsid(other) == pid:
                    for one in [other] + processes.descendants(other):
                        processes.signal_one(one, SIGKILL)
            except OSError:
                pass
