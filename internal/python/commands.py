"""Starts commands beside a worker: programs that run in its sandbox, with pipes or with a terminal.

A slot forks this process at the first command of a session (slot.py). The process stays outside the
reach of the code, as the slot does: it has another user or, as the slot's child, is not confined like
the code, and its memory is not readable. Its own Landlock domain is that of all commands, so
they see each other and can send each other signals. The worker has another domain.

Packets from the runner, as JSON:

    {"cmd": "start", "id", "argc", "envc", "line", "limits", "most", "terminal"}, and behind a zero the
        arguments, the variables, the directory and the home directory, with a zero after each. If they
        are long, the first descriptor is a file with them. Then come the descriptors for 0, 1 and 2, or a
        terminal's. Where there is a mount namespace, this process makes the terminal, of the size
        [columns, rows].
    {"cmd": "signal", "id", "signal"}   to the process group of a command
    {"cmd": "kill", "id"}               the end of all processes that it has started
    {"cmd": "forget", "id"}             they go on
    {"cmd": "socket", "id", "family"}   a socket of TCP in the sandbox's network, for the runner to connect it

and to the runner:

    {"type": "started", "id", "pid"} and the descriptor of a terminal that this process has made
    {"type": "refused", "id", "phase", "errno"}
    {"type": "socket", "id"} and the descriptor
    {"type": "ended", "id", "status", "cpu", "rss"}   its first process has ended
    {"type": "killed", "id"}                          none is left
    {"type": "signalled", "id", "errno"}

The end of the socket is the end of all commands. The end of this process is the end of the session,
because its runner cannot find all their processes then.

Standard library only, Python 3.8 and later, Linux.
"""

import _socket as socket  # see channel.py
import errno
import fcntl
import json
import os
import resource
import select
import signal
import stat
import struct

import added
import command_marks
import kernel
import limits
import processes
from channel import Channel
from command_program import PROGRAM, SETUP, CommandProgram, Failed
from confinement import CONTROL, RULESET
from program import number

SHELLS = ("/bin/bash", "/bin/sh")
SIGKILL, SIGSTOP, SIGCONT = int(signal.SIGKILL), int(signal.SIGSTOP), int(signal.SIGCONT)
C_LIBRARY_SIGNALS = (32, 33)  # signal.signal refuses them; they may be inherited as ignored
SHORT_PAUSE, MOST_ROUNDS = 2, 40  # ms; of a search that finds new processes
MOST_TEXT = 4 << 20  # bytes
PTMX = "/dev/pts/ptmx"
TIOCSPTLCK, TIOCGPTPEER, TIOCSWINSZ, TCGETS, TCSETS = 0x40045431, 0x5441, 0x5414, 0x5401, 0x5402
IUTF8 = 0o40000
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


def main(slot, fd):
    """Be the process that starts commands. It never returns."""
    try:
        Commands(slot, fd).serve()
    finally:
        os._exit(1)


class Command:
    def __init__(self, pid, mark, fd):
        self.pid, self.mark, self.fd = pid, mark, fd
        self.killed, self.rounds = set(), 0


class Commands:
    def __init__(self, slot, fd):
        zygote = slot.zygote
        self.strict, self.owner = slot.strict, slot.owner
        self.work, self.tmp = slot.workers.work.value, slot.workers.tmp.value
        self.take_descriptors(fd)
        block_signals()
        os.setsid()
        kernel.become_subreaper()
        self.children = processes.signal_fd((int(signal.SIGCHLD),))
        self.prefer_as_victim()
        if not self.strict:
            zygote.set_dirs(os.fsdecode(self.work), os.fsdecode(self.tmp))
        self.restrict(zygote)
        self.marks = command_marks.Namespaces() if self.strict else command_marks.Limits()
        self.kinds = {name: kind for name, kind in limits.LIMITS.items() if name != "cpuSeconds"}
        kinds = list(self.kinds.values()) + ([] if self.strict else [resource.RLIMIT_RTTIME])
        self.program = CommandProgram(zygote.native, self.strict, self.owner, zygote.landlock is not None, zygote.filter, kinds)
        self.commands, self.pids, self.dying = {}, {}, set()
        self.envs, self.shell = dict(os.environb), [name for name in SHELLS if os.path.exists(name)][:1]
        self.poll = select.poll()
        for readable in self.children, self.channel.fileno():
            self.poll.register(readable, select.POLLIN)

    def take_descriptors(self, fd):
        """Close all descriptors of the slot but those that commands need."""
        os.dup2(fd, CONTROL, inheritable=False)
        for first, last in ((3, CONTROL - 1), (RULESET + 1, -1)):
            kernel.check(kernel.syscall(number("close_range"), first, last, 0), kernel.SUPERVISION, "close_range")
        self.channel = Channel(CONTROL)

    def prefer_as_victim(self):
        """When memory runs out the kernel should end commands, which inherit this, before slots."""
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1, 0, 0, 0)  # else the file does not belong to this process
        try:
            with open("/proc/self/oom_score_adj", "w") as file:
                file.write("1000")
        finally:
            kernel.hide_memory()

    def restrict(self, zygote):
        if zygote.landlock is None:
            return
        if not self.strict:
            rules = zygote.rules + [(self.work, zygote.landlock.all), (self.tmp, zygote.landlock.all)]
            zygote.landlock.make_ruleset(False, rules, RULESET)
        kernel.check(kernel.syscall(number("landlock_restrict_self"), RULESET, 0), "landlock", "landlock_restrict_self")
        os.close(RULESET)

    def serve(self):
        while True:
            for fd, _ in self.poll.poll(SHORT_PAUSE if self.dying else None):
                if fd == self.children:
                    os.read(fd, 128)
                    self.reap()
                elif not self.obey():
                    self.end_all()
                    os._exit(0)
            for id in list(self.dying):
                self.kill(id)

    def obey(self):
        """Carry out a command of the runner. Return whether there was one."""
        data, fds = self.channel.receive(4)
        if not data:
            return False
        data, _, text = data.partition(b"\0")
        message = json.loads(data)
        try:
            id, what = message["id"], message["cmd"]
            if what == "start":
                self.start(id, message, text, fds)
            elif what == "signal":
                self.channel.send({"type": "signalled", "id": id, "errno": self.signal(id, message["signal"])})
            elif what == "kill":
                self.dying.add(id)
            elif what == "forget":
                self.forget(id)
            elif what == "socket":
                self.make_socket(id, message["family"])
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def start(self, id, message, text, fds):
        made = []
        try:
            self.begin(id, message, text, fds, made)
        except Failed as error:
            self.channel.send({"type": "refused", "id": id, "phase": error.phase, "errno": error.number})
        except OSError as error:
            self.channel.send({"type": "refused", "id": id, "phase": SETUP, "errno": error.errno or 0})
        finally:
            for fd in made:
                os.close(fd)

    def begin(self, id, message, text, fds, made):
        if len(self.pids) >= message["most"]:
            raise Failed(SETUP, errno.EAGAIN)
        if not text:
            text, fds = read_all(fds[0]), fds[1:]
        texts = text.split(b"\0")
        argv, envs = texts[:message["argc"]], texts[message["argc"]:-3]
        cwd, home = texts[-3:-1]
        size, terminal = message.get("terminal"), -1
        if size is not None:
            if not fds:
                made += open_terminal(self.owner, size)
                terminal, fds = made[0], made[1:]
            fds = [fds[0]] * 3
        if message.get("line"):
            if not self.shell:
                raise Failed(PROGRAM, errno.ENOENT)
            argv = [os.fsencode(self.shell[0]), b"-c"] + argv
        cwd = os.path.join(home, cwd) if cwd else home
        envs = self.environment(envs, cwd, home, size is not None)
        path = look_up(argv[0], dict(one.partition(b"=")[::2] for one in envs).get(b"PATH"), cwd)
        mark, fd = self.marks.new()
        held = {self.kinds[name]: bounded(self.kinds[name], value) for name, value in message["limits"].items() if name in self.kinds}
        held.setdefault(resource.RLIMIT_CORE, 0)
        if not self.strict:
            held[resource.RLIMIT_RTTIME] = mark
        try:
            pid = self.program.start(path, argv, envs, cwd, fds[:3], size is not None, held)
        except BaseException:
            if fd >= 0:
                os.close(fd)
            raise
        self.commands[id] = Command(pid, mark, fd)
        self.pids[pid] = id
        self.channel.send({"type": "started", "id": id, "pid": pid}, terminal if terminal >= 0 else None)

    def environment(self, given, cwd, home, is_terminal):
        """Return the variables of a command: those of a worker, those of a login, those given."""
        envs = self.envs.copy()
        name = envs.get(b"USER", b"user")
        envs.update({b"HOME": home, b"PWD": cwd, b"USER": name, b"LOGNAME": name})
        if self.shell:
            envs[b"SHELL"] = os.fsencode(self.shell[0])
        if is_terminal:
            envs[b"TERM"] = b"xterm-256color"
        paths = added.places(os.fsdecode(self.envs.get(b"TMPDIR", b"")) + added.ADDED)
        if paths:
            before = {os.fsdecode(key): os.fsdecode(value) for key, value in envs.items()}
            envs.update({os.fsencode(key): os.fsencode(value) for key, value in added.variables(paths, before.get).items()})
        for one in given:
            key, _, value = one.partition(b"=")
            envs[key] = value
        return [key + b"=" + value for key, value in envs.items()]

    def make_socket(self, id, family):
        """Pass the runner a socket. It belongs to the network in which it was made, whichever process uses it."""
        try:
            made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        except OSError as error:
            self.channel.send({"type": "refused", "id": id, "phase": SETUP, "errno": error.errno or 0})
            return
        try:
            self.channel.send({"type": "socket", "id": id}, made.fileno())
        finally:
            made.close()

    def signal(self, id, number):
        command = self.commands.get(id)
        if command is None or not command.pid:
            return errno.ESRCH
        try:
            os.killpg(command.pid, number)
        except OSError as error:
            return error.errno
        return 0

    def reap(self):
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            id = self.pids.pop(pid, None)
            if id is None:
                continue
            if id in self.commands:
                self.commands[id].pid = 0
            self.channel.send({"type": "ended", "id": id, "status": status, "cpu": int((usage[0] + usage[1]) * 1e6), "rss": usage[2]})

    def kill(self, id):
        """End the processes of a command that are there. Go on in the next round if there are any."""
        command = self.commands.get(id)
        found = self.marks.find(command.mark) if command is not None else []
        if not found:
            self.forget(id)
            self.channel.send({"type": "killed", "id": id})
            return
        # A process that is to be killed forks no other. So new ones have escaped the search.
        if not command.killed.issuperset(found):
            command.rounds += 1
        still = self.strict and command.rounds > MOST_ROUNDS
        if still:
            # In one step for all that this process may signal. So none can be faster. On kernels
            # before 6.12 that includes the worker.
            kernel.libc.kill(-1, SIGSTOP)
            found = self.marks.find(command.mark)
        for pid in found:
            processes.signal_one(pid, SIGKILL)
        if still:
            kernel.libc.kill(-1, SIGCONT)
        command.killed.update(found)
        self.reap()

    def forget(self, id):
        command = self.commands.pop(id, None)
        self.dying.discard(id)
        if command is not None:
            self.marks.forget(command.mark)
            if command.fd >= 0:
                os.close(command.fd)

    def end_all(self):
        """Kill all processes that commands have started: they are descendants of this one."""
        while True:
            for pid in processes.descendants(os.getpid()):
                processes.signal_one(pid, SIGKILL)
            try:
                while os.wait4(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return
            select.select([], [], [], 0.001)


def block_signals():
    """Block all signals. Commands inherit which are ignored: none, although Python ignores some."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    for one in signal.valid_signals():
        try:
            signal.signal(one, signal.SIG_DFL)
        except OSError:
            pass  # it cannot be changed for SIGKILL and SIGSTOP
    for reserved in C_LIBRARY_SIGNALS:
        kernel.syscall(number("rt_sigaction"), reserved, bytes(32), None, 8)


def read_all(fd):
    size = os.fstat(fd).st_size
    if size > MOST_TEXT:
        raise Failed(PROGRAM, errno.E2BIG)
    return os.pread(fd, size, 0)


def bounded(kind, value):
    hard = resource.getrlimit(kind)[1]
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def look_up(name, path, cwd):
    """Return the file of a program, as execvp finds it. The kernel checks the rights later."""
    if b"/" in name:
        return name
    refused = False
    for directory in (os.fsencode(DEFAULT_PATH) if path is None else path).split(b":"):
        file = os.path.join(cwd, directory, name)
        try:
            mode = os.stat(file).st_mode
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(mode):
            if mode & 0o111:
                return file
            refused = True
    raise Failed(PROGRAM, errno.EACCES if refused else errno.ENOENT)


def open_terminal(owner, size):
    """Make a terminal of the sandbox, which belongs to the user owner. Return both ends."""
    # The kernel gives the file to the user for the file system of the process that makes it.
    libc = kernel.libc
    if owner != 0:
        libc.setfsgid(owner)
        libc.setfsuid(owner)
    try:
        master = os.open(PTMX, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    finally:
        if owner != 0:
            libc.setfsuid(0)
            libc.setfsgid(0)
    try:
        fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))
        fcntl.ioctl(master, TIOCSWINSZ, struct.pack("4H", size[1], size[0], 0, 0))
        slave = fcntl.ioctl(master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        settings = bytearray(60)
        fcntl.ioctl(slave, TCGETS, settings)
        flags, = struct.unpack_from("I", settings)
        struct.pack_into("I", settings, 0, flags | IUTF8)
        fcntl.ioctl(slave, TCSETS, settings)
    except OSError:
        os.close(master)
        raise
    return [master, slave]
