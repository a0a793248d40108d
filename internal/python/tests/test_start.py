"""Tests of start.py by itself. See test_repl_worker.py."""

import os
import shutil
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


# Prepares again and again, and prints what each time has and whether a child compiled it.
AGAIN = """
import os, sys
sys.path.insert(0, sys.argv[1])
import start
start.HERE = sys.argv[2]
for _ in sys.stdin.buffer:
    forks = []
    fork, os.fork = os.fork, lambda: forks.append(True) or fork()
    start.codes.clear()
    start.prepare()
    os.fork = fork
    print(len(start.codes), len(forks), flush=True)
    print(start.COMPILED, flush=True)
"""


class Compiled(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir)
        for name, text in SCRIPTS.items():
            with open(os.path.join(self.dir, name), "w") as file:
                file.write(text)
        self.process = subprocess.Popen([PYTHON, "-c", AGAIN, HERE, self.dir], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(self.process.communicate)

    def prepare(self):
        """Return whether a child compiled. The scripts are there in any case."""
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        scripts, children = self.process.stdout.readline().split()
        self.assertEqual(scripts, b"2")
        self.file = os.path.join(self.dir, self.process.stdout.readline().decode().strip())
        return children == b"1"

    def test_one_child_compiles_for_all_that_start(self):
        self.assertTrue(self.prepare())
        self.assertFalse(self.prepare())
        self.assertEqual(os.stat(self.file).st_mode & 0o777, 0o600)
        os.remove(self.file)
        self.assertTrue(self.prepare())

    def test_a_file_that_is_not_whole(self):
        self.assertTrue(self.prepare())
        with open(self.file, "rb") as file:
            whole = file.read()
        for broken in (b"", whole[:1], whole[:-1], whole[: len(whole) // 2], b"nonsense" * 1000):
            with self.subTest(broken[:20]):
                with open(self.file, "wb") as file:
                    file.write(broken)
                self.assertTrue(self.prepare())
                self.assertFalse(self.prepare())

    def test_a_file_that_cannot_be_written(self):
        self.assertTrue(self.prepare())
        os.remove(self.file)
        os.mkdir(self.file)
        self.assertTrue(self.prepare())
        self.assertTrue(self.prepare())
        self.assertEqual(sorted(os.listdir(self.dir)), sorted([*SCRIPTS, os.path.basename(self.file)]))


class Imports(unittest.TestCase):
    def test_taken(self):
        sys.path.insert(0, HERE)
        self.addCleanup(sys.path.remove, HERE)
        import start

        cases = [
            ("no import", "x = 1\n", [], []),
            ("empty", "", [], []),
            ("docstring on one line", '"""It\'s\n"""\nimport os\nx = 1\n', ["os"], []),
            ("import in a docstring", '"""One.\n\nimport two\n"""\nimport os\n', ["os"], []),
            ("import in a text", 'import os\nTEXT = """\nimport two\nfrom two import b\n"""\n', ["os"], []),
            ("comments between", "# a\nimport os  # why\n\n# b\nimport two\n", ["os"], [("two", "two", None)]),
            ("on several lines", "from two import (\n    a,\n    b as c,\n)\nx = 1\n", [], [("a", "two", "a"), ("c", "two", "b")]),
            ("other names", "import two as other\nfrom os import path as p\n", ["os"], [("other", "two", None)]),
            ("in a function", "def f():\n    import two\n", [], []),
        ]
        for name, text, others, ours in cases:
            with self.subTest(name):
                left, *imports = start.take_imports(text, ["one", "two"])
                self.assertEqual(imports, [others, ours])
                self.assertEqual(left.count("\n"), text.count("\n"))
                for line, was in zip(left.split("\n"), text.split("\n")):
                    self.assertIn(line, ("", was))
                if not ours:
                    self.assertEqual(left, text)


if __name__ == "__main__":
    unittest.main()
