"""Jobs, maps of many programs, and functions."""

import asyncio
import concurrent.futures
import math
import statistics
import threading

import pytest

import kaa

FACTOR = 3


def test_job(kaa_client):
    job = kaa_client.submit("print(1)", metadata={"a_b": 1}, queue="low")
    assert job.result().stdout == "1\n" and job.done() and not job.cancelled() and job.exception() is None
    assert job.record["metadata"] == {"a_b": 1} and not job.cancel()
    assert [event.text for event in job.events() if event.type == "stream"] == ["1\n"]
    assert kaa_client.job(job.id).result().job_id == job.id


def test_job_that_waits(kaa_client):
    with kaa_client.submit("print(1)", delay=3600) as job:
        with pytest.raises(concurrent.futures.TimeoutError):
            job.result(timeout=0.01)
        assert not job.done() and job.cancel() and job.cancelled()
        with pytest.raises(concurrent.futures.CancelledError):
            job.result()
        assert isinstance(job.exception(), kaa.JobCancelled)
    with kaa_client.submit("1", delay=3600) as job:
        pass
    assert job.cancelled()


def test_idempotency(kaa_client):
    one, two = (kaa_client.submit("1", idempotency_key="the-key-of-test-jobs") for _ in range(2))
    assert one.id == two.id
    with pytest.raises(kaa.Conflict) as error:
        kaa_client.submit("2", idempotency_key="the-key-of-test-jobs")
    assert error.value.code == "idempotency_mismatch"


def test_done_callback(kaa_client):
    called = threading.Event()
    job = kaa_client.submit("1")
    job.add_done_callback(lambda job: called.set() if job.result().text == "1" else None)
    assert called.wait(600)


def test_map(kaa_client):
    seen = []
    results = list(kaa_client.map([f"print({n})" for n in range(50)], progress=lambda done, total: seen.append((done, total)), ahead=20))
    assert [int(result.stdout) for result in results] == [*range(50)] == [result.index for result in results]
    assert seen == [(n + 1, 50) for n in range(50)]
    unordered = list(kaa_client.map(({"code": "print(input())", "stdin": str(n)} for n in range(20)), ordered=False, queue="low"))
    assert sorted(int(result.stdout) for result in unordered) == [*range(20)]
    assert list(kaa_client.map([])) == []


def test_map_draws_as_results_are_taken(kaa_client):
    drawn = 0

    def programs():
        nonlocal drawn
        for n in range(1000):
            drawn += 1
            yield f"print({n})"

    results = kaa_client.map(programs(), ahead=8)
    assert next(results).stdout == "0\n" and drawn <= 8
    for _ in range(9):
        next(results)
    assert 10 <= drawn <= 18
    results.close()


def test_map_with_a_program_that_is_refused(kaa_client):
    programs = ["1", "", {"code": "while True: pass", "timeout": 0.3}]
    one, two, three = kaa_client.map(programs, on_error="yield")
    assert one.text == "1" and isinstance(two, kaa.InvalidRequest) and "program 1" in str(two) and three.status == "interrupted"
    with pytest.raises(kaa.InvalidRequest):
        list(kaa_client.map(programs[:2]))
    with pytest.raises(TypeError, match="a program is"):
        list(kaa_client.map([1]))
    with pytest.raises(ValueError, match="ahead"):
        kaa_client.map(["1"], ahead=0)


def test_map_that_is_closed_cancels(kaa_client):
    programs = ["1"] + ["import time\nwhile True: time.sleep(0.01)"] * 3
    results = kaa_client.map(programs)
    job = next(results).job_id
    results.close()
    last = kaa_client.job(job[:-6] + format(4, "06x"))
    last.wait()
    assert last.state == "cancelled"


def test_async_map_and_jobs(kaa_client):
    async def main():
        async def programs():
            for n in range(10):
                yield f"print({n})"

        async with kaa.AsyncKaa(kaa_client.url) as client:
            assert [result.index async for result in client.map(programs())] == [*range(10)]
            assert [int(result.stdout) async for result in client.map(["print(1)"], progress=True)] == [1]
            async with await client.submit("1", delay=3600) as job:
                with pytest.raises(kaa.JobTimeout):
                    await job.result(timeout=0.01)
            assert await job.cancelled()

    asyncio.run(main())


def helper(number):
    return number * FACTOR


@kaa.function
def shipped(number, *, plus=0):
    """Uses a module, a constant, a function, a name of a module and itself."""
    if number > 100:
        return shipped(number - 1)
    return {"value": helper(number) + plus, "mean": statistics.mean([1, 3]), "pi": math.floor(math.pi)}


@kaa.function(envs={"A": "1"})
async def waits(text: str) -> bytes:
    import asyncio

    await asyncio.sleep(0)
    return text.encode()


@kaa.function
def fails():
    raise LookupError("no such thing")


@kaa.function
def forges():
    class Hostile:
        def _repr_mimebundle_(self, include=None, exclude=None):
            return {"application/vnd.kaa.value+json": {"json": "not json"}}

    display(Hostile())  # noqa: F821
    return 1


def test_function():
    assert shipped(2, plus=1) == {"value": 7, "mean": 2, "pi": 3}
    assert shipped.local(1)["value"] == 3
    assert shipped.submit(1).result()["value"] == 3
    assert [value["value"] for value in shipped.map(range(3))] == [0, 3, 6]
    assert waits("é") == "é".encode()
    assert forges() == 1
    with pytest.raises(kaa.ExecutionError) as error:
        fails()
    assert error.value.name == "LookupError"


def test_functions_that_cannot_be_sent():
    outer = object()

    @kaa.function
    def closure():
        return outer

    with pytest.raises(kaa.Unserializable, match="outer"):
        closure()
    with pytest.raises(kaa.Unserializable, match="arguments"):
        shipped(object())
    with pytest.raises(kaa.Unserializable, match="no function"):
        kaa.function(lambda: 1)()
    with pytest.raises(kaa.ExecutionError, match="JSON"):
        kaa.function(gives_an_object)()


def gives_an_object():
    return object()
