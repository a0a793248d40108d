"""The packet sockets between the runner and the processes outside the reach of the code.

Standard library only, Python 3.8 and later, Linux.
"""

import _socket as socket  # the other one would be in the memory of all workers
import array
import errno
import json
import os
import select

MAX_MESSAGE = 64 << 10
# Shortages that end by themselves. One of them is the limit of a user's descriptors in messages that
# were not received. Executed code can reach it for the runner's user, if that is not root.
SHORT = (errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM)


class Channel:
    """A packet socket to the runner."""

    def __init__(self, fd):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fd)

    def fileno(self):
        return self.socket.fileno()

    def receive(self, most=0):
        """The next packet with its descriptors; an empty one when the runner is gone."""
        data, ancillary, _, _ = self.socket.recvmsg(MAX_MESSAGE, socket.CMSG_LEN(most * 4) if most else 0,
                                                    socket.MSG_CMSG_CLOEXEC)
        fds = array.array("i")
        for level, kind, body in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(body[:len(body) // 4 * 4])
        return data, fds

    def send(self, message, fd=None):
        rights = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        while True:
            try:
                self.socket.sendmsg([json.dumps(message).encode()], rights)
                return
            except OSError as error:
                if error.errno not in SHORT:
                    os._exit(0)  # the runner is gone
            select.select([], [], [], 0.01)

    def close(self):
        self.socket.close()
