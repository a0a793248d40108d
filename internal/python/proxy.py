"""The socket at which the runner serves the proxy of a worker.

The slot makes it in its network, of which it is the owner, and passes it to the runner. No process in the sandbox keeps it.
Most workers have no network, so the slot loads this script only for those that have.

Standard library only, Python 3.8 and later, Linux.
"""

import _socket as socket  # see channel.py

ADDRESS = ("127.0.0.1", 3128)  # internal/interpreter/egress.go has the same
WAITING = 64  # connections that the runner has not taken yet


def listen():
    """Return the descriptor of the socket, which the caller closes."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.bind(ADDRESS)
        listener.listen(WAITING)
        return listener.detach()
    finally:
        listener.close()
