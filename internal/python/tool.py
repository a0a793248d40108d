"""Runs one program of the operator over data that is not trusted: the installer of packages.

The runner starts this script with Python's -I, and writes to standard input:

    {"level": level of the sandbox, "root": directory for the root, "binds": [[source, target, writable], ...],
     "readable": [path, ...], "dir": the directory that it may write to, "argv": [...], "env": {...},
     "limits": {...}: see limits.py, "filters": [base64, ...], "network": whether descriptor 3 is a socket for the listener}

The process has namespaces of its own where the level asks for them. Its network is a loopback then. With "network" the script
listens there and passes the listener to the runner, which serves the way to the index. It gives up everything else before the
program begins. "readable" and "dir" are paths as the program sees them.

Standard library only, Python 3.8 and later, Linux.
"""

import json
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # Python's -I leaves it out

import binascii

import confinement
import kernel
import limits
import network
import program
import proxy
import root
from landlock import LAYER, Landlock
from seccomp import Filter

STRICT, NONE = "strict", "none"
LINK, RULESET = 3, 100  # descriptors


def main():
    spec = json.loads(sys.stdin.buffer.read())
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    try:
        kernel.no_new_privs()
        if spec["network"]:
            pass_listener()
        if spec["level"] == STRICT:
            root.build(spec["root"], spec["binds"])
            kernel.mount(b"proc", b"/proc", b"proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC, b"hidepid=4", "proc")
        os.chdir(spec["dir"])
        limits.set_limits(dict(spec["limits"], core=0))
        if spec["level"] != NONE:
            confine(spec)
    except Exception as error:
        sys.stderr.write("tool: %s\n" % error)
        os._exit(125)
    os.execve(spec["argv"][0], spec["argv"], spec["env"])


def pass_listener():
    """Set up the loopback, and pass a listener on it to the runner."""
    network.set_up()
    listener = proxy.listen()
    with socket.socket(fileno=LINK) as link:
        link.sendmsg([b'{"type": "ok"}'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", listener))])
    os.close(listener)


def confine(spec):
    """Give up the rest: files, capabilities, system calls."""
    lock = Landlock()
    if spec["level"] == STRICT:
        rules = [("/", lock.read), ("/dev", lock.write_file | lock.all & lock.IOCTL_DEV)]
    else:
        rules = root.readable(lock) + [(path, lock.read if os.path.isdir(path) else lock.EXECUTE | lock.READ_FILE)
                                       for path in spec["readable"] if os.path.exists(path)]
    # True: connections are allowed.
    lock.make_ruleset(True, rules + [(spec["dir"], lock.all)], RULESET)
    kernel.check(kernel.syscall(program.number("landlock_restrict_self"), RULESET, 0), LAYER, "landlock_restrict_self")
    os.close(RULESET)
    steps = program.Program()
    confinement.add_capabilities(steps)
    steps.build()
    code = steps.run()
    if code < 0:
        raise kernel.LayerError(*steps.failure(code))
    for text in spec["filters"]:
        Filter(binascii.a2b_base64(text)).install()


if __name__ == "__main__":
    main()
