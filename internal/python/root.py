"""The root of a strict sandbox: a minimal read-only one, which the zygote makes once.

It has the system's programs and libraries and this interpreter, and empty places for the mounts
of each worker.

Standard library only, Python 3.8 and later, Linux.
"""

import os
import struct
import sys

from kernel import (
    AT_FDCWD,
    AT_RECURSIVE,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MS_BIND,
    MS_NODEV,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    LayerError,
    check,
    libc,
    mount,
    syscall,
    unmount,
)
from program import number

LAYER = "mount namespace"
WORK, TMP = "/work", "/tmp"
# The mounts that end with a worker's files, in the order in which they are unmounted.
SCRATCH = (b"/dev/shm", b"/tmp", b"/work")
# The container engine mounts a whole /proc in a directory that only root can enter: see
# docker-compose.yml. It is at STASH in the zygote's root until a slot has its own.
WHOLE_PROC, STASH = "/run/kaa-proc", "/mnt"
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
STANDARD = (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2"))
SYSTEM_DIRS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# Where a session may have its working directory, besides WORK: see places.py.
PATHS = ("/app", "/code", "/data", "/home", "/project", "/repo", "/srv", "/testbed", "/workspace")
PACKAGES = "/packages"  # the set of packages of a zygote that has one
TRUST = "/etc/kaa/trust.pem"  # the certificates that clients trust, where a proxy looks into TLS: see proxy.py
PLACES = PATHS + ("/proc", TMP, WORK, "/dev", "/dev/shm", "/etc", os.path.dirname(TRUST), "/sys", "/run", "/var", "/var/tmp", "/mnt")
# The files of /etc that libraries read. None names this machine's users or networks.
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
BOOT_ID = "/etc/boot_id"  # namespaces.py mounts it over that of the machine


def build(where, more=()):
    """Make the directory where the root of this process and of all its children, with more directories and files in it:
    each source, target and whether it may be written to. The process has mount and user namespaces of its own by now.
    Return the directories of the interpreter that the mounts of a worker hide, each with the place that it is also at."""
    try:
        mount(None, b"/", None, MS_REC | MS_PRIVATE)
        mount(b"tmpfs", os.fsencode(where), b"tmpfs", MS_NOSUID | MS_NODEV, b"size=4m,nr_inodes=8192,mode=755")
        for path in PLACES:
            os.makedirs(where + path, 0o755, exist_ok=True)
        hidden = bind_programs(where)
        make_etc(where)
        make_devices(where)
        for source, target, writable in more:
            bind(source, where + target, writable=writable)
        # The kernel allows a fresh /proc only where a whole one is mounted. Container engines
        # mask parts of this one. Each slot mounts its own over it.
        mount(b"/proc", os.fsencode(where + "/proc"), None, MS_BIND | MS_REC)
        if os.path.isdir(WHOLE_PROC):
            mount(os.fsencode(WHOLE_PROC), os.fsencode(where + STASH), None, MS_BIND | MS_REC)
        os.chdir(where)
        check(syscall(number("pivot_root"), b".", b"."), LAYER, "pivot_root")
        unmount(b".", name="the old root")
        os.chdir("/")
        set_attributes("/", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, recursive=False)
        check(libc.sethostname(b"sandbox", 7), "uts namespace", "sethostname")
        check(libc.setdomainname(b"(none)", 6), "uts namespace", "setdomainname")
    except OSError as error:
        raise LayerError(LAYER, "build the root", error)
    return hidden


def bind_programs(where):
    """Mount the system's programs and libraries, and the interpreter's."""
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
    return hidden


def make_etc(where):
    for name in ETC:
        if os.path.exists("/etc/" + name):
            bind("/etc/" + name, where + "/etc/" + name)
    for path, text in [("/etc/" + name, text) for name, text in ETC_OWN.items()] + [(BOOT_ID, read_uuid())]:
        with open(where + path, "w") as file:
            file.write(text)


def make_devices(where):
    for name in DEVICES:
        bind("/dev/" + name, where + "/dev/" + name, devices=True)
    for name, target in STANDARD:
        os.symlink(target, where + "/dev/" + name)
    os.mkdir(where + "/dev/pts")
    os.symlink("pts/ptmx", where + "/dev/ptmx")


def open_scratch(hidden):
    """Let preloaded libraries write where a worker can write. Some libraries fail if they
    cannot, or disable a feature permanently."""
    mount(b"tmpfs", b"/work", b"tmpfs", MS_NOSUID | MS_NODEV, b"size=256m,mode=755")
    mount(b"tmpfs", b"/tmp", b"tmpfs", MS_NOSUID | MS_NODEV, b"size=256m,mode=1777")
    mount(b"/tmp", b"/dev/shm", None, MS_BIND)
    bind_hidden(hidden)


def bind_hidden(hidden):
    """Mount the directories of the interpreter that are hidden by the mounts of a worker."""
    for path, stash in hidden:
        os.makedirs(path, 0o755, exist_ok=True)
        mount(os.fsencode(stash), os.fsencode(path), None, MS_BIND | MS_REC)


def close_scratch(hidden):
    """Return the directories that are there by now. Libraries remember them, so each worker
    gets them, empty."""
    ours = [path for path, _ in hidden]
    made = []
    for top in (WORK, TMP):
        for where, names, _ in os.walk(top):
            names[:] = [name for name in names if os.path.join(where, name) not in ours]
            made += [os.path.join(where, name) for name in names
                     if not any(path.startswith(os.path.join(where, name, "")) for path in ours)]
    for path in SCRATCH:
        unmount(path)
    return made


def interpreter_dirs():
    """Return the directories of this interpreter and its libraries."""
    found = {sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.path.realpath(sys.executable))}
    found.update(path for path in sys.path if path)
    paths = sorted(os.path.abspath(path) for path in found if os.path.isdir(path) and path != "/")
    # Without those that are inside another.
    return [path for path in paths if not covered(path, [other for other in paths if other != path])]


def read_uuid():
    with open("/proc/sys/kernel/random/uuid") as file:
        return file.read()


def covered(path, dirs):
    return any(path == d or path.startswith(d.rstrip("/") + "/") for d in dirs)


def readable(lock):
    """Return the rules of Landlock for the files that code may read where it has no root of its own."""
    paths = [path for path in SYSTEM_DIRS if os.path.exists(path)] + interpreter_dirs()
    rules = [(path, lock.read) for path in paths]
    rules += [("/etc/" + name, lock.read if os.path.isdir("/etc/" + name) else lock.READ_FILE)
              for name in list(ETC) + ["passwd", "group", "hosts", "hostname"]]
    rules.append(("/proc", lock.read))
    rules += [("/dev/" + name, lock.READ_FILE | lock.write_file | lock.all & lock.IOCTL_DEV) for name in DEVICES]
    return [(path, rights) for path, rights in rules if os.path.exists(path)]


def bind(source, target, devices=False, writable=False):
    if os.path.isdir(source):
        os.makedirs(target, 0o755, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        if not os.path.lexists(target):
            open(target, "w").close()
    mount(os.fsencode(source), os.fsencode(target), None, MS_BIND | MS_REC)
    # Data written to a device does not change its file system. Its mode and times do.
    attributes = (0 if writable else MOUNT_ATTR_RDONLY) | MOUNT_ATTR_NOSUID | (0 if devices else MOUNT_ATTR_NODEV)
    set_attributes(target, attributes, recursive=True)


def set_attributes(path, attributes, recursive):
    """Add attributes to a mount. A remount would have to repeat the flags that the system locked."""
    data = struct.pack("QQQQ", attributes, 0, 0, 0)
    result = syscall(number("mount_setattr"), AT_FDCWD, os.fsencode(path), AT_RECURSIVE if recursive else 0, data, len(data))
    check(result, LAYER, "make %s read-only" % path)
