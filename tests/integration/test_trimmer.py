"""Trimming on real servers: by age, to a budget, and never in silence past what a group needs."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import asyncpg
import pytest
from appending import client_of
from publishing import KEY, OnePass, entries, outbox_pool, write
from redis.asyncio import Redis
from structlog.testing import capture_logs

from embedded.valkey import Valkey
from outbox.errors import StreamRefused, StreamUnavailable
from outbox.position import ORIGIN, Position
from publisher.store.stream import EventStream
from publisher.survey.view import look
from publisher.trim.trimmer import Loss, Trimmed, Trimmer
from publisher.trim.trimming import Because, Limits

Client: TypeAlias = Any
"""redis-py types every answer as all that any of its settings could make of it."""

HOUR_MS = 3_600_000
NOW_MS = 1795347471008
ROOMY = 10**12
PAYLOAD = "x" * 200
NODE = 100
"""An approximate trim may leave so many entries that could have gone."""


@pytest.fixture
async def redis(each_redis_url: str) -> AsyncIterator[Client]:
    """A client as the publisher's is, on a server without a key."""
    async with client_of(each_redis_url) as client:
        await client.config_resetstat()
        yield client


def trimmer(redis: Redis, *, hours: int = 24, budget_bytes: int = ROOMY) -> Trimmer:
    limits = Limits(retention_ms=hours * HOUR_MS, budget_bytes=budget_bytes)
    return Trimmer(redis, KEY, limits, clock=lambda: NOW_MS / 1000)


async def fill(redis: Client, count: int, *, hours_old: float) -> list[str]:
    """Add *count* entries, a millisecond apart; their IDs."""
    start = NOW_MS - int(hours_old * HOUR_MS)
    ids = [f"{start + number}-0" for number in range(count)]
    for page in range(0, count, 1000):
        pipe = redis.pipeline(transaction=False)
        for id_ in ids[page : page + 1000]:
            pipe.xadd(KEY, {"payload": PAYLOAD}, id=id_)
        await pipe.execute()
    return ids


async def read(redis: Client, group: str, count: int, *, ack: bool = True) -> list[str]:
    ids: list[str] = []
    while len(ids) < count:
        answer = await redis.xreadgroup(group, "one", {KEY: ">"}, count=count - len(ids))
        ids += [id_ for id_, _ in answer[0][1]]
    if ack:
        await redis.xack(KEY, group, *ids)
    return ids


async def ids_left(redis: Redis) -> list[str]:
    return [id_ for id_, _ in await entries(redis)]


async def test_what_is_older_than_the_retention_goes_and_nothing_else(redis: Client) -> None:
    old, young = await fill(redis, 1000, hours_old=30), await fill(redis, 1000, hours_old=2)
    trimmed = await trimmer(redis).trim()
    left = await ids_left(redis)
    assert left[-1000:] == young
    assert len(left) < 1000 + NODE
    assert trimmed == Trimmed(len(old) + len(young) - len(left), Because.AGE)


async def test_there_may_be_no_stream_yet(redis: Client) -> None:
    assert await trimmer(redis).trim() == Trimmed(0, Because.NOTHING)


async def test_no_single_command_removes_more_than_ten_thousand(redis: Client) -> None:
    await fill(redis, 35_000, hours_old=30)
    trimmed = await trimmer(redis).trim()
    stats = await redis.info("commandstats")
    assert trimmed.removed > 35_000 - NODE
    assert stats["cmdstat_xtrim"]["calls"] >= 4


@pytest.mark.parametrize("ack", [True, False], ids=["unread", "not acknowledged"])
async def test_what_a_group_needs_stays_however_old_it_is(redis: Client, ack: bool) -> None:  # noqa: FBT001
    ids = await fill(redis, 1000, hours_old=30)
    await redis.xgroup_create(KEY, "slow", "0")
    await redis.xgroup_create(KEY, "level", "$")
    given = await read(redis, "slow", 500, ack=ack)
    if not ack:
        await redis.xack(KEY, "slow", *given[:300])
    needed = ids[500:] if ack else ids[300:]
    trimmed = await trimmer(redis).trim()
    left = await ids_left(redis)
    assert left[-len(needed) :] == needed
    assert len(left) < len(needed) + NODE
    assert (trimmed.because, trimmed.held_by) == (Because.AGE, ("slow",))


async def test_a_group_that_is_level_holds_nothing(redis: Client) -> None:
    await fill(redis, 1000, hours_old=30)
    await redis.xgroup_create(KEY, "level", "0")
    await read(redis, "level", 1000)
    trimmed = await trimmer(redis).trim()
    assert await ids_left(redis) == []
    assert trimmed == Trimmed(1000, Because.AGE)


async def test_what_a_group_has_lost_already_does_not_hold_the_rest(redis: Client) -> None:
    await fill(redis, 1000, hours_old=30)
    await redis.xgroup_create(KEY, "crashed", "0")
    await read(redis, "crashed", 500, ack=False)
    await redis.xgroup_setid(KEY, "crashed", "$")
    await redis.xtrim(KEY, maxlen=500, approximate=False)
    assert (await trimmer(redis).trim()).held_by == ()
    assert await ids_left(redis) == []


async def test_who_holds_the_stream_is_said_once_and_when_it_ends(redis: Client) -> None:
    await fill(redis, 1000, hours_old=30)
    await redis.xgroup_create(KEY, "slow", "0")
    trim = trimmer(redis).trim
    with capture_logs() as logs:
        for _ in range(3):
            await trim()
        await read(redis, "slow", 1000)
        await trim()
    said = [(line["event"], line.get("groups")) for line in logs if line["log_level"] != "debug"]
    assert said == [("stream.held", ["slow"]), ("stream.released", None)]


async def test_over_the_budget_no_more_goes_than_must(redis: Client) -> None:
    await fill(redis, 10_000, hours_old=1)
    budget = (await look(redis, KEY)).memory_bytes * 3 // 4
    trimmed = await trimmer(redis, budget_bytes=budget).trim()
    assert (trimmed.because, trimmed.lost) == (Because.MEMORY, ())
    assert 2400 < trimmed.removed < 2600
    assert len(await ids_left(redis)) == 10_000 - trimmed.removed
    assert (await look(redis, KEY)).memory_bytes < budget * 1.02


async def test_a_spent_budget_takes_from_the_slowest_and_says_how_much(redis: Client) -> None:
    ids = await fill(redis, 10_000, hours_old=1)
    for name in ("stopped", "crashed", "slow", "level"):
        await redis.xgroup_create(KEY, name, "0")
    await read(redis, "level", 10_000)
    await read(redis, "slow", 6_000)
    await redis.xack(KEY, "crashed", *(await read(redis, "crashed", 6_000, ack=False))[100:])
    await read(redis, "stopped", 1_000)
    budget = (await look(redis, KEY)).entries_bytes * 3 // 4
    with capture_logs() as logs:
        trimmed = await trimmer(redis, budget_bytes=budget).trim()
    first = (await ids_left(redis))[0]
    gone = ids.index(first)
    assert trimmed.removed == gone
    assert trimmed.because == Because.OVER_BUDGET
    assert trimmed.lost == (Loss("crashed", 0, 100), Loss("stopped", gone - 1000, 0))
    missed = [line for line in logs if line["event"] == "group.missed"]
    assert [(line["group"], line["unread"]) for line in missed] == [
        ("crashed", 0),
        ("stopped", gone - 1000),
    ]


async def test_what_groups_owe_is_not_taken_for_entries(redis: Client) -> None:
    await fill(redis, 2000, hours_old=1)
    alone = (await look(redis, KEY)).entries_bytes
    for number in range(5):
        await redis.xgroup_create(KEY, f"never acknowledges {number}", "0")
        await read(redis, f"never acknowledges {number}", 2000, ack=False)
    view = await look(redis, KEY)
    assert view.memory_bytes > 2 * alone
    assert 0.75 * alone < view.entries_bytes < 1.25 * alone
    assert (await trimmer(redis, budget_bytes=2 * alone).trim()).removed == 0


@pytest.mark.parametrize("seed", range(8))
async def test_losses_are_counted_exactly_whatever_the_groups_have_done(
    redis: Client, seed: int
) -> None:
    dice = random.Random(seed)  # noqa: S311
    ids = await fill(redis, 3000, hours_old=1)
    needed: dict[str, set[str]] = {}
    for number in range(dice.randint(1, 5)):
        name = f"group {number}"
        await redis.xgroup_create(KEY, name, "0")
        given = await read(redis, name, dice.choice([0, dice.randint(1, 2999), 3000]), ack=False)
        settled = [id_ for id_ in given if dice.random() < 0.9]
        if settled:
            await redis.xack(KEY, name, *settled)
        needed[name] = set(ids) - set(settled)
    share = dice.uniform(0.1, 0.95)
    budget = int((await look(redis, KEY)).entries_bytes * share)
    trimmed = await trimmer(redis, budget_bytes=budget).trim()
    gone = set(ids) - set(await ids_left(redis))
    assert trimmed.removed == len(gone)
    lost = {name: len(gone & ids) for name, ids in needed.items() if gone & ids}
    assert {loss.group: loss.unread + loss.unacknowledged for loss in trimmed.lost} == lost


async def test_a_group_that_reads_while_the_stream_is_trimmed_gets_everything(
    redis: Client,
) -> None:
    ids = await fill(redis, 20_000, hours_old=30)
    await redis.xgroup_create(KEY, "busy", "0")
    trim, done, removed = trimmer(redis).trim, asyncio.Event(), 0

    async def keep_trimming() -> None:
        nonlocal removed
        while not done.is_set():
            trimmed = await trim()
            removed += trimmed.removed
            assert trimmed.lost == ()

    async def keep_reading() -> list[str]:
        given: list[str] = []
        while len(given) < len(ids):
            given += await read(redis, "busy", min(100, len(ids) - len(given)))
        done.set()
        return given

    given, _ = await asyncio.gather(keep_reading(), keep_trimming())
    assert given == ids
    assert removed > 0


@pytest.mark.parametrize("fresh", [False, True], ids=["the same publisher", "one that starts then"])
async def test_publishing_goes_on_after_everything_was_trimmed(
    redis: Client,
    connection: asyncpg.Connection,
    database: str,
    fresh: bool,  # noqa: FBT001
) -> None:
    go_on = asyncio.Event()

    async with outbox_pool(database) as pool:
        one_pass = OnePass(pool, redis)
        await write(connection, "before", 25)
        await one_pass.publish(go_on)
        top = await EventStream(redis, KEY).top()
        later = Trimmer(redis, KEY, Limits(0, ROOMY), clock=lambda: top.ms / 1000 + 60)
        assert (await later.trim()).removed == 25
        await write(connection, "after", 2)
        await (OnePass(pool, redis) if fresh else one_pass).publish(go_on)
    found = await entries(redis)
    assert [fields["entityId"] for _, fields in found] == ["after", "after"]
    assert all(Position.parse(id_) > top > ORIGIN for id_, _ in found)


async def test_what_redis_answers_has_a_name(redis: Client) -> None:
    await redis.set(KEY, "a string")
    with pytest.raises(StreamRefused) as refused:
        await trimmer(redis).trim()
    assert refused.value.reason == "WRONGTYPE"


async def test_a_server_that_is_away_is_said_to_be(
    each_redis_server: Valkey, redis: Client
) -> None:
    each_redis_server.stop()
    with pytest.raises(StreamUnavailable):
        await trimmer(redis).trim()
