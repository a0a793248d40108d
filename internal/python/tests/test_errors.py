"""Tests of errors.py: the text of an uncaught exception is the one that the same Python prints for a script.

They run with any supported Python: see test_repl_worker.py.
"""

import os
import subprocess
import tempfile
import unittest

from tests.test_repl_worker import LIMIT, PYTHON, Worker

CHAIN = "def a(): b()\ndef b():\n  try: 1/0\n  except Exception as e: raise KeyError('k') from e\na()"


class TextTest(unittest.TestCase):
    def execute(self, code):
        """The text of the error, the exit code in the last frame, and that of the process."""
        worker = Worker(self)
        worker.read()
        worker.send(id="x", cmd="exec", code=code)
        frames, _, _, exit_code = worker.finish()
        return frames[0]["traceback"].replace(worker.dir.name, "DIR"), frames[-1]["exitCode"], exit_code

    def script(self, code):
        """What Python prints for a script, and its exit code."""
        with tempfile.TemporaryDirectory() as place:
            path = os.path.join(place, "main.py")
            with open(path, "w") as file:
                file.write(code + "\n")
            done = subprocess.run([PYTHON, "-s", "-E", "-X", "utf8", path], stderr=subprocess.PIPE, timeout=LIMIT, cwd=place, check=False)
            return done.stderr.decode().replace(place, "DIR"), done.returncode

    def test_text(self):
        for name, code in (
            ("a class of the main module", "class E(Exception): pass\nraise E('x')"),
            ("a class in a class", "class O:\n  class E(Exception): pass\ntry: raise O.E('x')\nexcept O.E as e: raise O.E from e"),
            ("no text", "class E(Exception):\n  def __str__(self): raise ValueError\nraise E"),
            ("half a character", "raise ValueError('a\\udc80|\\ud800')"),
            ("a module that is not imported", "def f(): return json\nf()"),
            ("a module or a name", "jsn = 1\njson"),
            ("no limit", CHAIN),
            ("a limit", "import sys\nsys.tracebacklimit = 1\n" + CHAIN),
            ("no frames", "import sys\nsys.tracebacklimit = 0\n" + CHAIN),
            ("a negative limit", "import sys\nsys.tracebacklimit = -3\n" + CHAIN),
        ):
            with self.subTest(name):
                self.assertEqual(self.execute(code)[:2], self.script(code))

    def test_interrupt(self):
        for code, want in (("raise KeyboardInterrupt", 130), ("class K(KeyboardInterrupt): pass\nraise K", 1)):
            with self.subTest(code):
                self.assertEqual(self.execute(code)[1:], (want, want))


if __name__ == "__main__":
    unittest.main()
