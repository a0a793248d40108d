"""Tests of memory.py by itself. See test_repl_worker.py."""

import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYTHON = os.environ.get("KAA_TEST_PYTHON") or sys.executable
# How many objects that are made after it lie in what was reserved, and in how many
# pieces; how much that is, and how much of it stays.
PROGRAM = """
import gc, sys
sys.path.insert(0, sys.argv[1])
import memory
def size():
    return sum(end - start for start, end, mode, path in memory.file_mappings() if mode == "rw-p" and path == "")
before = size()
held = memory.reserve()
reserved = size() - before
low, high = min(map(id, held)), max(map(id, held)) + memory.ARENA
things = [bytes(400) for _ in range(20000)]
places = sorted(id(thing) for thing in things if low <= id(thing) < high)
pieces = 1 + sum(after - before > 1 << 20 for before, after in zip(places, places[1:]))
del held
gc.collect()
memory.enlarge_pages()
print(len(places), pieces, reserved, size() - before)
"""


class Memory(unittest.TestCase):
    def test_reserve(self):
        """What comes after it lies together in it, and the rest is given back."""
        env = dict(os.environ, PYTHONMALLOC="pymalloc")
        out = subprocess.run([PYTHON, "-c", PROGRAM, HERE], env=env, stdout=subprocess.PIPE, check=True, timeout=60).stdout
        inside, pieces, reserved, left = [int(word) for word in out.split()]
        self.assertGreater(inside, 18000)
        self.assertLessEqual(pieces, 5)  # else as many as arenas, 10
        self.assertGreater(reserved, 60 << 20)
        self.assertLess(left, 24 << 20)


if __name__ == "__main__":
    unittest.main()
