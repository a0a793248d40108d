# ruff: noqa: E501 - programs of one line
"""Tests of calls to functions of the caller (calls.py), with the test in the place of the runner."""

import json
import os
import signal
import unittest

from tests.test_repl_worker import Worker

SEARCH = {"name": "search", "description": "Finds pages.", "schema": {
    "type": "object", "required": ["query"],
    "properties": {"limit": {"type": "integer", "default": 10}, "query": {"type": "string"}, "from": {"type": "string"}}}}
LIMITS = {"calls": 100, "bytes": 1 << 20, "most": 10_000, "open": 20_000, "depth": 20, "seconds": 30, "atOnce": 8}


class Host:
    """A worker whose calls this object answers."""

    def __init__(self, test, **limits):
        self.worker = Worker(test)
        self.test, self.limits = test, dict(LIMITS, **limits)
        self.calls, self.ends, self.held = [], [], []
        test.assertEqual(self.worker.read()["type"], "ready")
        self.executions = 0

    def offer(self, *more):
        names = ("echo", "fail", "hold", "never", "raw")
        return dict(self.limits, offers=[SEARCH, *({"name": name} for name in names), *more])

    def send(self, code, cmd="session", functions=True, **more):
        self.executions += 1
        if functions:
            more["functions"] = self.offer()
        self.worker.send(id=str(self.executions), cmd=cmd, code=code, execution=self.executions, results=1000, **more)

    def reply(self, number, **answer):
        self.worker.send(id=str(self.executions), cmd="reply", request=number, text=json.dumps(answer))

    def answer(self, frame):
        number, name, arguments = frame["request"], frame["name"], frame["arguments"]
        self.calls.append((name, arguments, frame.get("positional")))
        if name == "never":
            return
        if name == "hold":  # answered in the opposite order, when there are three
            self.held.append((number, arguments))
            if len(self.held) == 3:
                while self.held:
                    n, value = self.held.pop()
                    self.reply(n, value=value)
        elif name == "fail":
            self.reply(number, error={"name": arguments.get("name", ""), "message": arguments.get("message", "no")})
        elif name == "raw":
            self.worker.send(id=str(self.executions), cmd="reply", request=number, text=arguments["text"])
        else:
            self.reply(number, value=[name, arguments, frame.get("positional", [])])

    def follow(self):
        """Answer calls until the execution has ended. Return its last frames."""
        found = []
        while True:
            line = self.worker.lines.readline()
            self.test.assertTrue(line, "the worker has ended")
            frame = json.loads(line.decode())
            if frame["type"] == "call":
                self.answer(frame)
            elif frame["type"] == "call_end":
                self.ends.append((frame["request"], frame["value"]))
            elif frame["type"] == "input_request":
                self.worker.send(id=frame["id"], cmd="input", request=frame["request"], text="line %d" % frame["request"])
            else:
                found.append(frame)
            if frame["type"] == "status":
                return found

    def run(self, code, **more):
        """Return what the code printed, and its error."""
        marker = "<end>"
        self.send(code + "\nimport sys; print('%s', end='', flush=True)" % marker if "error" not in more else code, **{k: v for k, v in more.items() if k != "error"})
        frames = self.follow()
        errors = [f for f in frames if f["type"] == "error"]
        out = b""
        while not errors and not out.endswith(marker.encode()):
            out += os.read(self.worker.process.stdout.fileno(), 1 << 16)
        return out.decode()[:-len(marker)], errors[0]["name"] + ": " + errors[0]["value"] if errors else None


class CallsTest(unittest.TestCase):
    def test_programs(self):
        catch = "try:\n    %s\nexcept Exception as e:\n    print([c.__name__ for c in type(e).__mro__ if c not in (Exception, BaseException, object)], e, getattr(e, 'name', None))"
        host = Host(self)
        for name, code, want in (
            ("by name", "print(search(query='x'))", "['search', {'query': 'x'}, []]"),
            ("by position", "print(search('x', 3))", "['search', {'query': 'x', 'limit': 3}, []]"),
            ("a keyword of Python", "print(search('x', **{'from': 'y'}))", "['search', {'query': 'x', 'from': 'y'}, []]"),
            ("without a schema", "print(echo(1, 'ä', a=[None, {'b': 1.5}]))", "['echo', {'a': [None, {'b': 1.5}]}, [1, 'ä']]"),
            ("nothing", "print(echo())", "['echo', {}, []]"),
            ("large numbers", "print(echo(10**40 + 1, -0.0, 1e300)[2])", "[10000000000000000000000000000000000000001, -0.0, 1e+300]"),
            ("missing", catch % "search()", "['TypeError'] search() missing required arguments: 'query' None"),
            ("too many", catch % "search(1, 2, 3, 4)", "['TypeError'] search() takes at most 3 positional arguments but 4 were given None"),
            ("twice", catch % "search('x', query='y')", "['TypeError'] search() got multiple values for argument 'query' None"),
            ("unknown", catch % "search('x', more=1)", "['TypeError'] search() got an unexpected keyword argument 'more' None"),
            ("no JSON", catch % "echo(object)", "['TypeError'] Object of type type is not JSON serializable None"),
            ("not a number", catch % "echo(float('nan'))", "['ValueError'] Out of range float values are not JSON compliant"),
            ("surrogates", catch % r"echo('\ud800')", "['ValueError', 'surrogates']"),
            ("deep", "x = []\nfor _ in range(18): x = [x]\necho(x)\n" + catch % "echo([x])", "['ValueError'] the arguments are nested deeper than 20 None"),
            ("very deep", "x = []\nfor _ in range(50000): x = [x]\n" + catch % "echo(x)", "['ValueError'] the arguments are nested deeper than 20 None"),
            ("wide", "print(len(echo([[] for _ in range(1000)])[2][0]))", "1000"),
            ("circular", "x = []\nx.append(x)\n" + catch % "echo(x)", "['ValueError'] Circular reference detected None"),
            ("large", catch % "echo('x' * 10_000)", "['ValueError'] the arguments of echo() are 10033 bytes of JSON, the limit is 10000 None"),
            ("an error", catch % "fail(message='no money')", "['CallError'] no money CallError"),
            ("an error of Python", catch % "fail(name='LookupError')", "['LookupError', 'CallError', 'LookupError'] no LookupError"),
            ("a KeyError", catch % "fail(name='KeyError')", "['KeyError', 'CallError', 'KeyError', 'LookupError'] 'no' KeyError"),
            ("an OSError", catch % "fail(name='FileNotFoundError')", "['FileNotFoundError', 'CallError', 'FileNotFoundError', 'OSError'] no FileNotFoundError"),
            ("an error with more arguments", catch % "fail(name='UnicodeDecodeError')", "['UnicodeDecodeError', 'CallError'] no UnicodeDecodeError"),
            ("an error of its own", catch % "fail(name='PaymentRequired')", "['PaymentRequired', 'CallError'] no PaymentRequired"),
            ("no exception", catch % "fail(name='SystemExit')", "['SystemExit', 'CallError'] no SystemExit"),
            ("the end of an iterator", catch % "fail(name='StopIteration')", "['StopIteration', 'CallError'] no StopIteration"),
            ("no identifier", catch % "fail(name='a b')", "['CallError'] no a b"),
            ("no JSON as the answer", catch % "raw(text='{')", "['CallError']"),
            ("threads", "import threading\nfound = {}\nts = [threading.Thread(target=lambda i=i: found.update({i: hold(n=i)})) for i in range(3)]\n[t.start() for t in ts]; [t.join() for t in ts]\nprint(sorted(found.items()))",
             "[(0, {'n': 0}), (1, {'n': 1}), (2, {'n': 2})]"),
            ("a pool", "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(50) as pool: print(sum(r[2][0] for r in pool.map(echo, range(90))))", "4005"),
            ("gather", "import asyncio\nasync def main():\n    return await asyncio.gather(*(hold(n=i) for i in range(3)))\nprint(asyncio.run(main()))", "[{'n': 0}, {'n': 1}, {'n': 2}]"),
            ("many at once", "import asyncio\nasync def main():\n    return await asyncio.gather(*(echo(i) for i in range(90)))\nprint(sum(r[2][0] for r in asyncio.run(main())))", "4005"),
            ("a task", "import asyncio\nasync def main():\n    return await asyncio.create_task(echo(1))\nprint(asyncio.run(main()))", "['echo', {}, [1]]"),
            ("await at the top", "print(await echo(1))", "['echo', {}, [1]]"),
            ("after await", "import asyncio\nawait asyncio.sleep(0)\nprint(echo.sync(1))", "['echo', {}, [1]]"),
            ("a coroutine without a loop", "import asyncio\nprint(asyncio.run(echo.aio(1)))", "['echo', {}, [1]]"),
            ("an error in a task", "import asyncio\nasync def main():\n    try: await fail(name='ValueError')\n    except ValueError as e: print(e)\nasyncio.run(main())", "no"),
            ("given up", "import asyncio\nasync def main():\n    try: await asyncio.wait_for(never(), 0.05)\n    except asyncio.TimeoutError: print('late')\n    print(await echo(2))\nasyncio.run(main())", "late\n['echo', {}, [2]]"),
            ("a call in a handler", "import signal\nsignal.signal(signal.SIGALRM, lambda *a: print(echo('inner')[2]))\nsignal.setitimer(signal.ITIMER_REAL, 0.05)\nimport threading\nthreading.Timer(0.3, lambda: [hold(n=1), 0]).start()\nthreading.Timer(0.3, lambda: hold(n=2)).start()\nprint(hold(n=0))", "['inner']\n{'n': 0}"),
            ("a child", "import os, sys\npid = os.fork()\nif not pid:\n    try: echo()\n    except RuntimeError as e: print(e, flush=True)\n    os._exit(0)\nos.waitpid(pid, 0)\nprint(echo(1)[2])",
             "echo() cannot be called in a child process: only the process of the code can call functions of the caller\n[1]"),
            ("a child after a call", "import os, warnings\nwarnings.simplefilter('error')\necho()\npid = os.fork()\nif not pid:\n    try: echo()\n    except RuntimeError as e: print('refused', flush=True)\n    os._exit(0)\nos.waitpid(pid, 0)\nprint(echo(1)[2])", "refused\n[1]"),
            ("pickle", "import pickle\n" + catch % "pickle.dumps(echo)", "['TypeError'] cannot pickle echo: a function of the caller works only in the process of the code None"),
            ("inspect", "import inspect\nprint(inspect.signature(search), inspect.signature(echo), search.__name__, inspect.getdoc(search))", "(query: str, limit: int = 10, **kwargs) (*args, **kwargs) search Finds pages."),
            ("repr", "print(search)", "<function search(query: str, limit: int = 10, **kwargs) of the caller>"),
            ("help", "import pydoc\nprint('Finds pages.' in pydoc.render_doc(search) or __import__('sys').version_info < (3, 9))", "True"),
        ):
            with self.subTest(name):
                out, error = host.run(code)
                self.assertEqual(error, None)
                if name in ("surrogates", "no JSON as the answer", "not a number"):
                    self.assertIn(want[:13], out)
                else:
                    self.assertEqual(out.rstrip("\n"), want)

    def test_scripts(self):
        host = Host(self)
        host.send("print(search('x'))\nimport atexit\natexit.register(lambda: print(echo('late')))", cmd="exec")
        host.follow()
        self.assertEqual(host.worker.finish()[1], "['search', {'query': 'x'}, []]\n['echo', {}, ['late']]\n")

    def test_limits(self):
        host = Host(self, calls=1, seconds=0.1)
        catch = "\ntry: %s\nexcept CallError as e: print(type(e).__name__, isinstance(e, TimeoutError), e)"
        out, _ = host.run("pass" + catch % "never()" + catch % "echo()")
        self.assertEqual(out, "TimeoutError True never() was not answered within 0.1 s (limits.callSeconds)\n"
                              "CallLimitExceeded False echo() was not called: the execution has made its 1 calls (limits.calls)\n")
        self.assertEqual(host.ends, [(1, "timeout")])
        host = Host(self, bytes=1000)
        out, _ = host.run("echo('x' * 200)" + catch % "echo('x' * 300)" + catch % "fail(message='x' * 300)")
        self.assertIn("CallLimitExceeded False echo() was not called: the arguments and answers of the execution have reached 1000 bytes", out)

    def test_sessions(self):
        host = Host(self)
        self.assertEqual(host.run("kept = echo\nx = echo(1)[2]\nprint(x)"), ("[1]\n", None))
        gone = "%s() cannot be called: its caller offered it to an execution that has ended; offer it again"
        for code in ("kept", "echo"):
            self.assertEqual(host.run(code + "()", functions=False, error=True)[1], "CallError: " + gone % "echo")
        self.assertEqual(host.run("print(x, echo(2)[2], CallError)"), ("[1] [2] <class 'CallError'>\n", None))
        self.assertEqual(host.run("kept()", error=True)[1], "CallError: " + gone % "echo")
        # A thread waits for an answer at the end, and another one calls after it.
        host.run("""
import threading, time
def wait():
    try: never()
    except CallError as e: said.append(str(e))
    time.sleep(0.05)
    try: never()
    except CallError as e: said.append(str(e))
said = []
t = threading.Thread(target=wait); t.start()
while not calls_made: pass
""".replace("while not calls_made: pass", "echo()"))
        self.assertEqual(host.run("t.join()\nprint(said)", functions=False), (repr([gone % "never"] * 2) + "\n", None))

    def test_input_beside_calls(self):
        host = Host(self)
        out, _ = host.run("""
import threading
t = threading.Thread(target=lambda: [echo(i) for i in range(50)]); t.start()
lines = [input() for _ in range(20)]
t.join()
print(lines[0], lines[-1], len(lines))""", input=True)
        self.assertEqual(out, "line 1 line 20 20\n")
        self.assertEqual(host.run("print(input())", input=True, functions=False), ("line 1\n", None))

    def test_interrupts(self):
        for code in ("never()", "await never()", "import asyncio\nasyncio.run(asyncio.wait_for(never(), 9))"):
            host = Host(self)
            host.send("echo.sync()\n" + code)
            follow = host.answer

            def answer(frame, host=host, follow=follow):
                follow(frame)
                if frame["name"] == "never":
                    os.kill(host.worker.process.pid, signal.SIGINT)

            host.answer = answer  # type: ignore[method-assign]
            frames = host.follow()
            self.assertEqual(frames[0]["name"], "KeyboardInterrupt")
            self.assertEqual(host.ends, [(2, "cancelled")])
            host.answer = follow  # type: ignore[method-assign]
            host.worker.send(id="1", cmd="reply", request=2, text='{"value":"late"}')
            self.assertEqual(host.run("print(echo(3))"), ("['echo', {}, [3]]\n", None))

    def test_descriptors_are_closed(self):
        host = Host(self)
        host.run("import os\nbefore = len(os.listdir('/proc/self/fd')), len(os.listdir('/proc/self/task'))\necho()")
        self.assertEqual(host.run("print(before == (len(os.listdir('/proc/self/fd')), len(os.listdir('/proc/self/task'))))", functions=False)[0], "True\n")


if __name__ == "__main__":
    unittest.main()
