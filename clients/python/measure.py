"""Measures the client against the Kaa at KAA_URL.

python measure.py run [CALLS]       kaa.run beside a plain call of httpx, by turns
python measure.py map [PROGRAMS]    kaa.map of small programs, and the memory that it takes
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
    plain = httpx.Client(headers={"Authorization": "Bearer " + os.environ.get("KAA_API_KEY", "")})
    times: dict[str, list[float]] = {"httpx": [], "kaa.run": []}
    ways = [("httpx", lambda: plain.post(url, json={"code": "print(1)"}).json()["stdout"]), ("kaa.run", lambda: kaa.run("print(1)").stdout)]
    for call in range(calls):
        for name, way in ways if call % 2 else reversed(ways):
            began = time.perf_counter()
            assert way() == "1\n"
            times[name].append((time.perf_counter() - began) * 1000)
    for name, all in times.items():
        print(f"{name:8} p50 {statistics.median(all):6.3f} ms  p95 {statistics.quantiles(all, n=20)[-1]:6.3f} ms")
    print(f"kaa.run adds {statistics.median(times['kaa.run']) - statistics.median(times['httpx']):.3f} ms")


def map(programs: int = 20_000) -> None:
    began = time.perf_counter()
    done = sum(1 for _ in kaa.map((f"print({n})" for n in range(programs)), progress=True))
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    cpu = time.process_time()
    print(f"{done} programs in {seconds:.1f} s: {done / seconds:.0f} a second; the client took {cpu:.1f} s of a processor and {peak} MiB")


if __name__ == "__main__":
    {"run": run, "map": map}[sys.argv[1]](*[int(word) for word in sys.argv[2:3]])
