"""Processes as the slot sees them: their descendants, their states and signals to them.

Standard library only, Python 3.8 and later, Linux.
"""

import ctypes
import os

from kernel import SUPERVISION, check, libc

SFD_CLOEXEC, SFD_NONBLOCK = 0x80000, 0x800


def signal_fd(signals):
    """Return a descriptor that is readable when one of the signals has come."""
    mask = ctypes.create_string_buffer(128)
    for number in signals:
        libc.sigaddset(mask, number)
    return check(libc.signalfd(-1, mask, SFD_CLOEXEC | SFD_NONBLOCK), SUPERVISION, "signalfd")


def signal_one(pid, number):
    try:
        os.kill(pid, number)
    except OSError:
        pass


def signal_group(pgid, number):
    try:
        if pgid > 1 and pgid != os.getpgrp():
            os.killpg(pgid, number)
    except OSError:
        pass


def state(pid):
    """Return the letter of a process's state; empty if there is no such process."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            return file.read().rpartition(b") ")[2][:1]
    except OSError:
        return b""


def is_stopped(pid):
    return state(pid) == b"T"


def own_children():
    with open("/proc/self/task/%d/children" % os.getpid()) as file:
        return [int(word) for word in file.read().split()]


def children(pid):
    found = []
    try:
        for thread in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, thread)) as file:
                found += [int(word) for word in file.read().split()]
    except OSError:
        pass  # it has ended meanwhile
    return found


def descendants(pid):
    found, todo = [], [pid]
    while todo:
        below = children(todo.pop())
        found += below
        todo += below
    return found
