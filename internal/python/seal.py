"""The sandbox around a worker, from the inside: what its processes do to themselves.

The runner decides what a sandbox is made of (package sandbox); this file carries
it out, in the order in which the processes come to be:

    build_root   the zygote, once: a minimal read-only root to live in
    open_slot    a slot, once: the first process of its namespaces; see network.py, too
    Files        a slot, for each worker: empty file systems
    Confinement  each worker: gives up everything that it does not need. set_limits
                 is the last step.

Every step either holds or raises LayerError with the name of the layer, and then
there is no worker: nothing is ever silently left out.

What a worker does to itself is a table of system calls that its slot prepares: see
program.py for why.

Standard library only, Python 3.8 and later, Linux.
"""

import ctypes
import fcntl
import os
import resource
import struct
import sys

from program import FORK, MAY_FAIL, Program, Word, number

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
# A slot lends its namespaces to one worker after the other: there is nobody in them in
# between, and where something can be left in one (network.py) it makes another. The user namespace that a worker ends up in
# owns none of the others, so it cannot change them.
SLOT_NAMESPACES = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS
CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID = 0x00200000, 0x01000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_NODIRATIME, MS_BIND = 1, 2, 4, 8, 32, 2048, 4096
MS_REC, MS_PRIVATE = 16384, 1 << 18
MNT_DETACH = 2
AT_FDCWD, AT_SYMLINK_NOFOLLOW, AT_RECURSIVE = -100, 0x100, 0x8000
STATX_BASIC_STATS = 0x7FF
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4

PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 4, 22, 24, 38
PR_SET_CHILD_SUBREAPER, PR_GET_TID_ADDRESS = 36, 40
SECCOMP_MODE_FILTER = 2

MACHINE = os.uname().machine
USER = 1000  # uid and gid of the code, as it sees them
WORK, TMP, SHM = "/work", "/tmp", "/dev/shm"
# A whole /proc in a directory that nobody can enter: see docker-compose.yml. It is at
# STASH in the zygote's root until a slot has its own.
WHOLE_PROC, STASH = "/run/kaa-proc", "/mnt"
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
MOST_TERMINALS = 64
SYSTEM_DIRS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# What libraries read in /etc; nothing about this machine's people or networks.
ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "timezone", "mime.types", "fonts",
       "ssl/certs", "ssl/openssl.cnf", "ca-certificates", "magic", "matplotlibrc", "services", "protocols",
       "nsswitch.conf", "os-release", "debian_version")
# What is left of /proc besides processes: what programs and libraries read. The rest is tables of
# the machine: its devices, interrupts, disks, keys, how its kernel was built and started.
KEPT_PROC = {"cpuinfo", "filesystems", "loadavg", "meminfo", "mounts", "net", "self", "stat", "sys", "thread-self", "uptime", "version",
             "vmstat"}
# Of its settings, what is no setting: what all use together, and where the machine's own programs are.
HIDDEN_SYS = ("fs/aio-nr", "fs/dentry-state", "fs/file-nr", "fs/inode-nr", "fs/inode-state", "kernel/core_pattern", "kernel/pty/nr",
              "kernel/random/entropy_avail")
BOOT_ID = "/proc/sys/kernel/random/boot_id"
OWN_BOOT_ID = "/etc/boot_id"
EMPTY = b"/sys"  # a directory
LAST_PID = "/proc/sys/kernel/ns_last_pid"
ETC_OWN = {
    "passwd": "root:x:0:0:root:/:/usr/sbin/nologin\nuser:x:1000:1000:user:/work:/bin/sh\n"
              "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    "group": "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "hostname": "sandbox\n",
    "resolv.conf": "",
}

libc = ctypes.CDLL(None, use_errno=True)
_mount, _umount2, _prctl, _sethostname = libc.mount, libc.umount2, libc.prctl, libc.sethostname
_mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_syscall = libc.syscall
_syscall.restype = ctypes.c_long


class LayerError(Exception):
    """A layer of the sandbox does not hold here."""

    def __init__(self, layer, what, error):
        Exception.__init__(self, "%s: %s: %s" % (layer, what, error))
        self.layer, self.what, self.error = layer, what, str(error)


def failure(error):
    """What the runner is told of an error."""
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


def no_new_privs():
    check(_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs", "prctl")


def become_subreaper():
    check(_prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "process supervision", "prctl")


def hide_memory():
    """Keep even processes of the same user from reading this one's memory."""
    check(_prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "process supervision", "prctl")


def pidfd_open(pid):
    fd = _syscall(number("pidfd_open"), pid, 0)
    return check(fd, "process supervision", "pidfd_open")


class Fork:
    """A fork that costs a tenth of os.fork, into new namespaces: steps of a program.

    os.fork has the C library and every module that registered for it write to many
    pages, to give locks new states that other threads may have held. There are no
    other threads in a zygote. What is left is done here: the new process's thread id
    goes where the C library keeps it, and its robust locks are registered anew.
    """

    def __init__(self):
        address = ctypes.c_void_p()
        # Kernels may be built without this; what then sees a stale id are messages of
        # the C library's own checks of locks.
        known = _prctl(PR_GET_TID_ADDRESS, ctypes.addressof(address), 0, 0, 0) == 0
        self.tid = address.value if known else 0
        self.flags = CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID if known else 0
        head, size = ctypes.c_void_p(), ctypes.c_size_t()
        check(_syscall(number("get_robust_list"), 0, ctypes.byref(head), ctypes.byref(size)), "process supervision",
              "get_robust_list")
        self.robust = head.value or 0, size.value

    def add_to(self, program, namespaces, parent=None):
        """Steps of which those that follow are the new process's; the other one goes on at
        the label parent."""
        SIGCHLD = 17
        # The order of the last two arguments depends on the architecture.
        tid = (self.tid, 0) if MACHINE == "x86_64" else (0, self.tid)
        layer = "namespaces" if namespaces else "process supervision"
        program.add(layer, "clone", namespaces | self.flags | SIGCHLD, 0, 0, *tid, expect=FORK, otherwise=parent)
        program.add("process supervision", "set_robust_list", *self.robust)


def fork_slot(program):
    """Fork with a program of nothing else; returns as os.fork does."""
    pid = program.run()
    if pid < 0:
        raise LayerError(*program.failure(pid))
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
            bind(path, where + path)
        for name in ETC:
            if os.path.exists("/etc/" + name):
                bind("/etc/" + name, where + "/etc/" + name)
        for path, text in [("/etc/" + name, text) for name, text in ETC_OWN.items()] + [(OWN_BOOT_ID, read_uuid())]:
            with open(where + path, "w") as file:
                file.write(text)
        for name in DEVICES:
            bind("/dev/" + name, where + "/dev/" + name, devices=True)
        for name, target in (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
                             ("stderr", "/proc/self/fd/2")):
            os.symlink(target, where + "/dev/" + name)
        os.mkdir(where + "/dev/pts")
        os.symlink("pts/ptmx", where + "/dev/ptmx")
        # A fresh /proc may be mounted only where a whole one is; each slot's own comes on
        # top of this one, of which container engines mask parts.
        mount(b"/proc", os.fsencode(where + "/proc"), None, MS_BIND | MS_REC)
        if os.path.isdir(WHOLE_PROC):
            mount(os.fsencode(WHOLE_PROC), os.fsencode(where + STASH), None, MS_BIND | MS_REC)
        os.chdir(where)
        check(_syscall(number("pivot_root"), b".", b"."), layer, "pivot_root")
        check(_umount2(b".", MNT_DETACH), layer, "umount the old root")
        os.chdir("/")
        set_attributes("/", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, recursive=False)
        check(_sethostname(b"sandbox", 7), "uts namespace", "sethostname")
        check(libc.setdomainname(b"(none)", 6), "uts namespace", "setdomainname")
    except OSError as error:
        raise LayerError(layer, "build the root", error)
    return hidden


def open_scratch(hidden):
    """Let what is preloaded write where a worker can write: some libraries insist on
    it, or leave something out for good if they cannot."""
    mount(b"tmpfs", b"/work", b"tmpfs", MS_NOSUID | MS_NODEV, b"size=256m,mode=755")
    mount(b"tmpfs", b"/tmp", b"tmpfs", MS_NOSUID | MS_NODEV, b"size=256m,mode=1777")
    mount(b"/tmp", b"/dev/shm", None, MS_BIND)
    for path, stash in hidden:  # parts of the interpreter that these have covered
        os.makedirs(path, 0o755, exist_ok=True)
        mount(os.fsencode(stash), os.fsencode(path), None, MS_BIND | MS_REC)


def close_scratch(hidden):
    """Return the directories that are there by now: libraries remember them, so each
    worker gets them afresh."""
    ours = [path for path, _ in hidden]
    made = []
    for top in (WORK, TMP):
        for where, names, _ in os.walk(top):
            names[:] = [name for name in names if os.path.join(where, name) not in ours]
            made += [os.path.join(where, name) for name in names
                     if not any(path.startswith(os.path.join(where, name, "")) for path in ours)]
    for path in (b"/dev/shm", b"/tmp", b"/work"):
        check(_umount2(path, MNT_DETACH), "mount namespace", "umount " + os.fsdecode(path))
    return made


def interpreter_dirs():
    """Where this interpreter and its libraries are."""
    found = {sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.path.realpath(sys.executable))}
    found.update(path for path in sys.path if path)
    paths = sorted(os.path.abspath(path) for path in found if os.path.isdir(path) and path != "/")
    # Without what is inside another.
    return [path for path in paths if not covered(path, [other for other in paths if other != path])]


def read_uuid():
    with open("/proc/sys/kernel/random/uuid") as file:
        return file.read()


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
    # What is written to a device is no change of its file system; its mode and times are.
    attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | (0 if devices else MOUNT_ATTR_NODEV)
    set_attributes(target, attributes, recursive=True)


def set_attributes(path, attributes, recursive):
    """Unlike a remount it only adds, so flags that the system locked stay."""
    data = struct.pack("QQQQ", attributes, 0, 0, 0)
    result = _syscall(number("mount_setattr"), AT_FDCWD, os.fsencode(path), AT_RECURSIVE if recursive else 0, data, len(data))
    check(result, "mount namespace", "make %s read-only" % path)


# --- a slot's namespaces ---------------------------------------------------------


def open_slot():
    """Set up the namespaces that one worker after the other will live in. The process
    is the first in them: what a worker leaves behind becomes its child. For the network
    see network.py."""
    # Whom a worker cannot trace it does not see: of this process, the kernel would tell what all
    # workers before have used together.
    mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, b"hidepid=4", "proc")
    # Terminals end with their processes, too: no worker finds one of another. The machine has
    # some 3000 for all sandboxes together. Where the runner is an ordinary user these files are
    # the code's, who could change their modes for the next one.
    mount_terminals()
    hide_tables()
    if os.path.ismount(STASH):
        check(_umount2(os.fsencode(STASH), MNT_DETACH), "proc", "umount the whole one")


def hide_tables():
    """Leave of the files that are of no process what KEPT_PROC says: the others are empty."""
    hidden = ["/proc/" + name for name in os.listdir("/proc") if not name.isdigit() and name not in KEPT_PROC]
    # The others answer EACCES, as ever.
    hidden = [path for path in hidden if os.stat(path).st_mode & 0o004]
    for path in hidden + ["/proc/sys/" + name for name in HIDDEN_SYS]:
        if os.path.isdir(path):
            mount(EMPTY, os.fsencode(path), None, MS_BIND, None, "proc")
        elif os.path.exists(path):
            mount(b"/dev/null", os.fsencode(path), None, MS_BIND, None, "proc")
    if os.path.exists(BOOT_ID):
        mount(os.fsencode(OWN_BOOT_ID), os.fsencode(BOOT_ID), None, MS_BIND, None, "proc")


def mount_terminals():
    flags = MS_NOSUID | MS_NOEXEC
    mount(b"devpts", b"/dev/pts", b"devpts", flags, b"ptmxmode=666,mode=620,max=%d" % MOST_TERMINALS)
    mount(None, b"/dev/pts", None, MS_REMOUNT | MS_BIND | MS_RDONLY | flags)


def enter_cgroup_namespace():
    """Take the control group that this process is in for the root of all: it has been put there
    by now, and the names above are the runner's."""
    check(libc.unshare(CLONE_NEWCGROUP), "cgroup namespace", "unshare")


class Terminals:
    """Tells whether a worker has used terminals, by the times of the file that makes them."""

    def __init__(self, native):
        self.seen, self.unused = [ctypes.create_string_buffer(STATX) for _ in range(2)]
        self.look = Program(native)
        self.add_look(self.look)
        self.look.build()
        self.remember()

    def remember(self):
        self.look.run()  # whatever it says
        ctypes.memmove(self.unused, self.seen, STATX)

    def add_look(self, program, used=None):
        """Steps that go on at the label, or stop, if they were used."""
        program.add("", "statx", AT_FDCWD, b"/dev/pts/ptmx", AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, self.seen, otherwise=used)
        for first, size in ((64, 16), (96, 32)):  # the times of the last look, change of its own, and change of its contents
            program.same(ctypes.addressof(self.seen) + first, ctypes.addressof(self.unused) + first, size, used)

    def renew(self):
        """Make them as new, if they were used. Nobody has one."""
        if self.look.run() != 0:
            check(_umount2(b"/dev/pts", MNT_DETACH), "mount namespace", "umount the terminals")
            mount_terminals()
            self.remember()


def open_last_pid():
    """Open what says where numbers of processes go on, to be written to by the first process of
    their namespace; None where the kernel has no such file."""
    try:
        return os.open(LAST_PID, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return None


# --- a worker's files ----------------------------------------------------------------


# That a directory was listed does not show, also not to the next worker.
SCRATCH = MS_NOSUID | MS_NODEV | MS_NODIRATIME
STATX, STATX_SIZE = 256, 40  # bytes of a struct statx; where in it the size is


class Empty:
    """Tells whether the working directory is as large as when it was new, without Python."""

    def __init__(self, native):
        self.size = ctypes.c_int64(-1)  # then; the slot knows it
        seen = ctypes.create_string_buffer(STATX)
        program = Program(native)
        program.add("", "statx", AT_FDCWD, os.fsencode(WORK), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, seen)
        program.same(ctypes.addressof(seen) + STATX_SIZE, self.size, 8)
        program.build()
        self.look = program.run


class Files:
    """The file systems that a slot's workers can write to: empty for each.

    Making and destroying them takes the kernel longer than all else that a worker
    needs, and most workers write nothing. So they are kept for the next one if nothing
    in them was touched: of a directory, every change shows in the time of its last
    change, which nobody can set, and in what else is compared."""

    def __init__(self, native, disk_bytes, owner, hidden, made):
        self.disk_bytes, self.owner, self.hidden, self.made = disk_bytes, owner, hidden, made
        self.work, self.tmp = self.options(disk_bytes, b"700"), self.options(disk_bytes, b"1777")
        self.dirs = [WORK, TMP] + ways(hidden) + made
        self.seen, self.untouched = [ctypes.create_string_buffer(len(self.dirs) * STATX) for _ in range(2)]
        self.resized = False
        self.mount()
        # The names of what a security module has put there.
        self.attributes = [sum(len(os.fsencode(name)) + 1 for name in os.listxattr(path)) for path in self.dirs]
        self.look = Program(native)
        self.add_look(self.look)
        self.look.build()
        self.remember()

    def mount(self):
        mount(b"tmpfs", b"/work", b"tmpfs", SCRATCH, self.work)
        mount(b"tmpfs", b"/tmp", b"tmpfs", SCRATCH, self.tmp)
        mount(b"/tmp", b"/dev/shm", None, MS_BIND)
        for path, stash in self.hidden:  # parts of the interpreter that these have covered
            os.makedirs(path, 0o755, exist_ok=True)
            mount(os.fsencode(stash), os.fsencode(path), None, MS_BIND | MS_REC)
        for path in self.made:
            os.mkdir(path, 0o700)
            os.chown(path, self.owner, self.owner)

    def remember(self):
        self.look.run()  # whatever it says
        ctypes.memmove(self.untouched, self.seen, len(self.seen))

    def options(self, disk_bytes, mode):
        inodes = max(1024, min(disk_bytes // 4096, 65536))
        return b"size=%d,nr_inodes=%d,mode=%s,uid=%d,gid=%d" % (disk_bytes, inodes, mode, self.owner, self.owner)

    def mount_at(self, path, disk_bytes):
        """Mount another work directory, for a copy of the worker. It goes with the rest."""
        mount(b"tmpfs", path, b"tmpfs", SCRATCH, self.options(disk_bytes, b"700"))

    def add_look(self, program, touched=None):
        """Steps that look at the directories and go on at the label, or stop, if they are
        not as they were when they were new."""
        for i, path in enumerate(self.dirs):
            program.add("", "statx", AT_FDCWD, os.fsencode(path), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS,
                        ctypes.addressof(self.seen) + i * STATX, otherwise=touched)
        for path, size in zip(self.dirs, self.attributes):
            program.add("", "listxattr", os.fsencode(path), None, 0, expect=size, otherwise=touched)
        for i in range(len(self.dirs)):
            for first, size in ((16, 48), (96, 16)):  # links, owners, mode, size; the time of the last change
                at = i * STATX + first
                program.same(ctypes.addressof(self.seen) + at, ctypes.addressof(self.untouched) + at, size, touched)

    def size_of_work(self):
        return struct.unpack_from("q", self.untouched, STATX_SIZE)[0]  # it is the first

    def touched(self):
        """Whether anybody has used them, or changed their size."""
        return self.resized or self.look.run() != 0

    def renew(self):
        """Make them empty again. Nobody uses them."""
        self.resized = False
        # What is mounted below goes with them: by its path it might not be found any more.
        for path in (b"/dev/shm", b"/tmp", b"/work"):
            check(_umount2(path, MNT_DETACH), "mount namespace", "umount " + os.fsdecode(path))
        self.mount()
        self.remember()

    def resize(self, options):
        """Change their size limit for the current worker. The address of mount's options comes from
        outside Python, which shall not know them: see slot.py."""
        self.resized = True
        for path in (b"/work", b"/tmp"):
            mount(None, path, None, MS_REMOUNT | SCRATCH, ctypes.c_char_p(options))


def ways(hidden):
    """The directories that lead to parts of the interpreter within /tmp and /work. They
    are the code's, too, if the runner is an ordinary user."""
    found = set()
    for path, _ in hidden:
        path = os.path.dirname(path)
        while covered(path, (TMP, WORK)) and path not in (TMP, WORK):
            found.add(path)
            path = os.path.dirname(path)
    return sorted(found)


# --- a worker's confinement ----------------------------------------------------------


class Filter:
    """A seccomp program, as the runner assembled it. A process's filters add up."""

    class _Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    def __init__(self, code):
        self.code = ctypes.create_string_buffer(code, len(code))
        self.program = self._Program(len(code) // 8, ctypes.cast(self.code, ctypes.c_void_p))

    def install(self):
        check(_prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(self.program), 0, 0), "seccomp", "prctl")


class Landlock:
    """Which files the worker may read and write, in the words of Landlock.

    READ and ALL are rights on file systems up to the version of this kernel. A
    right that a kernel does not know cannot be withheld there; the first version
    knows all kinds of writing but truncation."""

    EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
    TRUNCATE, REFER, IOCTL_DEV = 1 << 14, 1 << 13, 1 << 15

    def __init__(self):
        version = _syscall(number("landlock_create_ruleset"), None, 0, 1)
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
        # No TCP where there is no network namespace.
        self.attributes = {True: struct.pack("QQQ", self.all, 0, scopes),
                           False: struct.pack("QQQ", self.all, 3 if version >= 4 else 0, scopes)}

    def make_ruleset(self, strict, rules, at):
        """Make the ruleset that a process can restrict itself with, at a descriptor's number."""
        layer = "landlock"
        fd = check(_syscall(number("landlock_create_ruleset"), self.attributes[strict], self.sizes, 0), layer, "landlock_create_ruleset")
        try:
            for path, rights in rules:
                beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
                try:
                    rule = struct.pack("=Qi", rights, beneath)
                    check(_syscall(number("landlock_add_rule"), fd, 1, rule, 0), layer, "landlock_add_rule")
                finally:
                    os.close(beneath)
            os.dup2(fd, at, inheritable=False)
        except OSError as error:
            raise LayerError(layer, "make the ruleset", error)
        finally:
            os.close(fd)

    def add_to(self, program, strict, rules):
        """Steps that restrict the process. Descriptors 3 and 4 are free."""
        layer, AT_FDCWD, O_PATH, RULESET, PATH = "landlock", -100, 0o10000000, 3, 4
        program.add(layer, "landlock_create_ruleset", self.attributes[strict], self.sizes, 0, expect=RULESET)
        for path, rights in rules:
            program.add(layer, "openat", AT_FDCWD, path, O_PATH, 0, expect=PATH)
            program.add(layer, "landlock_add_rule", RULESET, 1, struct.pack("=Qi", rights, PATH), 0)
            program.add(layer, "close", PATH)
        program.add(layer, "landlock_restrict_self", RULESET, 0)
        program.add(layer, "close", RULESET)


# How many processes all sandboxes of a zygote may have together; 0 is no limit.
all_processes = 0


def user_namespace(owner):
    """Make the user namespace that the workers of a slot end up in, one after the other:
    with one ordinary user, and nothing that it owns. Returns a descriptor of it, which
    is above those that a worker closes and is not inherited by what it runs."""
    layer = "user namespace"
    made, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(done[1])
            if all_processes:
                # The limit when it is made is that of all user namespaces of its maker together: so
                # of all slots, whose own processes do not have it (Linux 5.14).
                hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
                most = all_processes if hard == resource.RLIM_INFINITY else min(hard, all_processes)
                resource.setrlimit(resource.RLIMIT_NPROC, (most, hard))
            check(libc.unshare(CLONE_NEWUSER), layer, "unshare")
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
            return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, Confinement.CONTROL + 1)
        finally:
            os.close(fd)
    except OSError as error:
        raise LayerError(layer, "map its user", error)
    finally:
        os.close(made[0])
        os.close(done[1])
        os.waitpid(pid, 0)


class Confinement:
    """The fork of a worker, and all that makes it one, as steps of a program.

    After them in the new process, descriptors 0 to 2 are the code's, the control
    socket is CONTROL, nothing else is open, and what follows may be foreign code but
    for the limits."""

    CONTROL = 1000  # out of the way of code that closes or lists low descriptors
    RULESET = 1002  # see user_namespace for the one in between

    def __init__(self, program, fork, strict, owner, landlock, rules, filter, descriptors, parent):
        """Steps of program, of which those that follow are the worker's; the slot goes on
        at the label parent. descriptors is where the numbers of the four will be, as ints.
        filter is what is refused on top of what the slot has given up itself."""
        self.program, self.landlock, self.rules = program, landlock, rules
        supervision, INT = "process supervision", 4
        targets = [Word(0, 1) for _ in range(4)]
        for i, target in enumerate(targets):
            program.copy(target, descriptors + i * INT, INT)
        fork.add_to(program, 0, parent)
        program.add(supervision, "setsid")
        for fd in range(3):
            targets[fd].step = program.add(supervision, "dup3", 0, fd, 0)
        F_DUPFD_CLOEXEC = 1030
        targets[3].step = program.add(supervision, "fcntl", 0, F_DUPFD_CLOEXEC, self.CONTROL, expect=self.CONTROL)
        program.add(supervision, "close_range", 3, self.CONTROL - 1, 0)
        # Where there is no mount namespace each worker has other directories.
        self.work, self.tmp = ctypes.create_string_buffer(4096), ctypes.create_string_buffer(4096)
        self.work.value, self.tmp.value = os.fsencode(WORK), os.fsencode(TMP)
        program.add("mount namespace", "chdir", self.work)
        SIG_SETMASK = 2
        program.add(supervision, "rt_sigprocmask", SIG_SETMASK, bytes(8), 0, 8)
        program.add(supervision, "prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)  # else /proc/self is not ours
        # When memory runs out the kernel should end the code, not its supervisor.
        program.write_file("memory limit", b"/proc/self/oom_score_adj", b"1000", 3)
        if strict:
            self.add_user_namespace(owner)
        elif owner != 0:
            self.add_owner(owner)
        if landlock is not None:
            if strict:
                self.open_ruleset()
                program.add("landlock", "landlock_restrict_self", self.RULESET, 0)
                program.add("landlock", "close", self.RULESET)
            else:
                landlock.add_to(program, strict, rules + [(self.work, landlock.all), (self.tmp, landlock.all)])
            self.add_capabilities()
        if filter is not None:
            program.add("seccomp", "prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter.program, 0, 0)

    def add_owner(self, owner):
        add, layer = self.program.add, "user"
        add(layer, "setgroups", 0, None)
        add(layer, "setresgid", owner, owner, owner)
        add(layer, "setresuid", owner, owner, owner)
        add(layer, "prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)

    def add_user_namespace(self, owner):
        add, layer = self.program.add, "user namespace"
        namespace = user_namespace(owner)
        if owner != 0:
            add(layer, "setgroups", 0, None)  # there it is not allowed
        add(layer, "setns", namespace, CLONE_NEWUSER)
        add(layer, "close", namespace)
        if owner != 0:
            add(layer, "setresgid", USER, USER, USER)
            add(layer, "setresuid", USER, USER, USER)
        add(layer, "prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)

    def add_capabilities(self):
        layer = "capabilities"
        with open("/proc/sys/kernel/cap_last_cap") as file:
            last = int(file.read())
        for capability in range(last + 1):  # an ordinary user has none to drop
            self.program.add(layer, "prctl", PR_CAPBSET_DROP, capability, 0, 0, 0, expect=MAY_FAIL)
        self.program.add(layer, "capset", CAP_HEADER, bytes(24))

    def open_ruleset(self):
        """Make what is the same for all workers once: it is of the file systems that are
        mounted now."""
        self.landlock.make_ruleset(True, self.rules, self.RULESET)

    def set_dirs(self, address):
        """Take over the two paths that are there, each with a zero at its end, past Python: see slot.py."""
        for path in (self.work, self.tmp):
            libc.strcpy(path, ctypes.c_void_p(address))
            address += libc.strlen(path) + 1


CAP_HEADER = struct.pack("Ii", 0x20080522, 0)


LIMITS = {
    "processes": resource.RLIMIT_NPROC,
    "openFiles": resource.RLIMIT_NOFILE,
    "fileBytes": resource.RLIMIT_FSIZE,
    "cpuSeconds": resource.RLIMIT_CPU,
    "core": resource.RLIMIT_CORE,  # is 0 for good, so rehearsals may set it
}


MANY_FILES = 1 << 16  # descriptors


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
    """The limits of the zygote and all that comes of it; some may be raised to here."""
    try:
        # This limit of a sender also bounds how many descriptors its user may have under
        # way in messages. Workers have less, so they cannot use up what zygote and slots need.
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = MANY_FILES if hard == resource.RLIM_INFINITY else hard
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_MSGQUEUE, (0, 0))
    except (OSError, ValueError) as error:
        raise LayerError("rlimits", "set", error)


MOST_SIGNALS = 1024  # that wait to be delivered, and timers


def limit_signals():
    """A slot's limit, and its workers'. Not the zygote's: what it is when a user namespace is
    made is the limit of all user namespaces of its maker together, so of all slots."""
    _, hard = resource.getrlimit(resource.RLIMIT_SIGPENDING)
    most = MOST_SIGNALS if hard == resource.RLIM_INFINITY else min(hard, MOST_SIGNALS)
    try:
        resource.setrlimit(resource.RLIMIT_SIGPENDING, (most, most))
    except (OSError, ValueError) as error:
        raise LayerError("rlimits", "set signals", error)
