"""A slot's network: a loopback and nothing else.

Sockets end with their processes, but not what is left of connections: those that wait to
be forgotten and hold a port for as long, data that nobody has fetched, counters. None of
it can be cleared, so a slot whose worker has used its network makes another one before
there is another worker. Few workers do, and making one takes the kernel as long as a
small program runs; so after each of them its slot looks at what shows it.

Standard library only, Python 3.8 and later, Linux.
"""

import _socket as socket  # see zygote.py
import ctypes
import fcntl
import os
import struct

import seal

LAYER = "network namespace"
# What shows that a network was used, in the namespace of who opens it: packets. What outlives
# its socket without any, labels of flows, the filter refuses.
TRACE = "/proc/self/net/dev"
MOST = 4096  # bytes of it
SETTINGS = "/proc/sys/net/ipv4/"  # of the network of who looks


class Network:
    """The namespace that this process, the first of a slot, is in."""

    def __init__(self, native):
        """It is new."""
        try:
            set_up()
            self.fd = open_trace()
            self.unused = os.pread(self.fd, MOST, 0)
        except OSError as error:
            raise seal.LayerError(LAYER, "set up the loopback", error)
        self.seen = ctypes.create_string_buffer(MOST)
        self.look = seal.Program(native)
        self.add_look(self.look)
        self.look.build()

    def used(self):
        return self.look.run() != 0

    def add_look(self, program, used=None):
        """Steps that go on at the label, or stop, if it was used."""
        size = len(self.unused)
        program.add(LAYER, "pread64", self.fd, self.seen, MOST, 0, expect=size, otherwise=used)
        program.same(self.seen, self.unused, size, used)

    def renew(self):
        """Make another one for this process and what it will fork. Nobody else is in the old
        one, which goes when its file is closed and the last of its connections has ended."""
        try:
            # Data that nobody takes is offered for 100 s after its processes have ended, and
            # is in the kernel's memory as long. Once more will do: nobody is left who could.
            # As long as somebody is, it would cut off who reads slowly.
            put("tcp_orphan_retries", "1")
            put("tcp_fin_timeout", "1")
            seal.check(seal.libc.unshare(seal.CLONE_NEWNET), LAYER, "unshare")
            set_up()
            fd = open_trace()
            os.dup2(fd, self.fd, inheritable=False)  # the program knows the number
            os.close(fd)
            if self.used():
                raise OSError("it is not as the first one was")
        except OSError as error:
            raise seal.LayerError(LAYER, "make another one", error)


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
