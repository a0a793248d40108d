"""Marks of commands, by which all processes are found that a command has started.

A process can leave its parents (double fork), its process group and its session (setsid). It cannot
leave a mark: the kernel hands marks on at each fork.

Standard library only, Python 3.8 and later, Linux.
"""

import os
import resource

import kernel
import processes

UTS = "/ns/uts"
RTTIME = "Max realtime timeout"
HIGHEST = 1 << 40  # µs
USABLE = resource.RLIMIT_RTTIME


class Namespaces:
    """Marks where there is a pid namespace: each command has a uts namespace of its own.

    The code has no right to enter or to make a namespace, so it cannot change its mark. The
    namespace differs in nothing else, because the code may not set names."""

    limit = None

    def new(self):
        """Return a mark for the next processes that this process forks, and its descriptor. The
        number of the namespace is not given to another one while the descriptor is open."""
        kernel.unshare(kernel.CLONE_NEWUTS, "uts namespace")
        fd = os.open("/proc/self" + UTS, os.O_RDONLY | os.O_CLOEXEC)
        return os.fstat(fd).st_ino, fd

    def find(self, mark):
        own = os.getpid()
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        return [pid for pid in pids if pid != own and self.of(pid) == mark]

    def forget(self, mark):
        pass

    def of(self, pid):
        try:
            return os.stat("/proc/%d%s" % (pid, UTS)).st_ino
        except OSError:
            pass
        # The first thread has ended. Others may go on.
        try:
            for thread in os.listdir("/proc/%d/task" % pid):
                try:
                    return os.stat("/proc/%d/task/%s%s" % (pid, thread, UTS)).st_ino
                except OSError:
                    pass
        except OSError:
            pass
        return None


class Limits:
    """Marks where there are no namespaces: each command has another limit of real-time scheduling,
    which it may not use anyway. The code may lower its own limit. A process without a known
    mark is taken for one of each command. So such code ends earlier, and not later."""

    def __init__(self):
        self.last, self.known = HIGHEST, set()

    def new(self):
        self.last -= 1
        self.known.add(self.last)
        return self.last, -1

    def find(self, mark):
        found = []
        for pid in processes.descendants(os.getpid()):
            its = self.of(pid)
            if its == mark or its not in self.known:
                found.append(pid)
        return found

    def forget(self, mark):
        """Processes of this command go on, without being taken for those of others."""

    def of(self, pid):
        try:
            with open("/proc/%d/limits" % pid) as file:
                for line in file:
                    if line.startswith(RTTIME):
                        return int(line[len(RTTIME):].split()[0])
        except (OSError, ValueError):
            pass
        return None
