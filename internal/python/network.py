"""A slot's network: a loopback and nothing else.

Sockets end with their processes, but connections leave traces: ones that hold a port until
the kernel forgets them, data that was not fetched, counters. They cannot be cleared. So a
slot whose worker has used its network makes another one before the next worker. Few workers
use it, and making one takes the kernel as long as a small program runs. So the slot checks
after each worker whether the network was used.

Standard library only, Python 3.8 and later, Linux.
"""

import _socket as socket  # see channel.py
import ctypes
import fcntl
import os
import struct

from kernel import CLONE_NEWNET, LayerError, unshare
from program import Program

LAYER = "network namespace"
# The counts of packets show that a network was used. The file belongs to the namespace of the
# process that opens it. Labels of flows outlive their sockets without packets; the filter
# refuses them.
TRACE = "/proc/self/net/dev"
MOST = 4096  # bytes read of it
SETTINGS = "/proc/sys/net/ipv4/"  # belongs to the network of the process that opens it


class Network:
    """The network namespace of this process, which is the first of a slot."""

    def __init__(self, native):
        """Set up the namespace, which must be new."""
        try:
            set_up()
            self.fd = open_trace()
            self.unused = os.pread(self.fd, MOST, 0)
        except OSError as error:
            raise LayerError(LAYER, "set up the loopback", error)
        self.seen = ctypes.create_string_buffer(MOST)
        self.look = Program(native)
        self.add_look(self.look)
        self.look.build()

    def used(self):
        return self.look.run() != 0

    def add_look(self, program, used=None):
        """Add steps that continue at the label used, or stop, if the network was used."""
        size = len(self.unused)
        program.add(LAYER, "pread64", self.fd, self.seen, MOST, 0, expect=size, otherwise=used)
        program.same(self.seen, self.unused, size, used)

    def renew(self):
        """Make another namespace for this process and its later forks. No other process is in
        the old one. It ends when its file is closed and its last connection has ended."""
        try:
            # The kernel offers unread data for 100 s after its processes have ended, and
            # keeps it in memory as long. One more try is enough, because no process is left
            # to read it. Set earlier, this would cut off processes that read slowly.
            put("tcp_orphan_retries", "1")
            put("tcp_fin_timeout", "1")
            unshare(CLONE_NEWNET, LAYER)
            set_up()
            fd = open_trace()
            os.dup2(fd, self.fd, inheritable=False)  # the program knows the number
            os.close(fd)
            if self.used():
                raise OSError("it is not as the first one was")
        except OSError as error:
            raise LayerError(LAYER, "make another one", error)


def open_trace():
    return os.open(TRACE, os.O_RDONLY | os.O_CLOEXEC)


def set_up():
    SIOCSIFFLAGS, IFF_UP = 0x8914, 1
    control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
    finally:
        control.close()
    put("tcp_max_tw_buckets", "0")  # closed connections are not remembered


def put(name, value):
    with open(SETTINGS + name, "w") as file:
        file.write(value)
