"""Calls of the kernel and their constants, and the error that names a layer of the sandbox.

Each layer either holds or raises LayerError with its name. Then there is no worker, so the
sandbox never lacks a layer silently. These modules carry out the layers that package sandbox
of the runner chooses, in the order in which the processes begin:

    root          the zygote, once: a minimal read-only root
    namespaces    a slot, once: it is the first process of its namespaces. See network, terminals
    disk          a slot, for each worker: empty file systems
    confinement   each worker: gives up everything that it does not need. See landlock, seccomp
    limits        each worker, as the last step

Standard library only, Python 3.8 and later, Linux.
"""

import ctypes
import os

from program import number

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_NODIRATIME, MS_BIND = 1, 2, 4, 8, 32, 2048, 4096
MS_REC, MS_PRIVATE = 16384, 1 << 18
MNT_DETACH = 2
AT_FDCWD, AT_SYMLINK_NOFOLLOW, AT_RECURSIVE = -100, 0x100, 0x8000
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4
# The size of a struct statx, and the offset of the file's size in it.
STATX_BASIC_STATS, STATX, STATX_SIZE = 0x7FF, 256, 40

PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 4, 22, 24, 38
PR_SET_CHILD_SUBREAPER, PR_GET_TID_ADDRESS = 36, 40
SECCOMP_MODE_FILTER = 2

SUPERVISION = "process supervision"

libc = ctypes.CDLL(None, use_errno=True)
_mount, _umount2, prctl = libc.mount, libc.umount2, libc.prctl
_mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
syscall = libc.syscall
syscall.restype = ctypes.c_long


class LayerError(Exception):
    """A layer of the sandbox does not hold here."""

    def __init__(self, layer, what, error):
        Exception.__init__(self, "%s: %s: %s" % (layer, what, error))
        self.layer, self.what, self.error = layer, what, str(error)


def failure(error):
    """Return the message that reports an error to the runner."""
    if isinstance(error, LayerError):
        return {"type": "failed", "layer": error.layer, "error": "%s: %s" % (error.what, error.error)}
    return {"type": "failed", "layer": "", "error": "%s: %s" % (type(error).__name__, error)}


def check(result, layer, what):
    if result < 0:
        code = ctypes.get_errno()
        raise LayerError(layer, what, OSError(code, os.strerror(code)))
    return result


def mount(source, target, kind, flags, data=None, layer="mount namespace"):
    check(_mount(source, target, kind, flags, data), layer, "mount " + os.fsdecode(target))


def unmount(target, flags=0, layer="mount namespace", name=None):
    check(_umount2(target, MNT_DETACH | flags), layer, "umount " + (name or os.fsdecode(target)))


def unshare(namespaces, layer):
    check(libc.unshare(namespaces), layer, "unshare")


def no_new_privs():
    check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs", "prctl")


def become_subreaper():
    check(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), SUPERVISION, "prctl")


def hide_memory():
    """Keep even processes of the same user from reading the memory of this process."""
    check(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), SUPERVISION, "prctl")


def pidfd_open(pid):
    return check(syscall(number("pidfd_open"), pid, 0), SUPERVISION, "pidfd_open")
