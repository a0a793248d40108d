"""Tests of start.py by itself. See test_repl_worker.py."""

import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYTHON = os.environ.get("KAA_TEST_PYTHON") or sys.executable
# How much the ballast is and takes at its most, in objects and KB.
COUNT = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import start
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
held = start.ballast()
print(len(held), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def ballast(allocator):
    env = dict(os.environ, PYTHONMALLOC=allocator)
    out = subprocess.run([PYTHON, "-c", COUNT, HERE], env=env, stdout=subprocess.PIPE, check=True, timeout=60).stdout
    return [int(word) for word in out.split()]


class Ballast(unittest.TestCase):
    def test_without_pools_there_is_none(self):
        for allocator in ("malloc", "pymalloc_debug"):  # the second has its pools, but places begin elsewhere
            with self.subTest(allocator):
                count, kilobytes = ballast(allocator)
                self.assertEqual(count, 0)
                self.assertLess(kilobytes, 16 << 10)

    def test_with_pools(self):
        try:
            count, _ = ballast("pymalloc")
        except subprocess.CalledProcessError:
            self.skipTest("this Python has no pymalloc")
        self.assertGreater(count, 0)


# Scripts that import one another, in a circle too, and what is left of that.
LOAD = """
import sys
sys.path.insert(0, sys.argv[1])
import start
start.HERE = sys.argv[2]
start.prepare()
one = start.load("one")
print(one.other is start.load("two"), one.NAME, one.other.one is one, one.heapq.__name__)
print([name for name in ("one", "two", "kaa_one", "kaa_two") if name in sys.modules])
"""
SCRIPTS = {
    "start.py": "",
    "one.py": "import heapq\nimport two as other\nfrom two import VALUE as NAME\n",
    "two.py": "import one\nVALUE = 42\n",
}


class Load(unittest.TestCase):
    def test_scripts_import_one_another(self):
        """They have what they import, and sys.modules, which is the code's, has none of them."""
        with tempfile.TemporaryDirectory() as scripts:
            for name, text in SCRIPTS.items():
                with open(os.path.join(scripts, name), "w") as file:
                    file.write(text)
            out = subprocess.run([PYTHON, "-c", LOAD, HERE, scripts], stdout=subprocess.PIPE, check=True, timeout=60).stdout
        self.assertEqual(out.decode().splitlines(), ["True 42 True heapq", "[]"])


if __name__ == "__main__":
    unittest.main()
