"""Measures the client against the Kaa at KAA_URL.

python measure.py run [CALLS]       kaa.run beside a plain call of httpx, by turns; also the processor time of the client alone
python measure.py map [PROGRAMS]    kaa.map of small programs beside one batch of them, by turns, and the memory that it takes
"""

import os
import resource
import statistics
import sys
import time

import httpx

import kaa


def run(calls: int = 500) -> None:
    url = os.environ.get("KAA_URL", "http://127.0.0.1:8080") + "/process/interpreter/execute"
    plain = httpx.Client(headers={"Authorization": "Bearer " + os.environ.get("KAA_API_KEY", "")}, timeout=600)
    times: dict[str, list[float]] = {"httpx": [], "kaa.run": []}
    own: dict[str, list[float]] = {"httpx": [], "kaa.run": []}
    ways = [("httpx", lambda: plain.post(url, json={"code": "print(1)"}).json()["stdout"]), ("kaa.run", lambda: kaa.run("print(1)").stdout)]
    for call in range(calls):
        for name, way in ways if call % 2 else reversed(ways):
            began, busy = time.perf_counter(), time.thread_time()
            assert way() == "1\n"
            own[name].append((time.thread_time() - busy) * 1000)
            times[name].append((time.perf_counter() - began) * 1000)
    for name, all in times.items():
        busy = statistics.median(own[name])
        print(f"{name:8} p50 {statistics.median(all):6.3f} ms  p95 {statistics.quantiles(all, n=20)[-1]:6.3f} ms  processor p50 {busy:.3f} ms")
    for what, all in (("time", times), ("processor time", own)):
        print(f"kaa.run adds {statistics.median(all['kaa.run']) - statistics.median(all['httpx']):.3f} ms of {what}")


def map(programs: int = 20_000) -> None:
    url = os.environ.get("KAA_URL", "http://127.0.0.1:8080") + "/v1/batches"
    plain = httpx.Client(headers={"Authorization": "Bearer " + os.environ.get("KAA_API_KEY", "")}, timeout=600)

    def batch() -> int:
        lines = "".join(f'{{"code":"print({n})"}}\n' for n in range(programs))
        id = plain.post(url, content=lines).json()["id"]
        with plain.stream("GET", f"{url}/{id}/results?follow=true&order=completion") as answer:
            return sum(1 for line in answer.iter_lines() if line.startswith('{"index"'))

    def mapped() -> int:
        return sum(1 for _ in kaa.map((f"print({n})" for n in range(programs)), progress=True))

    for name, way in (("one batch", batch), ("kaa.map", mapped)) * 2:
        began, busy = time.perf_counter(), time.process_time()
        done = way()
        seconds = time.perf_counter() - began
        print(f"{name:9} {done} programs in {seconds:.1f} s: {done / seconds:.0f} a second; processor of the client {time.process_time() - busy:.1f} s")
    print(f"memory of the client: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")


if __name__ == "__main__":
    {"run": run, "map": map}[sys.argv[1]](*[int(word) for word in sys.argv[2:3]])
