"""Tests of repl_worker.py by itself, over a socketpair, as the runner drives it.

Run them with any supported Python; KAA_TEST_PYTHON names the one under test:

    cd internal/python && python3 -m unittest
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "worker.py")
SCRIPTS = os.path.dirname(os.path.dirname(SCRIPT)) + os.sep  # begins their names in tracebacks
PYTHON = os.environ.get("KAA_TEST_PYTHON") or sys.executable
LIMIT = 30  # seconds for anything that should happen soon


class Worker:
    """A worker process with the test in the place of the runner."""

    def __init__(self, test):
        self.dir = tempfile.TemporaryDirectory()
        test.addCleanup(self.dir.cleanup)
        self.socket, theirs = socket.socketpair()
        test.addCleanup(self.socket.close)
        self.socket.settimeout(LIMIT)
        self.lines = self.socket.makefile("rb")
        test.addCleanup(self.lines.close)

        def place_socket():
            os.dup2(theirs.fileno(), 3)

        self.process = subprocess.Popen(
            [PYTHON, "-I", "-X", "utf8", SCRIPT],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            cwd=self.dir.name, start_new_session=True, close_fds=True, pass_fds=(3,), preexec_fn=place_socket,  # noqa: PLW1509 - no threads
        )
        test.addCleanup(self.end)
        theirs.close()

    def end(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def read(self):
        """The next frame, or None at the end."""
        line = self.lines.readline()
        return json.loads(line.decode("ascii")) if line else None

    def send(self, **command):
        self.socket.sendall(json.dumps(command).encode() + b"\n")

    def finish(self):
        """The other frames, stdout, stderr and the exit code."""
        frames = []
        while True:
            frame = self.read()
            if frame is None:
                break
            frames.append(frame)
        out, err = self.process.communicate(timeout=LIMIT)
        return frames, out.decode(), err.decode(), self.process.returncode


class WorkerTest(unittest.TestCase):
    def start(self):
        worker = Worker(self)
        self.assertEqual(worker.read()["type"], "ready")
        return worker

    def execute(self, code, **more):
        worker = self.start()
        worker.send(id="x", cmd="exec", code=code, **more)
        frames, out, err, exit_code = worker.finish()
        if frames and "traceback" in frames[0]:
            frames[0]["traceback"] = frames[0]["traceback"].replace(worker.dir.name, "DIR")
        return frames, out, err.replace(worker.dir.name, "DIR"), exit_code

    def status(self, frames):
        return {key: value for key, value in frames[-1].items() if key not in ("id", "type", "files")}

    def test_ready(self):
        frame = Worker(self).read()
        self.assertEqual(sorted(frame), ["python", "rehearsals", "type", "version"])
        self.assertEqual((frame["type"], frame["version"]), ("ready", 2))

    def test_ok(self):
        frames, out, err, code = self.execute("print(42)")
        self.assertEqual(frames, [{"id": "x", "type": "status", "status": "ok", "exitCode": 0, "files": 1}])
        self.assertEqual((out, err, code), ("42\n", "", 0))

    def test_code_in_many_pieces(self):
        worker = self.start()
        command = json.dumps({"id": "x", "cmd": "exec", "code": "print(len('%s'))" % ("é" * 100_000)}, ensure_ascii=False)
        data = command.encode() + b"\n"
        for i in range(0, len(data), 9999):
            worker.socket.sendall(data[i:i + 9999])
        self.assertEqual(worker.finish()[1], "100000\n")

    def test_shutdown(self):
        worker = self.start()
        worker.send(id="x", cmd="shutdown")
        self.assertEqual(worker.finish(), ([], "", "", 0))

    def test_runner_is_gone(self):
        worker = self.start()
        worker.socket.shutdown(socket.SHUT_RDWR)
        self.assertEqual(worker.process.wait(LIMIT), 0)

    def test_rehearsals_come_to_an_end(self):
        worker = self.start()
        for _ in range(3):
            os.kill(worker.process.pid, signal.SIGINT)
            worker.send(cmd="rehearse")
            self.assertEqual(worker.read(), {"type": "rehearsed", "rehearsals": 0})
        worker.send(id="x", cmd="exec", code="print(1)")
        frames, out, err, _ = worker.finish()
        self.assertEqual((self.status(frames)["status"], out, err), ("ok", "1\n", ""))

    def test_what_a_rehearsal_does_is_not_seen(self):
        """It prints and has a value; of that nothing is in the pipes or the socket, nor does it
        change what the program has."""
        worker = self.start()
        for stream in (worker.process.stdout, worker.process.stderr):
            os.set_blocking(stream.fileno(), False)
            self.assertIsNone(stream.read())
            os.set_blocking(stream.fileno(), True)
        code = """import sys
for stream in sys.stdout, sys.stderr:
    print(vars(stream.buffer.raw).get("write"), file=stream)
print([name for name in vars(sys) if name.startswith("last_")], "_" in globals())
40 + 2"""
        worker.send(id="x", cmd="exec", code=code, results=1 << 16)
        frames, out, err, _ = worker.finish()
        self.assertEqual([frame["type"] for frame in frames], ["result", "status"])
        self.assertEqual(frames[0]["data"], {"text/plain": "42"})
        self.assertEqual((out, err), ("None\n[] False\n", "None\n"))

    def test_error(self):
        frames, out, err, code = self.execute("def f():\n    1/0\nf()")
        self.assertEqual([f["type"] for f in frames], ["error", "status"])
        self.assertEqual((frames[0]["name"], frames[0]["value"]), ("ZeroDivisionError", "division by zero"))
        text = frames[0]["traceback"]
        self.assertIn('File "DIR/main.py", line 3, in <module>\n    f()\n', text)
        self.assertIn('File "DIR/main.py", line 2, in f\n    1/0\n', text)
        self.assertNotIn(SCRIPTS, text)
        self.assertEqual((self.status(frames), out, err, code), ({"status": "error", "exitCode": 1}, "", "", 1))

    def test_syntax_error(self):
        frames = self.execute("x = 1\ny = = 2\n")[0]
        self.assertEqual(frames[0]["name"], "SyntaxError")
        self.assertIn('  File "DIR/main.py", line 2\n    y = = 2\n', frames[0]["traceback"])
        self.assertIn("^\nSyntaxError: invalid syntax", frames[0]["traceback"])
        self.assertNotIn("Traceback", frames[0]["traceback"])

    def test_hidden_frames(self):
        frames = self.execute("import json\ntry: json.loads('{')\nexcept ValueError as e: raise KeyError('k') from e")[0]
        text = frames[0]["traceback"]
        self.assertIn("direct cause", text)
        self.assertIn("line 2, in <module>", text)
        self.assertNotIn("decoder.py", text)
        self.assertNotIn(SCRIPTS, text)

    @unittest.skipIf(sys.version_info < (3, 11), "no exception groups")
    def test_exception_group(self):
        text = self.execute("import json\ne = []\ntry: json.loads('{')\nexcept ValueError as x: e.append(x)\n"
                            "raise ExceptionGroup('g', e)")[0][0]["traceback"]
        self.assertIn("line 3, in <module>", text)
        self.assertNotIn("decoder.py", text)

    def test_exits(self):
        for code, want, stderr in (
            ("import sys; sys.exit()", 0, ""),
            ("import sys; sys.exit(3)", 3, ""),
            ("import sys; sys.exit(-1)", 255, ""),
            ("import sys; sys.exit('no')", 1, "no\n"),
            ("raise SystemExit(1, 2)", 1, "(1, 2)\n"),
            ("raise SystemExit(2 ** 63 - 2)", 254, ""),
            ("raise SystemExit(2 ** 63)", 255, ""),
            ("raise SystemExit(-2 ** 63)", 0, ""),
            ("raise SystemExit(-10 ** 30)", 255, ""),
        ):
            with self.subTest(code):
                frames, _, err, exit_code = self.execute(code)
                self.assertEqual((self.status(frames), err), ({"status": "exit", "exitCode": want}, stderr))
                self.assertEqual(exit_code, want)

    def test_hostile_exceptions(self):
        for code, name in (
            ("class E(Exception):\n  def __str__(self): 1/0\nraise E", "E"),
            ("class E(Exception):\n  __cause__ = __context__ = __traceback__ = property(lambda s: 1/0)\nraise E", "E"),
            ("class M(type):\n  __name__ = property(lambda c: 1/0)\nclass E(Exception, metaclass=M): pass\nraise E", "E"),
            ("raise ValueError('\\ud800')", "ValueError"),
            ("raise ValueError('\\U0001F600' * 1000000)", "ValueError"),
            ("raise type('N' * 100000, (Exception,), {})", None),
            ("def f(): f()\nf()", "RecursionError"),
            ("x = bytearray(1 << 62)", "MemoryError"),
            ("import builtins\nd = delattr\nfor n in list(vars(builtins)): d(builtins, n)\n1/0", "ZeroDivisionError"),
        ):
            with self.subTest(code):
                frames = self.execute(code)[0]
                self.assertEqual([f["type"] for f in frames], ["error", "status"])
                if name:
                    self.assertEqual(frames[0]["name"], name)
                self.assertLess(len(json.dumps(frames[0])), 1 << 20)

    def test_streams(self):
        frames, out, err, _ = self.execute(
            "import os, subprocess, sys\nprint('a\\ud800b')\nos.write(1, b'raw\\n')\n"
            "subprocess.run(['echo', 'child'])\nsys.stderr.write('\\udfff')")
        self.assertEqual(self.status(frames)["status"], "ok")
        self.assertEqual((out, err), ("a\ufffdb\nraw\nchild\n", "\\udfff"))

    def test_output_before_a_kill(self):
        self.assertEqual(self.execute("import os\nprint('x')\nprint('y', end='', flush=True)\nprint('lost', end='')\nos.kill(os.getpid(), 9)"),
                         ([], "x\ny", "", -9))

    def test_envs(self):
        out = self.execute("import os, time\nprint(os.environ['A'], time.tzname[0])", envs={"A": "b", "TZ": "XYZ-3"})[1]
        self.assertEqual(out, "b XYZ\n")

    def test_wind_down(self):
        code = ("import atexit, threading, time\nclass A:\n  def __del__(self): print('del', time.__name__)\na = A()\n"
                "def f():\n  time.sleep(0.1); print('thread')\nthreading.Thread(target=f).start()\natexit.register(print, 'atexit')")
        self.assertEqual(self.execute(code)[1], "thread\natexit\ndel time\n")

    def test_forked_child_is_mute(self):
        frames, out, err, _ = self.execute(
            "import os\npid = os.fork()\nif not pid: 1/0\nprint(os.waitpid(pid, 0)[1])")
        self.assertEqual(frames, [{"id": "x", "type": "status", "status": "ok", "exitCode": 0, "files": 1}])
        self.assertEqual(out, "256\n")
        self.assertIn("ZeroDivisionError", err)

    def test_socket_is_not_inherited(self):
        out = self.execute("import os, subprocess\nsubprocess.run(['ls', '/proc/self/fd'], close_fds=False)\n"
                           "if os.fork() == 0: print('f', [n for n in os.listdir('/proc/self/fd') if int(n) > 900])\n"
                           "else: os.wait()")[1]
        self.assertEqual(out.replace("\n", " "), "0 1 2 3 f [] ")

    def test_interrupt(self):
        worker = self.start()
        worker.send(id="x", cmd="exec", code="import time\nprint('x')\ntime.sleep(600)")
        self.assertEqual(worker.process.stdout.read(1), b"x")
        os.killpg(worker.process.pid, signal.SIGINT)
        frames = worker.finish()[0]
        self.assertEqual(frames[0]["name"], "KeyboardInterrupt")
        self.assertIn('/main.py", line ', frames[0]["traceback"])
        self.assertEqual(self.status(frames), {"status": "error", "exitCode": 130})

    def test_interrupt_while_parked(self):
        worker = self.start()
        for _ in range(3):
            os.kill(worker.process.pid, signal.SIGINT)
        worker.send(id="x", cmd="exec", code="print(1)")
        frames, out, err, _ = worker.finish()
        self.assertEqual((self.status(frames)["status"], out, err), ("ok", "1\n", ""))

    def test_interrupts_at_every_moment(self):
        """However many come and whenever, what is sent is the protocol."""
        for delay in range(0, 40, 2):
            worker = self.start()
            worker.send(id="x", cmd="exec", code="import atexit\natexit.register(lambda: None)\nfor _ in range(20000): pass")
            end = time.monotonic() + delay / 1000
            while time.monotonic() < end:
                os.kill(worker.process.pid, signal.SIGINT)
            frames, out, err, code = worker.finish()
            self.assertIn([f["type"] for f in frames], (["status"], ["error", "status"]), (out, err, code))


class SessionTest(unittest.TestCase):
    start = WorkerTest.start

    def setUp(self):
        self.worker = self.start()  # type: ignore[misc]
        self.executions = 0

    def run_in(self, code, **more):
        """The frames of one execution."""
        self.executions += 1
        self.worker.send(id=str(self.executions), cmd="session", execution=self.executions, code=code, **more)
        frames = []
        while not frames or frames[-1]["type"] != "status":
            frames.append(self.worker.read())
            self.assertIsNotNone(frames[-1])
            self.assertEqual(frames[-1]["id"], str(self.executions))
        return frames

    def test_keeps(self):
        self.assertEqual(self.run_in("x = 1", session={"OF_SESSION": "s"})[-1]["status"], "ok")
        self.assertEqual(self.run_in("1/0")[0]["name"], "ZeroDivisionError")
        self.assertEqual(self.run_in("raise SystemExit(3)")[-1], {"id": "3", "type": "status", "status": "exit", "exitCode": 3, "files": 1})
        self.run_in("import os; print(x, os.environ['OF_SESSION'], os.environ['OF_ONE'], input())", envs={"OF_ONE": "o"}, stdin="in")
        self.run_in("print(os.environ.get('OF_ONE'))")
        self.run_in("import atexit; atexit.register(print, 'end')")
        self.worker.send(cmd="shutdown")
        self.assertEqual(self.worker.finish(), ([], "1 s o in\nNone\nend\n", "", 0))

    def test_ends_with_its_runner(self):
        self.run_in("x = 1")
        self.worker.socket.shutdown(socket.SHUT_RDWR)
        self.assertEqual(self.worker.finish()[3], 0)

    def test_interrupt_between_executions(self):
        for _ in range(20):
            self.run_in("x = 1")
            os.kill(self.worker.process.pid, signal.SIGINT)
            self.assertEqual(self.run_in("y = x")[-1]["status"], "ok")

    def test_interrupts_at_every_moment(self):
        """It goes on, however many come and whenever."""
        for delay in range(0, 20, 2):
            self.executions += 1
            self.worker.send(id=str(self.executions), cmd="session", execution=self.executions, code="for _ in range(20000): pass")
            end = time.monotonic() + delay / 1000
            while time.monotonic() < end:
                os.kill(self.worker.process.pid, signal.SIGINT)
            kinds = [self.worker.read()["type"]]
            if kinds == ["error"]:
                kinds.append(self.worker.read()["type"])
            self.assertIn(kinds, (["status"], ["error", "status"]))
            self.assertEqual(self.run_in("x = 1")[-1]["status"], "ok")


if __name__ == "__main__":
    unittest.main()
