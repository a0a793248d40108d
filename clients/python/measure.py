"""Measures the client. It uses the Kaa at KAA_URL, or starts one (KAA_BIN, else `kaa` on the PATH).

python measure.py run [CALLS]                kaa.run beside a plain call of httpx, by turns; also the processor time of the client alone
python measure.py map [PROGRAMS [ROUNDS]]    kaa.map and AsyncKaa.map beside `kaa bench`, by turns
python measure.py agents [STEPS [ROUNDS]]    a loop of each adapter whose framework is installed, beside the executions alone and the framework alone, by
                                             turns; tests-adapters has the versions
"""

from __future__ import annotations

import asyncio
import contextlib
import glob
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx

import kaa

BIN = os.environ.get("KAA_BIN", "kaa")
WORKERS = 16  # of kaa bench: enough that every slot of a runner is busy
PROGRAMS = {"python": "x = 6 * 7; print(x)", "shell": "echo 42"}  # of a step
BENCH = 5  # seconds of each run of kaa bench
SERVERS = [int(pid) for pid in os.environ.get("KAA_PIDS", "").split(",") if pid]  # processes of the Kaa, if it is not started here


@contextlib.contextmanager
def server():
    """Set the address and the key of a Kaa, which is started if there is none."""
    if "KAA_URL" in os.environ:
        yield
        return
    with kaa.local(binary=BIN, python=os.environ.get("KAA_PYTHON")) as started:
        os.environ.update(KAA_URL=started.url, KAA_API_KEY=started.key)
        SERVERS.append(started._process.pid)
        yield


def processor_time() -> float:
    """Return the seconds of the processors that the Kaa started here has taken, with what it executes."""
    ticks = os.sysconf("SC_CLK_TCK")
    processes = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = open(path).read().rpartition(")")[2].split()
            processes[int(path.split("/")[2])] = int(fields[1]), sum(int(field) for field in fields[11:15]) / ticks
    total = 0.0
    for pid, (_, spent) in processes.items():
        while pid in processes and pid not in SERVERS:
            pid = processes[pid][0]
        total += spent if pid in SERVERS else 0.0
    return total


def by_turns(ways: dict, rounds: int) -> dict[str, list[float]]:
    """Call each of the ways once a round, and return what they have returned."""
    figures: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in ways if number % 2 else reversed(ways):
            figures[name].append(ways[name]())
    return figures


def run(calls: int = 500) -> None:
    url = os.environ["KAA_URL"] + "/process/interpreter/execute"
    plain = httpx.Client(headers={"Authorization": "Bearer " + os.environ.get("KAA_API_KEY", "")}, timeout=600)
    busy: dict[str, list[float]] = {"httpx": [], "kaa.run": []}

    def timed(name, way):
        def once() -> float:
            began, before = time.perf_counter(), time.thread_time()
            if way() != "1\n":  # refused, on a machine that is too busy
                return once()
            busy[name].append((time.thread_time() - before) * 1000)
            return (time.perf_counter() - began) * 1000

        return once

    ways = {"httpx": lambda: plain.post(url, json={"code": "print(1)"}).json().get("stdout"), "kaa.run": lambda: kaa.run("print(1)").stdout}
    times = by_turns({name: timed(name, way) for name, way in ways.items()}, calls)
    for name, all in times.items():
        p95 = statistics.quantiles(all, n=20)[-1]
        print(f"{name:8} p50 {statistics.median(all):6.3f} ms  p95 {p95:6.3f} ms  processor p50 {statistics.median(busy[name]):.3f} ms")
    for what, all in (("time", times), ("processor time", busy)):
        differences = [one - other for one, other in zip(all["kaa.run"], all["httpx"])]
        print(f"kaa.run adds {statistics.median(differences):.3f} ms p50 of {what}")


def map(programs: int = 20_000, rounds: int = 3) -> None:
    spent: dict[str, list[float]] = {}

    def metered(name, way):
        def once() -> float:
            before = processor_time(), time.process_time()
            rate, count = way()
            server, client = processor_time() - before[0], time.process_time() - before[1]
            spent.setdefault(name, []).append(server / count * 1000)
            if "map" in name:
                spent.setdefault(name + " client", []).append(client / count * 1000)
            return rate

        return once

    def bench(mode: str) -> tuple[float, int]:
        command = [BIN, "bench", "--json", "--mode", mode, "--workers", str(WORKERS), "--duration", str(BENCH), "--warm-up", "0", "--python", ""]
        figures = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["targets"][0]
        return figures["perSecond"], figures["executions"]

    def counted(count) -> tuple[float, int]:
        began = time.perf_counter()
        assert count() == programs
        return programs / (time.perf_counter() - began), programs

    async def as_they_come() -> int:
        async with kaa.AsyncKaa() as client:
            return len([result.index async for result in client.map("print(42)" for _ in range(programs))])

    ways = {
        "kaa bench, sync": lambda: bench("sync"),
        "kaa.map": lambda: counted(lambda: sum(result.ok for result in kaa.map("print(42)" for _ in range(programs)))),
        "kaa bench, async": lambda: bench("async"),
        "AsyncKaa.map": lambda: counted(lambda: asyncio.run(as_they_come())),
    }
    figures = by_turns({name: metered(name, way) for name, way in ways.items()}, rounds)
    for name, all in figures.items():
        each = f"processor time of each: the Kaa {statistics.median(spent[name]):.2f} ms"
        if "map" in name:
            each += f", the client {statistics.median(spent[name + ' client']):.3f} ms"
        print(f"{name:17} {statistics.median(all):6.1f} a second ({' '.join(f'{one:.1f}' for one in all)}); {each}")
    for mapped in ("kaa.map", "AsyncKaa.map"):
        for other in ("kaa bench, sync", "kaa bench, async"):
            ratios = [one / of for one, of in zip(figures[mapped], figures[other])]
            print(f"{mapped} has {statistics.median(ratios):.2f} of the throughput of {other}")
    print(f"memory of the client: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")


class Instant:
    """A session that has the answer at once: with it, a step takes the time of the framework."""

    def __init__(self) -> None:
        self.commands = self
        self.id = "instant"

    def run(self, code, functions=None, **options) -> kaa.Result:
        if functions and "final_answer(" in code:
            functions["final_answer"]("done")
        raw = {"status": "ok", "stdout": "42\n", "stderr": "", "exitCode": 0}
        return kaa.Result(raw, kaa.files.ResultFiles(None, raw))


def agents(steps: int = 20, rounds: int = 3) -> None:
    sys.path.insert(0, str(Path(__file__).parent / "tests-adapters"))
    from loops import LOOPS, Script

    def looped(name: str, instant: bool = False) -> list[tuple[float, float]]:
        loop, language = LOOPS[name]
        script = Script([PROGRAMS[language]] * (steps + 1))
        if name == "Inspect AI":
            loop(None, script, sandbox="local" if instant else "kaa")  # its local sandbox is no instant one: it starts a process
        elif instant:
            loop(Instant(), script)
        else:
            with kaa.Session() as session:
                loop(session, script)
        return script.times[1:]  # the first waits for imports, and for the start of the interpreter

    def executed(name: str) -> list[tuple[float, float]]:
        times, program = [], PROGRAMS[LOOPS[name][1]]
        with kaa.Session() as session:
            execute = session.run if LOOPS[name][1] == "python" else session.commands.run
            for _ in range(steps + 1):
                began, before = time.perf_counter(), time.process_time()
                execute(program)
                times.append((time.perf_counter() - began, time.process_time() - before))
        return times[1:]

    ways = {"a step": looped, "its execution alone": executed, "the framework alone": lambda name: looped(name, instant=True)}
    for name in LOOPS:
        figures: dict = {way: [] for way in ways}
        try:
            for number in range(rounds):
                for way in ways if number % 2 else reversed(ways):
                    figures[way] += ways[way](name)
        except ImportError as error:
            print(f"{name:20} is not measured: {error}")
            continue
        p50 = {way: [statistics.median(each) * 1000 for each in zip(*all)] for way, all in figures.items()}
        words = ", ".join(f"{way} {clock:.2f} ms ({busy:.2f})" for way, (clock, busy) in p50.items())
        (step, _), (alone, _), (framework, _) = p50.values()
        print(f"{name:20} p50 (processor time here): {words};")
        print(f"{'':20} a step is {step - alone:.2f} ms above its execution, and {step - alone - framework:.2f} ms above both", flush=True)


if __name__ == "__main__":
    with server():
        {"run": run, "map": map, "agents": agents}[sys.argv[1]](*[int(word) for word in sys.argv[2:4]])
