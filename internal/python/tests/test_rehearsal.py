"""Tests of rehearsal.py by itself. See test_repl_worker.py."""

import importlib.util
import os
import sys
import types
import unittest
import warnings

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBRARIES = (
    ("a_library", "import a_library\nthing = a_library.Thing()", (
        "thing.work()", "thing.warn()", "thing.fail()", "a_library.absent", "thing.work(), a_library.Thing().work()")),
    ("not_loaded", "1/0", ("1/0",)),
    ("another", "1/0", ("1",)),
)


class Thing:
    worked = 0

    def work(self):
        Thing.worked += 1

    def warn(self):
        warnings.warn("a word", stacklevel=1)

    def fail(self):
        raise ValueError


def load():
    spec = importlib.util.spec_from_file_location("rehearsal", os.path.join(HERE, "rehearsal.py"))
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


class RehearsalTest(unittest.TestCase):
    def setUp(self):
        self.script = load()
        for name in ("a_library", "another"):
            sys.modules[name] = types.ModuleType(name)
            self.addCleanup(sys.modules.pop, name)
        sys.modules["a_library"].__dict__["Thing"] = Thing

    def test_steps(self):
        """Only what is loaded, and of it what goes without an error or a word."""
        self.script.LIBRARIES = LIBRARIES
        rehearsal = self.script.Rehearsal()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            rehearsal.prepare()
        self.assertEqual(seen, [])
        self.assertEqual(len(rehearsal.steps), 2)
        worked = Thing.worked
        self.assertEqual([rehearsal.step() for _ in range(4)], [1, 0, 0, 0])
        self.assertEqual(Thing.worked, worked + 3)

    def test_a_step_may_fail(self):
        self.script.LIBRARIES = LIBRARIES[:1]
        rehearsal = self.script.Rehearsal()
        rehearsal.prepare()
        del sys.modules["a_library"].Thing
        self.assertEqual([rehearsal.step(), rehearsal.step()], [1, 0])

    def test_every_library(self):
        """Those that are installed take all their steps."""
        for name, _, sources in self.script.LIBRARIES:
            with self.subTest(name):
                try:
                    __import__(name)
                except ImportError:
                    self.skipTest("not installed")
                script = load()
                script.LIBRARIES = [library for library in script.LIBRARIES if library[0] == name]
                rehearsal = script.Rehearsal()
                rehearsal.prepare()
                self.assertEqual(len(rehearsal.steps), len(sources))


if __name__ == "__main__":
    unittest.main()
