"""Tests of display.py by itself: many executions of one namespace, as in a session.

How it goes with the runner is in results_test.go. See test_repl_worker.py.
"""

import _thread
import json
import os
import signal
import socket
import threading
import unittest

import display
import frames
import last_expression
import marks


class Control:
    """The place of repl_worker's, with the test as the runner."""

    def __init__(self, test):
        self.theirs, ours = socket.socketpair()
        self.lock = _thread.RLock()
        self.fd = ours.fileno()
        self.lines = self.theirs.makefile("rb")
        for resource in (self.lines, self.theirs, ours):
            test.addCleanup(resource.close)
        self.theirs.settimeout(30)

    def is_ours(self):
        return True


class SplitTest(unittest.TestCase):
    def test_the_short_way_agrees_with_the_tree(self):
        common = "x=1\nx", "x=1\nx # c", "x=1\r\nx\r\n", "x=1\rx", "a\n\n\nb\n\n", "for i in x:\n  f(i)", "def f():\n  return 1\nf()"
        rare = (
            '"""\nfor a in b:\n  foo"""', "[x\nfor x in y\n if x]", "f(a,\nb=1)", "(a\nif b\nelse c)", 'x = """\na\nb"""',
            "@dec\ndef f(): pass", "x = 1 + \\\n2", "a\nb;", "a\nb; c", "a\n# x", "while a: b\nelse: c", "x = 5\ny = 6",
            'if x:\n  """a"""', "f(\n  x)\n", "{\n1\n}\n", "x\n  \n#c\n", "print(1)\n\tx", "a\n*b", "x=1\n:2", "else: x", "f\n[1]",
            "try:\n  x\nexcept E:\n  y", "class A: pass\nA", "x\nawait y", '"a"\n"b"', "from __future__ import annotations\nx",
            "with a as b:\n    c\nd", "import x\nimport y", "x\nnot a", "x\n-1", "(x)\n(y)", "\x0cx=1\nx", "x=1\n\x0cx", "for x in y: z",
        )
        for source in common + rare:
            parts = last_expression.split_simple(source, 0, "<stdin>")
            if source in common:
                self.assertIsNotNone(parts, source)
            if parts is None:
                continue
            tree = compile(source, "<stdin>", "exec", last_expression.ONLY_AST | last_expression.AWAIT, True)  # or it accepted what is none
            is_value = isinstance(tree.body[-1], last_expression.EXPRESSION_STATEMENT)
            self.assertEqual(parts[1] is not None, is_value, source)
            if is_value:
                whole = compile(last_expression.EXPRESSION(tree.body[-1].value), "<stdin>", "eval", last_expression.AWAIT, True)
                self.assertEqual(parts[1].co_firstlineno, whole.co_firstlineno)  # before Python 3.10 it is the expression's
                self.assertEqual(len(tree.body) == 1, parts[0] is None, source)


class SessionTest(unittest.TestCase):
    def setUp(self):
        self.control = Control(self)
        self.results = display.Results(self.control, marks.Marks(_thread.RLock()), frames.install())
        self.namespace = {}
        self.count = 0
        self.addCleanup(self.results.loop.close)

    def execute(self, code, room=100000):
        """Returns the text of the values that the code showed, and how many were dropped."""
        self.count += 1
        self.results.begin({"id": str(self.count), "results": room})
        error = None
        try:
            self.results.run(code, self.namespace, "<stdin>")
        except BaseException as exc:
            error = exc
        self.results.show_figures()
        dropped = self.results.end()
        os.write(self.control.fd, b"{}\n")
        shown = []
        while True:
            frame = json.loads(self.control.lines.readline().decode("ascii"))
            if not frame:
                break
            self.assertEqual(frame["id"], str(self.count))
            shown.append(frame["data"]["text/plain"])
        if error is not None:
            raise error
        return shown, dropped

    def test_values(self):
        self.assertEqual(self.execute("x = 1"), ([], 0))
        self.assertEqual(self.execute("x += 1\nx"), (["2"], 0))
        self.assertEqual(self.execute("def f(): return x"), ([], 0))
        self.assertEqual(self.execute("f()"), (["2"], 0))

    def test_the_budget_is_of_one_execution(self):
        for _ in range(3):
            shown, dropped = self.execute("'x' * 90000", 1000)
            self.assertEqual(dropped, 0)
            self.assertIn("characters dropped", shown[0])
        self.assertEqual(self.execute("1", 0), ([], 1))
        self.assertEqual(self.execute("1", 1000), (["1"], 0))

    def test_features_stay(self):
        self.execute("from __future__ import annotations")
        self.assertEqual(self.execute("def f(a: nobody): pass\nf.__annotations__"), (["{'a': 'nobody'}"], 0))

    def test_errors_leave_it_usable(self):
        for code in ("1/0", "x = = 1", "return 1", "raise SystemExit(1)", "await 1"):
            with self.subTest(code), self.assertRaises((Exception, SystemExit)):
                self.execute(code)
        self.assertEqual(self.execute("5"), (["5"], 0))

    def test_nothing_runs_unless_all_of_it_can(self):
        for last in ("x y", "lambda: (yield", "return"):
            with self.assertRaises(SyntaxError):
                self.execute("done = True\n" + last)
        self.assertNotIn("done", self.namespace)

    def test_lines_of_errors(self):
        for code, line in (("1/0", 1), ("\n\n1/0", 3), ("x = 1\n\nx/0", 3), ("x = (\n1/0)", 2), ("x = 1; 1/0", 1), ("await f()", 1)):
            with self.subTest(code):
                try:
                    self.execute(code)
                except (ZeroDivisionError, NameError) as error:
                    trace = error.__traceback__
                while trace.tb_next:
                    trace = trace.tb_next
                self.assertEqual((trace.tb_frame.f_code.co_filename, trace.tb_lineno), ("<stdin>", line))
                self.assertEqual(trace.tb_frame.f_code.co_name, "<module>")

    def test_one_event_loop(self):
        self.execute("import asyncio\nasync def f():\n  return asyncio.get_running_loop()\none = await f()")
        self.execute("task = asyncio.ensure_future(asyncio.sleep(0.01, 'slept'))\nawait asyncio.sleep(0)")
        self.assertEqual(self.execute("await f() is one"), (["True"], 0))
        self.assertEqual(self.execute("await task"), (["'slept'"], 0))
        self.results.loop.close()
        self.assertEqual(self.execute("await f() is one"), (["False"], 0))

    def test_close_cancels_what_is_left(self):
        self.execute("import asyncio\nended = []\nasync def f():\n  try: await asyncio.sleep(600)\n  finally: ended.append(1)\n"
                     "task = asyncio.ensure_future(f())\nawait asyncio.sleep(0)")
        self.results.loop.close()
        self.assertEqual(self.namespace["ended"], [1])

    def test_interrupted_await_does_not_go_on(self):
        self.execute("import asyncio, os, signal\nended = []")
        with self.assertRaises(KeyboardInterrupt):
            self.execute("try:\n  asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGINT)\n"
                         "  await asyncio.sleep(600)\nexcept asyncio.CancelledError:\n  ended.append(1); raise")
        self.assertEqual(self.namespace["ended"], [1])
        self.assertEqual(self.execute("await asyncio.sleep(0, 7)"), (["7"], 0))

    def test_nothing_is_sent_between_executions(self):
        self.execute("1")
        thread = threading.Thread(target=self.results.show, args=(5,))
        thread.start()
        thread.join()
        self.assertEqual(self.execute("2"), (["2"], 1))

    def test_the_signal_mask_is_as_it_was(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        self.addCleanup(signal.pthread_sigmask, signal.SIG_UNBLOCK, {signal.SIGUSR1})
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self.execute("1")
        self.assertEqual(signal.pthread_sigmask(signal.SIG_BLOCK, ()), before)

    def test_warnings_come_once(self):
        import warnings

        for code in ("'' is 1", "x = 1\n'' is x\n(lambda: '' is 1)", "x = '' is 1"):
            with self.subTest(code), warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                self.execute(code)
                self.assertIn(len(caught), (1, 2) if code.startswith("x = 1") else (1,))


if __name__ == "__main__":
    unittest.main()
