"""The socket at which the runner serves the proxy of a worker.

The slot makes it in its network, of which it is the owner, and passes it to the runner. No process in the sandbox keeps it.
Most workers have no network, so the slot loads this script only for those that have.

Standard library only, Python 3.8 and later, Linux.
"""

import _socket as socket  # see channel.py
import os

from kernel import MS_BIND, MS_NODEV, MS_NOSUID, MS_RDONLY, MS_REMOUNT, mount
from root import TRUST

ADDRESS = ("127.0.0.1", 3128)  # internal/interpreter/egress.go has the same
WAITING = 64  # connections that the runner has not taken yet
# Files with the certificates that clients trust anyway.
USUAL = ("/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem", "/usr/lib/ssl/cert.pem")
FLAGS = MS_NOSUID | MS_NODEV


def listen():
    """Return the descriptor of the socket, which the caller closes."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.bind(ADDRESS)
        listener.listen(WAITING)
        return listener.detach()
    finally:
        listener.close()


def trust(certificate):
    """Write the file of certificates that clients trust: the usual ones, and that of the proxy. The root of the sandbox is common to all
    slots, so the file is in a small file system of this slot's own, which the code cannot change."""
    where = os.fsencode(os.path.dirname(TRUST))
    mount(b"tmpfs", where, b"tmpfs", FLAGS, b"size=4m,nr_inodes=16,mode=755")
    with open(TRUST, "wb") as file:
        for path in USUAL:
            if os.path.exists(path):
                with open(path, "rb") as usual:
                    file.write(usual.read().rstrip() + b"\n")
                break
        file.write(certificate)
    os.chmod(TRUST, 0o444)
    mount(None, where, None, MS_REMOUNT | MS_BIND | MS_RDONLY | FLAGS)
