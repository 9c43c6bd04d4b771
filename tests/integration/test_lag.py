"""How far a group is behind is counted, not guessed, as far as counting is cheap."""

import time
from typing import Any

import pytest
from consumed import STREAM, fields_of
from redis.asyncio import Redis

from consumer.watching import lag
from consumer.watching.lag import Behind, Lag

_HOUR_S = 3600


async def fill(redis: Redis, count: int, *, age_s: float) -> None:
    """So many entries, the oldest of them that old."""
    first_ms = int((time.time() - age_s) * 1000)
    pipeline: Any = redis.pipeline(transaction=False)
    for number in range(count):
        pipeline.xadd(STREAM, fields_of(number, "a"), id=f"{first_ms}-{number}")
    await pipeline.execute()


async def read(redis: Any, count: int) -> list[str]:  # noqa: ANN401 - as of redis-py
    """The IDs of so many entries, given to a member."""
    await redis.xreadgroup("g", "m", {STREAM: ">"}, count=count)
    pending = await redis.xpending_range(STREAM, "g", "-", "+", count)
    return [entry["message_id"] for entry in pending]


async def test_a_group_that_is_not_there_has_no_lag(redis: Redis) -> None:
    assert await Lag(redis, STREAM, "g").measured() is None
    await fill(redis, 1, age_s=0)
    assert await Lag(redis, STREAM, "g").measured() is None


async def test_what_is_unread_and_what_is_not_acknowledged_is_counted(redis: Redis) -> None:
    await fill(redis, 30, age_s=_HOUR_S)
    await redis.xgroup_create(STREAM, "g", id="0")
    behind = await Lag(redis, STREAM, "g").measured()
    assert behind is not None
    assert behind.entries == 30
    assert behind.seconds == pytest.approx(_HOUR_S, abs=5)

    ids = await read(redis, 30)
    await redis.xack(STREAM, "g", *ids[:25])
    behind = await Lag(redis, STREAM, "g").measured()
    assert behind is not None
    assert behind.entries == 5
    assert behind.seconds == pytest.approx(_HOUR_S, abs=5)

    await redis.xack(STREAM, "g", *ids)
    assert await Lag(redis, STREAM, "g").measured() == Behind(0, 0.0)


async def test_a_hole_in_the_stream_does_not_make_the_count_wrong(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag, "_PAGE", 10)
    await fill(redis, 35, age_s=0)
    await redis.xgroup_create(STREAM, "g", id="0")
    ids = await read(redis, 5)
    ms, _, number = ids[-1].partition("-")
    await redis.xdel(STREAM, f"{ms}-{int(number) + 3}")
    behind = await Lag(redis, STREAM, "g").measured()
    assert behind is not None
    assert behind.entries == 34
    assert len(ids) == 5


async def test_who_is_far_behind_is_not_counted_all_the_time(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(lag, "_PAGE", 10)
    await fill(redis, 35, age_s=0)
    await redis.xgroup_create(STREAM, "g", id="0")
    measure = Lag(redis, STREAM, "g", clock=lambda: now[0])
    counted = []
    for now[0] in (100.0, 104.0, 106.0):
        behind = await measure.measured()
        counted.append(behind and behind.entries)
    assert counted == [35, None, 35]


@pytest.mark.parametrize("each_redis_server", ["valkey", "redis-6.2"], indirect=True)
async def test_far_behind_is_what_the_server_says_or_unknown(
    each_redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag, "_PAGE", 10)
    monkeypatch.setattr(lag, "MOST", 20)
    async with Redis.from_url(each_redis_url, decode_responses=True) as redis:
        await fill(redis, 50, age_s=0)
        await redis.xgroup_create(STREAM, "g", id="0")
        behind = await Lag(redis, STREAM, "g").measured()
        version = (await redis.info("server"))["redis_version"]
    assert behind is not None
    assert behind.entries == (None if version.startswith("6.") else 50)
