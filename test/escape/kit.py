"""What the programs of the escape suite share. The test puts this file in front of
each of them, so it runs inside the sandbox like the rest, with nothing but the
standard library. escape_test.go describes the headers of the programs.

A program tries things that must be refused. Being refused is an OSError, or one of
the errors EPERM, EACCES and ENOSYS of a raw system call; whatever else an attempt
brings is an escape. Any other exception is a mistake of the program, and the test
fails: a program that breaks must not look like a sandbox that holds.

Every program is written so that it does no harm where the sandbox does fail.
"""

import array
import ctypes
import errno
import fcntl
import json
import mmap
import os
import re
import resource
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time

# What the test tells its attackers: where the things are that they must not reach.
HINTS = json.loads(os.environ.get("ESCAPE_HINTS", "{}"))
SECRET = re.compile(rb"kaa-secret-(?:runner|victim)-[0-9a-f]{32}")
REFUSED = (errno.EPERM, errno.EACCES, errno.ENOSYS)
LEFT = "kaa-left"  # begins the name of everything that must not be left behind
VERBOSE = "ESCAPE_VERBOSE" in os.environ
MACHINE = os.uname().machine
AT_FDCWD = -100
# When whatever is still there ends by itself, should nobody have ended it.
DEADLINE = time.monotonic() + 45

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

# name, number on x86_64, number on aarch64 (- where there is none)
_TABLE = """
acct 163 89
add_key 248 217
adjtimex 159 171
arch_prctl 158 -
bpf 321 280
cachestat 451 451
chroot 161 51
clock_adjtime 305 266
clock_settime 227 112
clone 56 220
clone3 435 435
delete_module 176 106
fadvise64 221 223
fanotify_init 300 262
fanotify_mark 301 263
fcntl 72 25
finit_module 313 273
fsconfig 431 431
fsmount 432 432
fsopen 430 430
fspick 433 433
futex_requeue 456 456
futex_wait 455 455
futex_waitv 449 449
futex_wake 454 454
get_mempolicy 236 236
getpid 39 172
getsockopt 55 209
getxattrat 464 464
init_module 175 105
inotify_add_watch 254 27
inotify_init 253 -
inotify_init1 294 26
io_cancel 210 3
io_destroy 207 1
io_getevents 208 4
io_pgetevents 333 292
io_setup 206 0
io_submit 209 2
io_uring_setup 425 425
ioctl 16 29
ioperm 173 -
iopl 172 -
ioprio_set 251 30
kcmp 312 272
kexec_file_load 320 294
kexec_load 246 104
keyctl 250 219
listmount 458 458
listxattrat 465 465
lsm_get_self_attr 459 459
lsm_list_modules 461 461
lsm_set_self_attr 460 460
madvise 28 233
map_shadow_stack 453 453
memfd_create 319 279
migrate_pages 256 238
mincore 27 232
mknod 133 -
mknodat 259 33
modify_ldt 154 -
mount 165 40
mount_setattr 442 442
move_mount 429 429
move_pages 279 239
mq_open 240 180
name_to_handle_at 303 264
open_by_handle_at 304 265
open_tree 428 428
open_tree_attr 467 467
openat2 437 437
perf_event_open 298 241
personality 135 92
pidfd_getfd 438 438
pidfd_open 434 434
pidfd_send_signal 424 424
pivot_root 155 41
preadv2 327 286
prlimit64 302 261
process_madvise 440 440
process_mrelease 448 448
process_vm_readv 310 270
process_vm_writev 311 271
ptrace 101 117
quotactl 179 60
quotactl_fd 443 443
reboot 169 142
removexattrat 466 466
request_key 249 218
rt_sigqueueinfo 129 138
rt_tgsigqueueinfo 297 240
sched_setattr 314 274
seccomp 317 277
sendmsg 46 211
setdomainname 171 162
sethostname 170 161
setns 308 268
setpriority 141 140
setsockopt 54 208
settimeofday 164 170
setxattrat 463 463
shmget 29 194
statmount 457 457
swapoff 168 225
swapon 167 224
sync 162 81
syncfs 306 267
sysfs 139 -
syslog 103 116
tee 276 77
tgkill 234 131
tkill 200 130
umount2 166 39
unshare 272 97
userfaultfd 323 282
ustat 136 -
vhangup 153 58
vmsplice 278 75
"""
SYSCALLS = {}
for _line in _TABLE.split("\n"):
    if _line:
        _name, _x86_64, _aarch64 = _line.split()
        _number = {"x86_64": _x86_64, "aarch64": _aarch64}[MACHINE]
        SYSCALLS[_name] = None if _number == "-" else int(_number)

CLONE_FLAGS = {
    "NEWTIME": 0x80, "NEWNS": 0x20000, "NEWCGROUP": 0x02000000, "NEWUTS": 0x04000000, "NEWIPC": 0x08000000,
    "NEWUSER": 0x10000000, "NEWPID": 0x20000000, "NEWNET": 0x40000000,
}

_escapes = []


def staying():
    """The condition of a loop without end."""
    return time.monotonic() < DEADLINE


def note(*words):
    if VERBOSE:
        print("  ", *words, file=sys.stderr, flush=True)


def escaped(what):
    """Something worked that must not."""
    _escapes.append(str(what))
    note("ESCAPED", what)


def finish():
    """Print the verdict; the last thing a program does."""
    sys.stdout.flush()
    if _escapes:
        text = "; ".join(dict.fromkeys(_escapes))
        print("ESCAPED", text.encode("ascii", "backslashreplace").decode().replace("\n", " ")[:2000], flush=True)
    else:
        print("HELD", flush=True)


def works(what, function, *args, **kwargs):
    """function must be refused; that it returns is an escape. Returns its result."""
    try:
        result = function(*args, **kwargs)
    except OSError as error:
        note("held", what, error)
        return None
    escaped(what)
    return result


def finds(what, function, *args, **kwargs):
    """function may return, but not anything that is true."""
    try:
        result = function(*args, **kwargs)
    except OSError as error:
        note("held", what, error)
        return None
    if result:
        escaped("%s: %.200r" % (what, result))
    return result


def raw(name, *args):
    """A raw system call: its result and its errno."""
    number = SYSCALLS[name] if isinstance(name, str) else name
    if number is None:
        return -1, errno.ENOSYS
    passed = [a if isinstance(a, (bytes, ctypes.Array)) else ctypes.c_long(0 if a is None else a) for a in args]
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *passed)
    return result, ctypes.get_errno() if result == -1 else 0


def arrives(name, *args, held=(), what=None, close=False):
    """A system call that must be refused as such: that the kernel looks at its
    arguments, and finds them wrong, means that the call got through."""
    result, code = raw(name, *args)
    what = what or str(name)
    if code in REFUSED or code in held:
        note("held", what, errno.errorcode[code])
        return False
    escaped("%s: %s" % (what, errno.errorcode.get(code, code) if code else "returned %d" % result))
    if close and result >= 0:
        os.close(result)
    return True


def in_child(function, *args, seconds=10):
    """Run function in a child, whose state may be spoilt, and take over its finds."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reader)
            del _escapes[:]
            function(*args)
            os.write(writer, json.dumps(_escapes)[:60000].encode())
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
        finally:
            os._exit(code)
    os.close(writer)
    data = b""
    deadline = time.monotonic() + seconds
    while True:
        ready = select.select([reader], [], [], max(0, deadline - time.monotonic()))[0]
        chunk = os.read(reader, 65536) if ready else b""
        if not chunk:
            break
        data += chunk
    os.close(reader)
    if not data:
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if data:
        _escapes.extend(json.loads(data))
    elif os.WIFEXITED(status):
        raise RuntimeError("%s broke" % getattr(function, "__name__", "a child"))
    return status


def output(*argv, seconds=10, **kwargs):
    """Run a program; return its exit code and its output, (None, b"") if it cannot."""
    kwargs.setdefault("stdin", subprocess.DEVNULL)
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, **kwargs)
    except (OSError, subprocess.TimeoutExpired) as error:
        note("held", argv, error)
        return None, b""
    note(argv, done.returncode, done.stdout[:300])
    return done.returncode, done.stdout


def read(path, most=1 << 20):
    with open(path, "rb", buffering=0) as file:
        data = b""
        while len(data) < most:
            chunk = file.read(min(1 << 16, most - len(data)))
            if not chunk:
                break
            data += chunk
        return data


def opens(path, flags=os.O_RDONLY, what=None):
    """Opening must be refused."""
    what = what or "open %s%s" % (path, "" if flags & 3 == 0 else " for writing")
    fd = works(what, os.open, path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if fd is not None:
        os.close(fd)


def status_of(pid):
    """The fields of /proc/PID/status."""
    with open("/proc/%s/status" % pid) as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def visible_pids():
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def is_ours(pid):
    """Is it this process or one that came of it?"""
    seen = 0
    while pid > 1 and seen < 100:
        if pid == os.getpid():
            return True
        try:
            pid = int(status_of(pid)["PPid"])
        except (OSError, KeyError):
            return False
        seen += 1
    return False


def strangers():
    """Processes that are none of our business: our parent, those whose numbers on the
    host we were told and, with a pid namespace of our own, all that can be seen.
    Without one, what else runs on the machine is not ours to attack."""
    pids = {os.getppid()} | {pid for pid in HINTS.get("pids", {}).values() if pid}
    if own_namespace("pid"):
        pids |= {1} | set(visible_pids())
    return sorted(pid for pid in pids if pid > 0 and not is_ours(pid))


def own_namespace(kind):
    """Do we have a namespace other than the test's?"""
    inode = HINTS.get("namespaces", {}).get(kind)
    return inode is not None and os.stat("/proc/self/ns/" + kind).st_ino != inode


def outside(name):
    """A path or name on the host that the test made to be attacked."""
    return HINTS.get("outside", {}).get(name) or "/nonexistent/kaa"


def victim(name):
    """The same, of the execution that runs beside this one."""
    return HINTS.get("victim", {}).get(name) or "/nonexistent/kaa"


def connects(what, family, address, kind=socket.SOCK_STREAM, send=b"PING\r\n", seconds=2):
    """A connection must be refused. A port at which nobody listens is one too."""
    try:
        with socket.socket(family, kind) as s:
            s.settimeout(seconds)
            s.connect(address)
            try:
                s.send(send)
                got = s.recv(200)
            except OSError as error:
                got = error
    except OSError as error:
        note("held", what, error)
        if isinstance(error, socket.timeout):
            escaped(what + ": packets left")  # refused means at once
        return
    escaped("%s: connected, got %.100r" % (what, got))


def create_and_remove(name):
    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    os.unlink(name)


def writable(path, what=None):
    """Nothing may be made in the directory. Whatever worked is taken back."""
    what = what or path
    name = os.path.join(path, "%s-%d" % (LEFT, os.getpid()))
    works("create a file in " + what, create_and_remove, name)
    works("make a directory in " + what, lambda: os.rmdir(os.mkdir(name) or name))
    works("make a link in " + what, lambda: os.unlink(os.symlink("x", name) or name))
    works("make a pipe in " + what, lambda: os.unlink(os.mkfifo(name) or name))


def reap_all():
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return

