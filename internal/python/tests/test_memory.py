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

# What is shared once a program has loaded something: whether it was done; what of Python's
# memory is in the file, and whether that was written to; whether libraries are, and are still
# protected; whether all is as it was, a fork's writing stays its own, and its memory is its
# parent's; and whether what nobody has used is part of it.
SHARE = """
import ctypes, gc, mmap, os, sys
sys.path.insert(0, sys.argv[1])
import memory, program
before = list(memory.file_mappings())
room = memory.reserve()
import decimal, sqlite3, xml.dom.minidom
things = [str(i) * 5 for i in range(100000)]
unused = mmap.mmap(-1, 8 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
block = bytearray(b"abc" * (1 << 20))
address = ctypes.addressof((ctypes.c_char * len(block)).from_buffer(block))
content = hash(tuple(things))
gc.collect()
gc.freeze()
del room
done = memory.share(before, program.Program(program.native()))
def shared():
    return [(start, end, mode) for start, end, mode, path in memory.file_mappings() if "preloaded" in path]
def has(address):
    return any(start <= address < end for start, end, _ in shared())
def anonymous(address):
    found = None
    for line in open("/proc/self/smaps"):
        words = line.split()
        if "-" in words[0]:
            start, end = [int(word, 16) for word in words[0].split("-")]
            found = start <= address < end
        elif found and words[0] == "Anonymous:":
            return int(words[1])
places = [id(thing) for thing in things[::500]]
print(done, sum(map(has, places)) * 2 > len(places), has(address + (2 << 20)), anonymous(address + (2 << 20)))
print({mode for _, _, mode in shared()} == {"r--p", "rw-p"})
child = os.fork()
if child == 0:
    block[2 << 20] = 0
    os._exit(0 if block[2 << 20] == 0 else 1)
print(os.waitpid(child, 0)[1], block == b"abc" * (1 << 20), hash(tuple(things)) == content, sqlite3.connect(":memory:").execute("select 1").fetchall())
print(has(ctypes.addressof((ctypes.c_char * 1).from_buffer(unused)) + (4 << 20)))
"""


class Memory(unittest.TestCase):
    def run_program(self, program):
        env = dict(os.environ, PYTHONMALLOC="pymalloc")
        return subprocess.run([PYTHON, "-c", program, HERE], env=env, stdout=subprocess.PIPE, check=True, timeout=60).stdout.decode()

    @unittest.skipUnless(os.uname().machine == "x86_64", "elsewhere nothing is shared")
    def test_share(self):
        """What has come into memory is on a file, whole, and a fork's own once it writes."""
        self.assertEqual(self.run_program(SHARE).splitlines(), [
            "True True True 0",
            "True",
            "0 True True [(1,)]",
            "False",
        ])

    def test_reserve(self):
        """What comes after it lies together in it, and the rest is given back."""
        inside, pieces, reserved, left = [int(word) for word in self.run_program(PROGRAM).split()]
        self.assertGreater(inside, 18000)
        self.assertLessEqual(pieces, 5)  # else as many as arenas, 10
        self.assertGreater(reserved, 60 << 20)
        self.assertLess(left, 24 << 20)


if __name__ == "__main__":
    unittest.main()
