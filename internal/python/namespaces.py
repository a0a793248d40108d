"""The namespaces of a slot, and the user namespace of its workers.

A slot gives its namespaces to one worker after the other. Between two workers they have no
process but the slot. Where a worker can leave something in a namespace (network.py), the slot
makes another. The workers' user namespace owns none of the others, so a worker cannot change them.

Standard library only, Python 3.8 and later, Linux.
"""

import fcntl
import os
import resource

import terminals
from kernel import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    LayerError,
    mount,
    unmount,
    unshare,
)
from root import BOOT_ID, STASH

OF_SLOT = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS
USER = 1000  # uid and gid of the code, as it sees them
# The files of /proc that programs and libraries read, besides those of processes. The rest are
# tables of the machine: its devices, interrupts, disks, keys, how its kernel was built and started.
KEPT_PROC = {"cpuinfo", "filesystems", "loadavg", "meminfo", "mounts", "net", "self", "stat", "sys", "thread-self", "uptime", "version",
             "vmstat"}
# Files of /proc/sys that are no settings: counts of all processes of the machine, and paths of its
# own programs.
HIDDEN_SYS = ("fs/aio-nr", "fs/dentry-state", "fs/file-nr", "fs/inode-nr", "fs/inode-state", "kernel/core_pattern", "kernel/pty/nr",
              "kernel/random/entropy_avail")
BOOT_ID_OF_MACHINE = "/proc/sys/kernel/random/boot_id"
EMPTY = b"/sys"  # a directory
LAST_PID = "/proc/sys/kernel/ns_last_pid"
# The most processes that all sandboxes of a zygote may have together; 0 is no limit.
all_processes = 0


def set_up():
    """Set up the namespaces of a slot. This process is the first in them, so the processes that
    a worker leaves behind become its children. See network.py for the network."""
    # A worker does not see the processes that it cannot trace. The kernel would show it how much
    # this process, and so all workers before, have used.
    mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, b"hidepid=4", "proc")
    terminals.mount_them()
    hide_tables()
    if os.path.ismount(STASH):
        unmount(os.fsencode(STASH), layer="proc", name="the whole one")


def hide_tables():
    """Make all files of /proc empty that belong to no process, except those in KEPT_PROC."""
    hidden = ["/proc/" + name for name in os.listdir("/proc") if not name.isdigit() and name not in KEPT_PROC]
    # The others refuse a worker with EACCES.
    hidden = [path for path in hidden if os.stat(path).st_mode & 0o004]
    for path in hidden + ["/proc/sys/" + name for name in HIDDEN_SYS]:
        if os.path.isdir(path):
            mount(EMPTY, os.fsencode(path), None, MS_BIND, None, "proc")
        elif os.path.exists(path):
            mount(b"/dev/null", os.fsencode(path), None, MS_BIND, None, "proc")
    if os.path.exists(BOOT_ID_OF_MACHINE):
        mount(os.fsencode(BOOT_ID), os.fsencode(BOOT_ID_OF_MACHINE), None, MS_BIND, None, "proc")


def enter_cgroup():
    """Make the control group of this process the root of those that it can see. The runner has
    put it there by now, and the names above would describe the runner."""
    unshare(CLONE_NEWCGROUP, "cgroup namespace")


def open_last_pid():
    """Open the file with the last number of a process, for the first process of the namespace
    to write to. Return None where the kernel has no such file."""
    try:
        return os.open(LAST_PID, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return None


def make_user(owner, lowest):
    """Make the user namespace for all workers of a slot, one after the other. It has one
    ordinary user and owns no other namespace. Return a descriptor of it, which is at least
    lowest and is not inherited by other programs."""
    layer = "user namespace"
    made, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(done[1])
            limit_all_processes()
            unshare(CLONE_NEWUSER, layer)
            os.write(made[1], b"x")
            os.read(done[0], 1)
        finally:
            os._exit(0)
    os.close(made[1])
    os.close(done[0])
    try:
        if not os.read(made[0], 1):
            raise LayerError(layer, "unshare", "refused")
        ids = "%d %d 1" % (USER, owner)
        for name, text in (("setgroups", "deny"), ("uid_map", ids), ("gid_map", ids)):
            with open("/proc/%d/%s" % (pid, name), "w") as file:
                file.write(text)
        fd = os.open("/proc/%d/ns/user" % pid, os.O_RDONLY)
        try:
            return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest)
        finally:
            os.close(fd)
    except OSError as error:
        raise LayerError(layer, "map its user", error)
    finally:
        os.close(made[0])
        os.close(done[1])
        os.waitpid(pid, 0)


def limit_all_processes():
    """Limit the processes of all sandboxes together, in a process that then makes a user namespace.

    When a process makes one, its own limit becomes the limit of all user namespaces of its user
    together, and so of all slots. The slots themselves do not have this limit (Linux 5.14)."""
    if all_processes:
        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        most = all_processes if hard == resource.RLIM_INFINITY else min(hard, all_processes)
        resource.setrlimit(resource.RLIMIT_NPROC, (most, hard))
