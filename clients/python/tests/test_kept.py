"""What stays when its maker goes: volumes, schedules, and sessions of a list."""

import asyncio
import uuid
from datetime import datetime, timezone

import pytest

import kaa
from kaa.options import moment_of


def test_volumes(kaa_client):
    name = f"python:{uuid.uuid4()}"
    with kaa_client.session(persist=name) as session:
        session.run("open('kept.txt', 'w').write('text')")
        volume = kaa_client.volume(name)
        assert volume.session_id == session.id and name in [other.name for other in kaa_client.volumes()]
        with pytest.raises(kaa.Conflict):
            volume.delete()
    while volume.session_id:  # its files are being saved
        volume.refresh()
    assert volume.entries >= 1 and volume.size > 0 and volume.saved_at.tzinfo is timezone.utc
    volume.delete()
    with pytest.raises(kaa.NotFound):
        kaa_client.volume(name)


def test_schedules(kaa_client):
    schedule = kaa_client.create_schedule("print(1)", "0 3 * * *", name="nightly", time_zone="Europe/Berlin", queue="low", envs={"A_B": "1"}, paused=True)
    try:
        assert schedule.name == "nightly" and schedule.paused and schedule.next_runs == []
        schedule.resume()
        assert not schedule.paused and len(schedule.next_runs) == 5 and schedule.next_runs[0] > datetime.now(timezone.utc)
        job = schedule.run()
        assert job.result().stdout == "1\n" and job.record["queue"] == "low"
        schedule.refresh()
        assert schedule.job_ids == [job.id] and schedule.last_error is None
        schedule.replace("print(2)", "@hourly")
        assert schedule.cron == "@hourly" and schedule.name == ""
        schedule.pause()
        assert kaa_client.schedule(schedule.id).paused and schedule.id in [other.id for other in kaa_client.schedules()]
        with pytest.raises(kaa.InvalidRequest):
            kaa_client.create_schedule("1", "never")
    finally:
        schedule.delete()
    with pytest.raises(kaa.NotFound):
        schedule.refresh()


def test_sessions(kaa_client):
    with kaa_client.session(metadata={"list": "yes"}) as session:
        (found,) = kaa_client.sessions(metadata={"list": "yes"})
        assert found.id == session.id and found.run("6 * 7").text == "42"
    assert kaa_client.sessions(metadata={"list": "yes"}) == []


def test_async(kaa_client):
    async def main():
        async with kaa.AsyncKaa(kaa_client.url) as client:
            async with client.session(persist="python:async", metadata={"list": "async"}) as session:
                volume = await client.volume("python:async")
                await volume.refresh()
                assert volume.session_id == session.id and volume.name in [other.name for other in await client.volumes()]
                assert [other.id for other in await client.sessions(metadata={"list": "async"})] == [session.id]
                with pytest.raises(kaa.Conflict):
                    await volume.delete()
            schedule = await client.create_schedule("print(1)", "@daily")
            assert (await (await schedule.run()).result()).stdout == "1\n"
            await schedule.pause()
            await schedule.resume()
            await schedule.replace("print(2)", "@hourly")
            await schedule.refresh()
            assert (await client.schedule(schedule.id)).cron == "@hourly" and schedule.id in [other.id for other in await client.schedules()]
            await schedule.delete()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (None, None),
        ("2026-11-30T08:00:00Z", datetime(2026, 11, 30, 8, tzinfo=timezone.utc)),
        ("2026-11-30T08:00:00.5Z", datetime(2026, 11, 30, 8, 0, 0, 500_000, tzinfo=timezone.utc)),
        ("2026-11-30T08:00:00.123456789Z", datetime(2026, 11, 30, 8, 0, 0, 123_456, tzinfo=timezone.utc)),
    ],
)
def test_moments(text, moment):
    assert moment_of(text) == moment
