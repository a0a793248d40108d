"""The resource limits of processes: of the zygote, of slots and of workers.

Standard library only, Python 3.8 and later, Linux.
"""

import resource

from kernel import LayerError

LAYER = "rlimits"
# The limits of a worker by the names that the runner uses.
LIMITS = {
    "processes": resource.RLIMIT_NPROC,
    "openFiles": resource.RLIMIT_NOFILE,
    "fileBytes": resource.RLIMIT_FSIZE,
    "cpuSeconds": resource.RLIMIT_CPU,
    "core": resource.RLIMIT_CORE,  # always 0, so rehearsals may set it
}
MANY_FILES = 1 << 16  # descriptors
MOST_SIGNALS = 1024  # pending ones, and timers


def set_limits(limits, _set=resource.setrlimit, _get=resource.getrlimit):
    """Lower the limits of this process, a worker, and of all that it starts, permanently."""
    for name, value in limits.items():
        kind = LIMITS[name]
        hard = _get(kind)[1]
        if hard != resource.RLIM_INFINITY and value > hard:
            value = hard
        try:
            _set(kind, (value, value))
        except (OSError, ValueError) as error:
            raise LayerError(LAYER, "set " + name, error)


def set_fixed():
    """Set the limits of the zygote and of all its descendants. Workers may raise some to these."""
    try:
        # This limit of a sender also bounds the descriptors of its user in messages that were not
        # received. Workers have a lower limit, so they cannot exhaust that of zygote and slots.
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = MANY_FILES if hard == resource.RLIM_INFINITY else hard
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_MSGQUEUE, (0, 0))
    except (OSError, ValueError) as error:
        raise LayerError(LAYER, "set", error)


def limit_signals():
    """Limit pending signals, of a slot and its workers. The zygote must not have this limit: when
    a process makes a user namespace, its limit becomes the limit of all user namespaces of its
    user together, and so of all slots."""
    _, hard = resource.getrlimit(resource.RLIMIT_SIGPENDING)
    most = MOST_SIGNALS if hard == resource.RLIM_INFINITY else min(hard, MOST_SIGNALS)
    try:
        resource.setrlimit(resource.RLIMIT_SIGPENDING, (most, most))
    except (OSError, ValueError) as error:
        raise LayerError(LAYER, "set signals", error)
