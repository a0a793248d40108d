"""The steps by which a worker becomes different from other forks of the same zygote.

Generators of random numbers, UUIDs and names begin with the zygote's state. So each worker
changes that state.

Standard library only, Python 3.8 and later.
"""

import os
import sys

from prepared import prepared
from start import BUILTINS

__builtins__ = BUILTINS  # type: ignore[assignment]  # see start.py

_getpid = os.getpid
_urandom = os.urandom


def find_differences():
    """Find the steps for the modules that are loaded."""
    modules, steps = sys.modules, []
    if "random" in modules:
        steps.append(modules["random"].seed)
    if "numpy.random" in modules:
        steps.append(numpy_seed(modules["numpy.random"]))
    uuid, tempfile = modules.get("uuid"), modules.get("tempfile")
    if uuid is not None and getattr(uuid, "_generate_time_safe", None) is not None:
        steps.append(lambda: differ_in_uuids(uuid))
    if tempfile is not None:
        steps.append(lambda: differ_in_names(tempfile))
    process = modules.get("multiprocessing.process")
    if process is not None:
        steps.append(lambda: differ_in_keys(process))
    if "_sqlite3" in modules:
        forget_seed(modules["_sqlite3"])
    prepared.differences = steps


MT_WORDS = 624  # the state of numpy's MT19937; its position follows


def numpy_seed(module):
    """Return the function that seeds numpy's global generator. numpy's own costs a young process
    0.6 ms and 140 copies of pages. So this one writes random bytes to the state. It is used only
    if the state is at the address, and in the form, that numpy reports."""
    try:
        import ctypes

        module.seed()
        address = module.mtrand._rand._bit_generator.ctypes.state_address
        words = (ctypes.c_uint32 * (MT_WORDS + 1)).from_address(address)
        key = (ctypes.c_char * (MT_WORDS * 4)).from_address(address)

        def is_there():
            state = module.get_state(legacy=False)
            inner = state["state"]
            return (state["bit_generator"], state["has_gauss"]) == ("MT19937", 0) and [*map(int, inner["key"]), inner["pos"]] == list(words)

        def seed():
            key.raw = _urandom(MT_WORDS * 4)

        if is_there():
            seed()
            words[MT_WORDS] = MT_WORDS  # none of the state is used up
            if is_there():
                return seed
    except Exception:  # another version of numpy differs
        pass
    return module.seed


def differ_in_uuids(uuid):
    # The C library's generator has its node and clock from the zygote. Two workers would get
    # the same UUID in the same microsecond.
    uuid._generate_time_safe = None
    uuid._node = int.from_bytes(os.urandom(6), "big") | 1 << 40


def differ_in_names(tempfile):
    tempfile._name_sequence = None
    if tempfile.tempdir != os.environ["TMPDIR"]:  # the zygote's
        tempfile.tempdir = None


def differ_in_keys(process):
    """Replace the secret by which processes of multiprocessing recognize each other."""
    process.current_process().authkey = os.urandom(32)


def forget_seed(sqlite):
    """Have SQLite seed its generator at the next use. By itself it does that only for files."""
    try:
        import ctypes

        randomness = ctypes.CDLL(getattr(sqlite, "__file__", None)).sqlite3_randomness
    except (OSError, AttributeError):
        return
    randomness(0, None)


def differ():
    """Make this worker different. The zygote's fork leaves out the steps that os.fork takes."""
    for step in prepared.differences:
        step()
    prepared.main_thread._native_id = _getpid()  # type: ignore[attr-defined]
