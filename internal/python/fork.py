"""Forks of a session: the work of its worker process when the session is to be forked.

The forks are children of the slot, as the worker is. Each has its own descriptors 0 to 2
and its own control socket, which it receives over the origin's. The rest of the process is
unchanged, random generators too. The system's fork would share files where they must not be
shared. So a fork copies the working directory, moves to the same place in it, and opens its
open files again, at the same offset.

The worker refuses a fork before it does anything if the fork would lack something of the
origin or share it: threads, child processes, sockets, pipes, shared memory mappings. The
error names them.

The code shares this process: see repl_worker.py. A fork is confined as the origin is, so it
can do nothing here that the origin could not.

Standard library only, Python 3.8 and later, Linux.
"""

import _socket
import fcntl
import resource
import struct
import threading

from fork_files import move
from fork_obstacles import Refused, refuse, standard
from held import os
from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

CLONE_PARENT = 0x8000
_fcntl, F_DUPFD_CLOEXEC = fcntl.fcntl, fcntl.F_DUPFD_CLOEXEC
_getrlimit, RLIMIT_NOFILE = resource.getrlimit, resource.RLIMIT_NOFILE
_Socket, SOL_SOCKET, SCM_RIGHTS, CMSG_LEN = _socket.socket, _socket.SOL_SOCKET, _socket.SCM_RIGHTS, _socket.CMSG_LEN
_unpack = struct.unpack
_main_thread = threading.main_thread()


class Forker:
    """The program that forks a session, which the zygote prepares: see fork_steps.py."""

    def prepare(self, program, fork):
        fork.add_to(program, CLONE_PARENT)
        program.add("process supervision", "setsid")
        program.build()
        self.run, self.failure = program.run, program.failure


forker = Forker()


def fork(session, command):
    """Fork this process once for each directory in the command. It returns in the origin and
    in each fork."""
    control, id = session.control, command["id"]
    try:
        refuse(control.fd, session.loop)
    except Refused as error:
        control.send(id=id, type="refused", error=str(error))
        return
    except BaseException as error:  # the code has changed something that the checks use
        control.send(id=id, type="refused", error="it cannot be looked through: %s: %s" % (type(error).__name__, error))
        return
    control.send(id=id, type="forking")
    origin, failed = os.getpid(), False
    for place in command["to"]:
        fds = receive(control.fd)
        if not failed:
            pid = forker.run()
            if pid == 0:
                become(session, id, fds, place)
                return
            if os.getpid() != origin:
                os._exit(70)
            failed = pid < 0
            if failed:
                control.send(id=id, type="refused", error="the kernel refuses another process: %s; perhaps there are "
                             "as many as the session may have" % (forker.failure(pid)[2],))
            else:
                control.send(id=id, type="forked", pid=pid)
        close_all(fds)


def close_all(fds):
    for fd in fds:
        os.close(fd)


def receive(fd):
    """Receive the descriptors of one fork."""
    connection = _Socket(fileno=os.dup(fd))
    try:
        _, ancillary, _, _ = connection.recvmsg(1, CMSG_LEN(16), 0x40000000)  # MSG_CMSG_CLOEXEC
    finally:
        connection.close()
    for level, kind, body in ancillary:
        if (level, kind) == (SOL_SOCKET, SCM_RIGHTS) and len(body) == 16:
            return _unpack("4i", body)
    return os._exit(70)  # the runner is gone


# --- in a fork


def become(session, id, fds, place):
    """Give this process, which is a fork, its own descriptors and files."""
    control, pipes = session.control, standard()
    try:
        take_control(control, fds[3])
        for fd in (0, 1, 2):
            os.dup2(fds[fd], fd, True)
        close_all(fds)
        session.marks.adopt()
        if control.receive() is None:  # the runner does not want it any more
            os._exit(0)
        try:
            _main_thread._set_native_id()  # type: ignore[attr-defined]
        except AttributeError:
            pass  # Python 3.8
        move(session, place, pipes)
        session.home = place
        session.stdin.adopt()
        os.write(control.fd, session.ready)
    except BaseException as error:
        try:
            control.send(id=id, type="refused", error="a fork cannot have its files: %s: %s" % (type(error).__name__, error))
        finally:
            os._exit(1)


def take_control(control, fd):
    """Give the fork its own control socket, at the origin's number. The limit of open files may be
    lower than that by now. Then the number is another one that code seldom uses."""
    os.close(control.fd)
    limit = _getrlimit(RLIMIT_NOFILE)[0]
    for number in (control.fd, limit - 1, limit // 2, 3):
        try:
            control.fd = _fcntl(fd, F_DUPFD_CLOEXEC, number)
            break
        except OSError:
            pass  # beyond the limit, or all above it are taken
    control.pid = os.getpid()
