"""The sandbox around a worker, from the inside: what its processes do to themselves.

The runner decides what a sandbox is made of (package sandbox); this file carries
it out, in the order in which the processes come to be:

    build_root   the zygote, once: a minimal read-only root to live in
    open_slot    a slot, once: the first process of a pid namespace, and a network
    enter        each worker: mounts of its own, in namespaces of its own
    become_user, Landlock.restrict, drop_capabilities, set_limits, Filter.install
                 each worker: gives up everything it does not need

Every step either holds or raises LayerError with the name of the layer, and then
there is no worker: nothing is ever silently left out.

All of it runs between fork and the first line of foreign code, thousands of times
a minute, so what can be prepared is prepared at import: ctypes functions are
looked up and arguments are encoded once, by the zygote.

Standard library only, Python 3.8 and later, Linux.
"""

import ctypes
import os
import resource
import socket
import struct
import sys

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
# A slot lends its pid and network namespaces to one worker after the other; there is
# nobody and nothing in them in between. Each worker has the others to itself; the
# last it makes is a user namespace, so that it owns none of them.
SLOT_NAMESPACES = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET
WORKER_NAMESPACES = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP
CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID = 0x00200000, 0x01000000

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 2, 4, 8, 32, 4096
MS_REC, MS_PRIVATE = 16384, 1 << 18
MNT_DETACH = 2
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4

PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 4, 22, 24, 38
PR_SET_CHILD_SUBREAPER, PR_GET_TID_ADDRESS = 36, 40
SECCOMP_MODE_FILTER = 2
LAST_CAPABILITY = 63  # dropping what does not exist is an error that does not matter

# These have the same numbers on every architecture.
SYS_LANDLOCK_CREATE, SYS_LANDLOCK_ADD, SYS_LANDLOCK_RESTRICT, SYS_MOUNT_SETATTR = 444, 445, 446, 442
SYS_PIDFD_OPEN = 434
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
SYS_CLONE = {"x86_64": 56, "aarch64": 220}
SYS_SET_ROBUST_LIST = {"x86_64": 273, "aarch64": 99}
SYS_GET_ROBUST_LIST = {"x86_64": 274, "aarch64": 100}

USER = 1000  # uid and gid of the code, as it sees them
WORK, TMP, SHM = "/work", "/tmp", "/dev/shm"
DEVICES = ("null", "zero", "full", "random", "urandom")
SYSTEM_DIRS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# What libraries read in /etc; nothing about this machine's people or networks.
ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "timezone", "mime.types", "fonts",
       "ssl/certs", "ssl/openssl.cnf", "ca-certificates", "magic", "matplotlibrc", "services", "protocols",
       "nsswitch.conf", "os-release", "debian_version")
ETC_OWN = {
    "passwd": "root:x:0:0:root:/:/usr/sbin/nologin\nuser:x:1000:1000:user:/work:/bin/sh\n"
              "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    "group": "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "hostname": "sandbox\n",
    "resolv.conf": "",
}

libc = ctypes.CDLL(None, use_errno=True)
_mount, _umount2, _unshare, _prctl = libc.mount, libc.umount2, libc.unshare, libc.prctl
_capset, _sethostname = libc.capset, libc.sethostname
_syscall = libc.syscall
_syscall.restype = ctypes.c_long
_mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
# Calls that hold on to the interpreter's lock, for a fork by hand.
_locked = ctypes.PyDLL(None).syscall
_locked.restype = ctypes.c_long

MACHINE = os.uname().machine


class LayerError(Exception):
    """A layer of the sandbox does not hold here."""

    def __init__(self, layer, what, error):
        Exception.__init__(self, "%s: %s: %s" % (layer, what, error))
        self.layer, self.what, self.error = layer, what, str(error)


def check(result, layer, what):
    if result < 0:
        code = ctypes.get_errno()
        raise LayerError(layer, what, OSError(code, os.strerror(code)))
    return result


def mount(source, target, kind, flags, data=None, layer="mount namespace"):
    check(_mount(source, target, kind, flags, data), layer, "mount " + os.fsdecode(target))


def no_new_privs():
    check(_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs", "prctl")


def become_subreaper():
    check(_prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "process supervision", "prctl")


def hide_memory():
    """Keep even processes of the same user from reading this one's memory."""
    check(_prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "process supervision", "prctl")


def make_visible():
    """Undo hide_memory: a worker may look at itself, and has to, to give up rights."""
    check(_prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "process supervision", "prctl")


def pidfd_open(pid):
    fd = _syscall(SYS_PIDFD_OPEN, pid, 0)
    return check(fd, "process supervision", "pidfd_open")


class Fork:
    """A fork that costs a tenth of os.fork, into new namespaces.

    What a process pays for after a fork is above all each page that it writes to, and
    os.fork has the C library and every module that registered for it write to many:
    to give locks new states that other threads may have held. There are no other
    threads in a zygote. What is left is done here: the new process's thread id goes
    where the C library keeps it, and its list of robust locks is registered anew.
    """

    def __init__(self):
        address = ctypes.c_void_p()
        # Kernels may be built without this; what then sees a stale id are messages of
        # the C library's own checks of locks.
        known = _prctl(PR_GET_TID_ADDRESS, ctypes.addressof(address), 0, 0, 0) == 0
        tid = ctypes.c_void_p(address.value) if known else None
        self.tid_flags = CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID if known else 0
        head, size = ctypes.c_void_p(), ctypes.c_size_t()
        check(_syscall(SYS_GET_ROBUST_LIST[MACHINE], 0, ctypes.byref(head), ctypes.byref(size)), "process supervision",
              "get_robust_list")
        self.robust = (SYS_SET_ROBUST_LIST[MACHINE], ctypes.c_void_p(head.value), ctypes.c_size_t(size.value))
        # The order of the last two arguments depends on the architecture.
        self.rest = (None, None, tid, None) if MACHINE == "x86_64" else (None, None, None, tid)
        self.number = SYS_CLONE[MACHINE]
        self.flags = {}

    def prepare(self, namespaces):
        SIGCHLD = 17
        self.flags[namespaces] = ctypes.c_ulong(namespaces | self.tid_flags | SIGCHLD)

    def __call__(self, namespaces):
        pid = _locked(self.number, self.flags[namespaces], *self.rest)
        if pid == 0:
            _syscall(*self.robust)
        elif pid < 0:
            code = ctypes.get_errno()
            raise LayerError("namespaces" if namespaces else "process supervision", "clone", OSError(code, os.strerror(code)))
        return pid


# --- the zygote's root ---------------------------------------------------------


def build_root(where):
    """Make the directory where the root of this process and of all its children:
    the system's programs and libraries and this interpreter, read-only, and empty
    places for the mounts of each worker. The process has mount and user namespaces
    of its own by now."""
    layer = "mount namespace"
    try:
        mount(None, b"/", None, MS_REC | MS_PRIVATE)
        mount(b"tmpfs", os.fsencode(where), b"tmpfs", MS_NOSUID | MS_NODEV, b"size=4m,nr_inodes=8192,mode=755")
        for path in ("/proc", TMP, WORK, "/dev", SHM, "/etc", "/sys", "/run", "/var", "/var/tmp", "/mnt"):
            os.makedirs(where + path, 0o755, exist_ok=True)
        for path in SYSTEM_DIRS:
            if os.path.islink(path):
                os.symlink(os.readlink(path), where + path)
            elif os.path.isdir(path):
                bind(path, where + path)
        hidden = []
        for path in interpreter_dirs():
            if covered(path, SYSTEM_DIRS):
                continue
            if covered(path, (TMP, WORK)):  # each worker's own mounts would hide it
                hidden.append((path, "/run/%d" % len(hidden)))
                bind(path, where + hidden[-1][1])
            else:
                bind(path, where + path)
        for name in ETC:
            if os.path.exists("/etc/" + name):
                bind("/etc/" + name, where + "/etc/" + name)
        for name, text in ETC_OWN.items():
            with open(where + "/etc/" + name, "w") as file:
                file.write(text)
        for name in DEVICES:
            bind("/dev/" + name, where + "/dev/" + name, devices=True)
        for name, target in (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
                             ("stderr", "/proc/self/fd/2")):
            os.symlink(target, where + "/dev/" + name)
        # A fresh /proc may be mounted only where a whole one can be seen; each
        # worker's own comes on top of this one.
        mount(b"/proc", os.fsencode(where + "/proc"), None, MS_BIND | MS_REC)
        os.chdir(where)
        check(_syscall(SYS_PIVOT_ROOT[MACHINE], b".", b"."), layer, "pivot_root")
        check(_umount2(b".", MNT_DETACH), layer, "umount the old root")
        os.chdir("/")
        set_attributes("/", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, recursive=False)
        check(_sethostname(b"sandbox", 7), "uts namespace", "sethostname")
    except OSError as error:
        raise LayerError(layer, "build the root", error)
    return hidden


def interpreter_dirs():
    """Where this interpreter and its libraries are."""
    found = {sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.path.realpath(sys.executable))}
    found.update(path for path in sys.path if path)
    found = sorted(os.path.abspath(path) for path in found if os.path.isdir(path) and path != "/")
    # Without what is inside another.
    return [path for path in found if not covered(path, [other for other in found if other != path])]


def covered(path, dirs):
    return any(path == d or path.startswith(d.rstrip("/") + "/") for d in dirs)


def bind(source, target, devices=False):
    if os.path.isdir(source):
        os.makedirs(target, 0o755, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        if not os.path.lexists(target):
            open(target, "w").close()
    mount(os.fsencode(source), os.fsencode(target), None, MS_BIND | MS_REC)
    if devices:
        return
    set_attributes(target, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, recursive=True)


def set_attributes(path, attributes, recursive):
    """Unlike a remount it only adds, so flags that the system locked stay."""
    data = struct.pack("QQQQ", attributes, 0, 0, 0)
    result = _syscall(SYS_MOUNT_SETATTR, AT_FDCWD, os.fsencode(path), AT_RECURSIVE if recursive else 0, data, len(data))
    check(result, "mount namespace", "make %s read-only" % path)


# --- a slot's namespaces ---------------------------------------------------------


def open_slot():
    """Set up the namespaces that one worker after the other will live in. The process
    is the first in them: what a worker leaves behind becomes its child.

    The network has nothing but a loopback. Nothing of one worker is left in it for the
    next: sockets end with their processes, and closed connections are not remembered."""
    mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None, "proc")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            import fcntl

            SIOCSIFFLAGS, IFF_UP = 0x8914, 1
            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
        # /proc/sys/net is the network of who looks.
        with open("/proc/sys/net/ipv4/tcp_max_tw_buckets", "w") as file:
            file.write("0")
    except OSError as error:
        raise LayerError("network namespace", "set up the loopback", error)


# --- a worker's mounts -------------------------------------------------------------


def tmpfs_options(disk_bytes, owner):
    """How to mount the working directory, and /tmp."""
    inodes = max(1024, min(disk_bytes // 4096, 65536))
    return tuple(b"size=%d,nr_inodes=%d,mode=%s,uid=%d,gid=%d" % (disk_bytes, inodes, mode, owner, owner)
                 for mode in (b"700", b"1777"))


def enter(options, hidden):
    """Mount what is the worker's own: see tmpfs_options."""
    work, tmp = options
    mount(b"tmpfs", b"/work", b"tmpfs", MS_NOSUID | MS_NODEV, work)
    mount(b"tmpfs", b"/tmp", b"tmpfs", MS_NOSUID | MS_NODEV, tmp)
    mount(b"/tmp", b"/dev/shm", None, MS_BIND)
    for path, stash in hidden:
        os.makedirs(path, 0o755, exist_ok=True)
        mount(os.fsencode(stash), os.fsencode(path), None, MS_BIND | MS_REC)


def resize(pid, disk_bytes):
    """Change the size limit of a worker's file systems, from outside of it."""
    fd = os.open("/proc/%d/ns/mnt" % pid, os.O_RDONLY)
    check(libc.setns(fd, CLONE_NEWNS), "mount namespace", "setns")
    os.close(fd)
    data = b"size=%d" % disk_bytes
    for path in (b"/work", b"/tmp"):
        mount(None, path, None, MS_REMOUNT | MS_NOSUID | MS_NODEV, data)


# --- a worker's confinement ----------------------------------------------------------


class Filter:
    """A seccomp program, as the runner assembled it."""

    class _Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    def __init__(self, code):
        self.code = ctypes.create_string_buffer(code, len(code))
        self.program = self._Program(len(code) // 8, ctypes.cast(self.code, ctypes.c_void_p))
        self.pointer = ctypes.addressof(self.program)

    def install(self):
        check(_prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, self.pointer, 0, 0), "seccomp", "prctl")


class Landlock:
    """Which files the worker may read and write, in the words of Landlock.

    READ and ALL are rights on file systems up to the version of this kernel. A
    right that a kernel does not know cannot be withheld there; the first version
    knows all kinds of writing but truncation."""

    EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
    TRUNCATE, REFER, IOCTL_DEV = 1 << 14, 1 << 13, 1 << 15

    def __init__(self):
        version = _syscall(SYS_LANDLOCK_CREATE, None, 0, 1)
        self.version = check(version, "landlock", "landlock_create_ruleset")
        self.all = (1 << 13) - 1
        if version >= 2:
            self.all |= self.REFER
        if version >= 3:
            self.all |= self.TRUNCATE
        if version >= 5:
            self.all |= self.IOCTL_DEV
        self.read = self.EXECUTE | self.READ_FILE | self.READ_DIR
        self.write_file = self.all & (self.WRITE_FILE | self.TRUNCATE)
        scopes = 3 if version >= 6 else 0  # abstract sockets and signals
        self.sizes = 8 if version < 4 else 16 if version < 6 else 24
        self.strict = struct.pack("QQQ", self.all, 0, scopes)
        # No TCP either: there is no network namespace at the level of basic.
        self.basic = struct.pack("QQQ", self.all, 3 if version >= 4 else 0, scopes)

    def restrict(self, attributes, rules):
        layer = "landlock"
        ruleset = check(_syscall(SYS_LANDLOCK_CREATE, attributes, self.sizes, 0), layer, "landlock_create_ruleset")
        for path, rights in rules:
            try:
                fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            rule = struct.pack("=Qi", rights, fd)
            check(_syscall(SYS_LANDLOCK_ADD, ruleset, 1, rule, 0), layer, "landlock_add_rule " + path)
            os.close(fd)
        check(_syscall(SYS_LANDLOCK_RESTRICT, ruleset, 0), layer, "landlock_restrict_self")
        os.close(ruleset)


CAP_HEADER = struct.pack("Ii", 0x20080522, 0)
NO_CAPABILITIES = bytes(24)


def drop_capabilities():
    for capability in range(LAST_CAPABILITY + 1):
        if _prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break  # past the last one, or none of them is ours to drop
    check(_capset(CAP_HEADER, NO_CAPABILITIES), "capabilities", "capset")


def become_user(owner):
    """Leave the slot's user namespace for one of the worker's own, in which it is an
    ordinary user, and which owns nothing."""
    layer = "user namespace"
    try:
        if owner != 0:
            os.setgroups([])
            os.setresgid(owner, owner, owner)
            os.setresuid(owner, owner, owner)
        check(_prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), layer, "prctl")  # else /proc/self is not ours
        check(_unshare(CLONE_NEWUSER), layer, "unshare")
        ids = b"%d %d 1" % (USER, owner)
        for name, data in (("setgroups", b"deny"), ("uid_map", ids), ("gid_map", ids)):
            fd = os.open("/proc/self/" + name, os.O_WRONLY)
            os.write(fd, data)
            os.close(fd)
    except OSError as error:
        raise LayerError(layer, "become an ordinary user", error)


LIMITS = {
    "processes": resource.RLIMIT_NPROC,
    "openFiles": resource.RLIMIT_NOFILE,
    "fileBytes": resource.RLIMIT_FSIZE,
    "cpuSeconds": resource.RLIMIT_CPU,
}


def set_limits(limits, _set=resource.setrlimit, _get=resource.getrlimit):
    """Lower the limits of this process and of all it starts, for good."""
    for name, value in limits.items():
        kind = LIMITS[name]
        hard = _get(kind)[1]
        if hard != resource.RLIM_INFINITY and value > hard:
            value = hard
        try:
            _set(kind, (value, value))
        except (OSError, ValueError) as error:
            raise LayerError("rlimits", "set " + name, error)


def fixed_limits():
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_MSGQUEUE, (0, 0))
    except (OSError, ValueError) as error:
        raise LayerError("rlimits", "set", error)


def volunteer_for_oom():
    """When memory runs out the kernel should end the code, not its supervisor."""
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(fd, b"1000")
        os.close(fd)
    except OSError as error:
        raise LayerError("memory limit", "oom_score_adj", error)
