"""Kaa's zygote: a warm Python that only forks workers. It runs no foreign code.

The processes, each the parent of the next:

    zygote   one per runtime: imports the modules to preload, then forks slots
    slot     a place for one worker after the other: has what outlives them (a control
             group, namespaces), kills and counts all that a worker leaves, and reports
             its end
    worker   becomes repl_worker.py, confined

Zygote and slots serve a packet socket each. To and from the zygote:

    {"cmd": "slot", "owner": uid} + the slot's socket
    {"type": "ok"} + a pidfd of the slot, or {"type": "failed", "layer", "error"}

A slot sends ready. The runner puts it into its control group and sends a packet of any kind, and the
slot sends ready again. Then these messages follow. Their form is short, because each page that is written
after a fork costs time:

    W dir tmp + descriptors 0, 1, 2, control   fork a worker, if there is none
    V dir tmp + the same                       and a request waits for it
    X dir tmp + the same                       the same, with the files of the last one
    I                                          SIGINT to the worker's process group
    K                                          the end of everything in the sandbox
    S                                          everything in the sandbox stands still
    F                                          the same for a pause, parents before their children
    G                                          and goes on
    R size=bytes                               change the options of its file systems
    P                                          answer once all before it is done
    A 0                                        the worker gets forks or contexts: see fork_group.py
    B + a socket                               start commands for the runner there: see commands.py
    {"type": "ok"}, {"type": "failed", ...}    answers to R and P, and errors
    D                                          open its working directory
    {"type": "dir"} + a descriptor of it       answers to D; with "error" if it cannot be
    slot_program.Report                        the worker has ended; nothing is left but,
                                               if touched is 1, its files. If spent is 1, the
                                               slot is of no use for another
    C                                          its files may go

The end of any of these sockets is the end of the process that serves it, so nothing
outlives the runner. Nothing here is reachable from a worker: it has none of the
sockets, and at the levels with a sandbox may not look into other processes.

A slot goes on when the zygote dies; the runner starts another one.

Standard library only, Python 3.8 and later, Linux.
"""

import binascii
import gc
import json
import os
import signal
import sys

import confinement
import fonts
import fork
import fork_steps
import kernel
import limits
import memory
import namespaces
import program
import repl_worker
import root
import slot
from channel import Channel
from differences import find_differences
from disk import Empty
from landlock import Landlock
from prepared import prepared
from seccomp import Filter
from start import MOST_PRELOADED, ballast, plain
from training import train

CONTROL = 3  # where the runner puts the zygote's socket
STRICT, BASIC = "strict", "basic"
# Where caches go, below the directory for temporary files.
CACHES = (("MPLCONFIGDIR", "/matplotlib"), ("XDG_CACHE_HOME", "/.cache"), ("IPYTHONDIR", "/.ipython"))


class Zygote:
    def __init__(self, channel, spec):
        self.channel = channel
        self.level = spec["level"]
        self.hidden = []
        self.made = []
        self.landlock = None
        self.slot_filter, self.filter = [
            Filter(binascii.a2b_base64(spec[name])) if spec.get(name) else None for name in ("slotFilter", "filter")]
        if self.level in (STRICT, BASIC):
            self.landlock = Landlock()
        self.strict = self.level == STRICT
        self.native = None if "machine-code" in plain else program.native()
        self.fork = fork_steps.ForkSteps()
        self.slots = program.Program(self.native)
        self.fork.add_to(self.slots, namespaces.OF_SLOT if self.strict else 0)
        self.slots.build()
        self.helpers = program.Program(self.native)
        self.fork.add_to(self.helpers, 0)
        self.helpers.build()
        fork.forker.prepare(program.Program(self.native), self.fork)
        self.disk = spec["disk"]
        packages = spec.get("packages")
        namespaces.all_processes = spec.get("processes", 0)
        kernel.no_new_privs()
        limits.set_fixed()
        kernel.hide_memory()
        # An operator's choice of a cache that is prepared stays.
        self.caches = [item for item in CACHES if item[0] not in os.environ]
        if self.strict:
            self.hidden = root.build(spec["root"], [(packages, root.PACKAGES, False)] if packages else [])
            root.open_scratch(self.hidden)
            self.set_dirs(root.WORK, root.TMP)
        else:
            self.set_dirs(spec["scratch"], spec["scratch"])
        if packages:
            add_packages(root.PACKAGES if self.strict else packages)
        os.chdir("/")
        self.scratch = spec["scratch"]
        self.plain_memory = spec.get("plainMemory", False)
        repl_worker.prepare(spec.get("plainStack", False))
        self.preload(spec["preload"] or [])
        prepared.patch_preloaded()
        repl_worker.rehearse_preloaded()
        repl_worker.import_in_workers(spec.get("imports") or [])
        if self.strict:
            self.made = root.close_scratch(self.hidden)
        self.work_begins_empty = self.strict and not any(path.startswith(root.WORK) for path in self.made)
        self.train()
        self.rules = [(os.fsencode(path), rights) for path, rights in self.landlock_rules()]

    def train(self):
        """Let the worker's script be fast before there are workers."""
        if self.strict:
            prepared.home = root.WORK
        if self.work_begins_empty:
            self.empty = Empty(self.native)
            if self.native is not None:  # in Python it would be slow, and need builtins, which the code may have removed
                prepared.is_empty = self.empty.look
        find_differences()
        if self.modules:
            forget_lookups()
        gc.collect()
        gc.freeze()  # else each training would look through all of it
        train(repl_worker.main, confinement.CONTROL, limits.set_limits)

    def set_dirs(self, home, tmp):
        """Set the directories that libraries can write to."""
        os.environ.update([("HOME", home), ("TMPDIR", tmp)] + [(name, tmp + path) for name, path in self.caches])

    def preload(self, names):
        self.before = list(memory.file_mappings()) if names and not self.plain_memory else None
        room = memory.reserve() if names and "ballast" not in plain else None
        for name in names:
            try:
                __import__(name)
            except BaseException as error:
                raise RuntimeError("preload %s: %s: %s" % (name, type(error).__name__, error)) from None
            if threads() > 1:
                raise RuntimeError("preload %s: it starts threads when it is imported, and a process with threads "
                                   "cannot be forked safely; leave it out" % name)
        del room
        self.modules = names

    def landlock_rules(self):
        lock = self.landlock
        if lock is None:
            return []
        if self.strict:
            return [("/", lock.read), (root.TMP, lock.all), (root.WORK, lock.all),
                    ("/dev", lock.write_file | lock.all & lock.IOCTL_DEV)]
        return root.readable(lock)

    def ready(self):
        gc.collect()
        self.ballast = ballast(MOST_PRELOADED) if self.modules else None  # the new objects of slots are contiguous then
        gc.freeze()
        if "pages" not in plain:
            memory.merge_mappings()
        memory.trim()
        if self.before is not None:
            memory.share(self.before, program.Program(self.native))
        if "pages" not in plain:
            memory.enlarge_pages()
        if "fonts" not in plain:
            fonts.look(self.strict, self.scratch)
        self.channel.send({"type": "ready", "version": repl_worker.VERSION,
                           "python": "%d.%d.%d" % sys.version_info[:3], "modules": self.modules})

    def serve(self):
        while True:
            data, fds = self.channel.receive(1)
            if not data:
                os._exit(0)
            try:
                pid = self.slot(json.loads(data), fds)
                pidfd = kernel.pidfd_open(pid)
            except Exception as error:
                self.channel.send(kernel.failure(error))
            else:
                self.channel.send({"type": "ok"}, pidfd)
                os.close(pidfd)
            for fd in fds:
                os.close(fd)

    def slot(self, message, fds):
        pid = fork_steps.run(self.slots)
        if pid:
            return pid
        channel = None
        try:
            self.channel.close()
            channel = Channel(os.dup(fds[0]))
            os.close(fds[0])
            place = slot.Slot(self, channel, message["owner"])
            channel.send({"type": "ready"})
            if not channel.receive()[0]:
                os._exit(0)
            place.close()
            channel.send({"type": "ready"})
            place.serve()
        except BaseException as error:
            if channel is not None:
                channel.send(kernel.failure(error))
        finally:
            os._exit(0)


def add_packages(path):
    """Let the code import the packages of a directory: after the standard library, and before other installed packages.
    Programs that it starts find them, too."""
    site = [i for i, place in enumerate(sys.path) if place.endswith(("site-packages", "dist-packages"))]
    sys.path.insert(site[0] if site else len(sys.path), path)
    os.environ["PYTHONPATH"] = path
    os.environ["PATH"] = "%s/bin:%s" % (path, os.environ["PATH"])


def forget_lookups():
    """Empty Python's cache of attributes. It holds the names that libraries have looked up, all
    over their memory, and writes to one whenever another takes its place."""
    clear = getattr(sys, "_clear_type_cache", None)
    if clear is not None:
        clear()


def threads():
    return len(os.listdir("/proc/self/task"))


def main():
    channel = Channel(CONTROL)
    os.environ.pop("LD_BIND_NOW", None)  # it has had its effect; programs that workers start bind as usual
    if "pages" not in plain:
        memory.enlarge_program_pages()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are not waited for
    signal.pthread_sigmask(signal.SIG_BLOCK, slot.CHILD)
    data, _ = channel.receive()
    if not data:
        os._exit(0)
    try:
        zygote = Zygote(channel, json.loads(data))
    except BaseException as error:
        channel.send(kernel.failure(error))
        os._exit(1)
    zygote.ready()
    zygote.serve()

