"""Kaa's zygote: a warm Python that only forks workers. It runs no foreign code.

The processes, each the parent of the next:

    zygote      one per runtime: imports what is to be preloaded, then forks slots
    slot        has what outlives a worker: a control group, a network
    supervisor  one per worker: the first process of fresh namespaces; kills and
                counts all that the worker leaves, and reports its end
    worker      becomes repl_worker.py, confined

Zygote and slots serve a packet socket each, with JSON messages from the runner and
file descriptors beside them:

    to the zygote      {"cmd": "slot", "owner": uid}              + the slot's socket
    to a slot          {"cmd": "worker", "disk", "dir", "limits"} + 0, 1, 2, control, guard
    from both          {"type": "ok"}                             + a pidfd of the child
                       {"type": "failed", "layer", "error"}

and the supervisor serves its guard socket:

    to the supervisor    {"cmd": "interrupt"}   SIGINT to the worker's process group
                         {"cmd": "kill"}        the end of everything in the sandbox
                         {"cmd": "resize", "disk": bytes}
    from the supervisor  {"type": "ok"} | {"type": "failed", ...}
                         {"type": "exited", "status", "cpuMs", "maxRssBytes"}, the last

The end of any of these sockets is the end of the process that serves it, so nothing
outlives the runner. Nothing here is reachable from a worker: it has none of the
sockets, and at the levels with a sandbox may not look into other processes.

A slot or a worker goes on when the zygote dies; the runner starts another one.

Standard library only, Python 3.8 and later, Linux.
"""

import array
import base64
import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import types

CONTROL = 3  # where the runner puts the zygote's socket
MAX_MESSAGE = 64 << 10
STRICT, BASIC = "strict", "basic"

SIG_BLOCK, SIG_UNBLOCK = signal.SIG_BLOCK, signal.SIG_UNBLOCK
CHILD = (signal.SIGCHLD,)


def load(name):
    """Load a script that lies beside this one, without leaving it in sys.modules."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
    with open(path, encoding="utf-8") as file:
        source = file.read()
    module = types.ModuleType("kaa_" + name)
    module.__file__ = path
    exec(compile(source, path, "exec", 0, True), module.__dict__)
    return module


seal = load("seal")
repl_worker = load("repl_worker")


class Channel:
    """A packet socket to the runner."""

    def __init__(self, fd):
        self.socket = socket.socket(fileno=fd)

    def fileno(self):
        return self.socket.fileno()

    def receive(self, most=0):
        """The next message with its descriptors, or None when the runner is gone."""
        data, ancillary, _, _ = self.socket.recvmsg(MAX_MESSAGE, socket.CMSG_LEN(most * 4) if most else 0,
                                                    socket.MSG_CMSG_CLOEXEC)
        fds = array.array("i")
        for level, kind, body in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(body[:len(body) // 4 * 4])
        if not data:
            return None, []
        return json.loads(data), list(fds)

    def send(self, message, fd=None):
        rights = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        try:
            self.socket.sendmsg([json.dumps(message).encode()], rights)
        except OSError:
            os._exit(0)  # the runner is gone

    def close(self):
        self.socket.close()


def failure(error):
    if isinstance(error, seal.LayerError):
        return {"type": "failed", "layer": error.layer, "error": "%s: %s" % (error.what, error.error)}
    return {"type": "failed", "layer": "", "error": "%s: %s" % (type(error).__name__, error)}


def serve(channel, commands, most):
    """Answer the runner's messages until it is gone. A command forks and returns in
    the parent with the child's pid."""
    while True:
        message, fds = channel.receive(most)
        if message is None:
            os._exit(0)
        try:
            pid = commands[message["cmd"]](message, fds)
            pidfd = seal.pidfd_open(pid)
        except Exception as error:
            channel.send(failure(error))
        else:
            channel.send({"type": "ok"}, pidfd)
            os.close(pidfd)
        for fd in fds:
            os.close(fd)


class Zygote:
    def __init__(self, channel, spec):
        self.channel = channel
        self.level = spec["level"]
        self.hidden = []
        self.filter = None
        self.landlock = None
        if spec.get("filter"):
            self.filter = seal.Filter(base64.b64decode(spec["filter"]))
        if self.level in (STRICT, BASIC):
            self.landlock = seal.Landlock()
        seal.no_new_privs()
        if self.level == STRICT:
            self.hidden = seal.build_root(spec["root"])
        os.chdir("/")
        repl_worker.prepare()
        self.preload(spec["preload"] or [])
        self.rules = self.landlock_rules()

    def preload(self, names):
        for name in names:
            try:
                __import__(name)
            except BaseException as error:
                raise RuntimeError("preload %s: %s: %s" % (name, type(error).__name__, error)) from None
            if threads() > 1:
                raise RuntimeError("preload %s: it starts threads when it is imported, and a process with threads "
                                   "cannot be forked safely; leave it out" % name)
        self.modules = names

    def landlock_rules(self):
        lock = self.landlock
        if lock is None:
            return []
        if self.level == STRICT:
            return [("/", lock.read), (seal.TMP, lock.all), (seal.WORK, lock.all),
                    ("/dev", lock.write_file | lock.all & lock.IOCTL_DEV)]
        paths = [path for path in seal.SYSTEM_DIRS if os.path.exists(path)] + seal.interpreter_dirs()
        rules = [(path, lock.read) for path in paths]
        rules += [("/etc/" + name, lock.read if os.path.isdir("/etc/" + name) else lock.READ_FILE)
                  for name in list(seal.ETC) + ["passwd", "group", "hosts", "hostname"]]
        rules.append(("/proc", lock.read))
        rules += [("/dev/" + name, lock.READ_FILE | lock.write_file | lock.all & lock.IOCTL_DEV) for name in seal.DEVICES]
        return rules

    def ready(self):
        gc.collect()
        gc.freeze()
        self.channel.send({"type": "ready", "version": repl_worker.VERSION,
                           "python": "%d.%d.%d" % sys.version_info[:3], "modules": self.modules})

    def serve(self):
        serve(self.channel, {"slot": self.slot}, 1)

    def slot(self, message, fds):
        pid = os.fork()
        if pid:
            return pid
        try:
            self.channel.close()
            channel = Channel(os.dup(fds[0]))
            os.close(fds[0])
            slot = Slot(self, channel, message["owner"])
            channel.send({"type": "ready"})
            slot.serve()
        except BaseException as error:
            channel.send(failure(error))
        finally:
            os._exit(0)


class Slot:
    def __init__(self, zygote, channel, owner):
        self.zygote, self.channel, self.owner = zygote, channel, owner
        self.strict = zygote.level == STRICT
        if self.strict:
            seal.open_slot()

    def serve(self):
        serve(self.channel, {"worker": self.worker}, 5)

    def worker(self, message, fds):
        pid = seal.fork_into(seal.WORKER_NAMESPACES if self.strict else 0)
        if pid:
            return pid
        try:
            self.channel.close()
            Supervisor(self, message, fds).run()
        finally:
            os._exit(0)


class Supervisor:
    def __init__(self, slot, message, fds):
        self.slot, self.zygote, self.message = slot, slot.zygote, message
        self.stdio, self.control = fds[:3], fds[3]
        self.guard = Channel(fds[4])
        self.pid = 0
        self.status = None
        self.cpu = 0.0
        self.rss = 0

    def run(self):
        try:
            self.set_up()
            self.pid = os.fork()
            if self.pid == 0:
                self.become_worker()
            self.close_worker_ends()
            self.watch()
        except BaseException as error:
            self.fail(error)

    def set_up(self):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # its ends are waited for
        if self.slot.strict:
            seal.enter(self.message["disk"], self.slot.owner, self.zygote.hidden)
        else:
            seal.become_subreaper()
        seal.hide_memory()

    def fail(self, error):
        self.guard.send(failure(error))
        self.end_all()
        os._exit(1)

    def close_worker_ends(self):
        for fd in self.stdio:
            os.close(fd)
        os.close(self.control)

    def watch(self):
        """Serve the runner until the worker has ended, then end the rest."""
        children = signal_fd(CHILD)
        poll = select.poll()
        poll.register(children, select.POLLIN)
        poll.register(self.guard, select.POLLIN)
        while self.status is None:
            for fd, _ in poll.poll():
                if fd == children:
                    os.read(children, 4096)
                    self.reap(os.WNOHANG)
                else:
                    self.obey()
        self.end_all()
        self.guard.send({"type": "exited", "status": self.status, "cpuMs": round(self.cpu * 1000, 3),
                         "maxRssBytes": self.rss * 1024})

    def obey(self):
        message, _ = self.guard.receive()
        if message is None:  # the runner is gone
            self.end_all()
            os._exit(0)
        command = message["cmd"]
        if command == "interrupt":
            signal_group(self.pid, signal.SIGINT)
        elif command == "kill":
            self.end_all()
        elif command == "resize":
            try:
                seal.resize(message["disk"])
                self.guard.send({"type": "ok"})
            except Exception as error:
                self.guard.send(failure(error))

    def reap(self, flags):
        """Wait for children; report whether any may be left."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, flags)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.pid:
                self.status = status
            self.cpu += usage.ru_utime + usage.ru_stime
            self.rss = max(self.rss, usage.ru_maxrss)

    def end_all(self):
        """Kill everything that descends from the worker, and the worker."""
        if self.slot.strict:
            try:
                os.kill(-1, signal.SIGKILL)  # all of this pid namespace but its first process
            except OSError:
                pass
            self.reap(0)
            return
        signal_group(self.pid, signal.SIGKILL)
        # Whatever the worker leaves behind becomes a child of this process. Groups go
        # first and in one step, so that a fork bomb cannot outrun it.
        while self.reap(os.WNOHANG):
            for pid in children_of(os.getpid()):
                try:
                    signal_group(os.getpgid(pid), signal.SIGKILL)
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
            select.select([], [], [], 0.001)

    # --- in the worker's process

    def become_worker(self):
        try:
            os.setsid()
            self.guard.close()
            # Out of the way of the numbers they are copied to.
            control = os.dup(self.control)
            for fd, source in enumerate(self.stdio):
                os.dup2(source, fd)
            self.confine()
        except BaseException as error:
            repl_worker.complain(control, failure(error))
            os._exit(1)
        try:
            repl_worker.main(control, seal.set_limits)
        finally:
            os._exit(70)

    def confine(self):
        zygote, message = self.zygote, self.message
        os.chdir(message["dir"])
        os.environ["HOME"], os.environ["TMPDIR"] = message["dir"], message["tmp"]
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(SIG_UNBLOCK, CHILD)
        seal.volunteer_for_oom()
        seal.fixed_limits()
        repl_worker.differ()
        if self.slot.strict:
            seal.become_user(self.slot.owner)
        if zygote.landlock is not None:
            rules, attributes = zygote.rules, zygote.landlock.strict
            if not self.slot.strict:
                attributes = zygote.landlock.basic
                rules = rules + [(message["dir"], zygote.landlock.all), (message["tmp"], zygote.landlock.all)]
            zygote.landlock.restrict(attributes, rules)
            seal.drop_capabilities()
        seal.set_limits(message["limits"])
        if zygote.filter is not None:
            zygote.filter.install()


def signal_fd(signals):
    """A descriptor that is readable when one of the signals has come."""
    mask = ctypes.create_string_buffer(128)
    for number in signals:
        seal.libc.sigaddset(mask, number)
    SFD_CLOEXEC, SFD_NONBLOCK = 0x80000, 0x800
    return seal.check(seal.libc.signalfd(-1, mask, SFD_CLOEXEC | SFD_NONBLOCK), "process supervision", "signalfd")


def signal_group(pgid, number):
    try:
        if pgid > 1 and pgid != os.getpgrp():
            os.killpg(pgid, number)
    except OSError:
        pass


def children_of(pid):
    with open("/proc/self/task/%d/children" % pid) as file:
        return [int(word) for word in file.read().split()]


def threads():
    return len(os.listdir("/proc/self/task"))


def main():
    channel = Channel(CONTROL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are not waited for
    signal.pthread_sigmask(SIG_BLOCK, CHILD)
    message, _ = channel.receive()
    if message is None:
        os._exit(0)
    try:
        zygote = Zygote(channel, message)
    except BaseException as error:
        channel.send(failure(error))
        os._exit(1)
    zygote.ready()
    zygote.serve()


if __name__ == "__main__":
    main()
