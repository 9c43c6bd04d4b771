"""What becomes of events that a handler cannot handle."""

import asyncio
from dataclasses import replace

import pytest
from consuming import GROUP, OPTIONS, STREAM, add, consuming, pending
from redis.asyncio import Redis

from consumer import AfterDeadLetter, Event, Reject, Retry
from consumer.keys import begun_key
from consumer.letters.dead_letters import DeadLetters, Reason
from consumer.reports import DeadLetter, Retried


async def letters(redis: Redis) -> list[tuple[str, Reason]]:
    """The events that were set aside, and why."""
    found = DeadLetters(redis, STREAM, GROUP).letters()
    return [(letter.event_id, letter.failure.reason) async for letter in found]


async def test_after_its_attempts_an_event_is_set_aside_and_its_entity_goes_on(
    redis: Redis,
) -> None:
    ids = await add(redis, "abaa")

    async def handler(event: Event) -> None:
        if event.id == ids[0]:
            raise RuntimeError("never\nand what the payload says")

    async with consuming(redis, handler, options=replace(OPTIONS, attempts=3)) as member:
        await member.handles(ids[1:])
        await member.until(lambda: len(member.begun) == 6)

    assert await letters(redis) == [(ids[0], Reason.ATTEMPTS)]
    assert await pending(redis) == []
    assert [retried.attempt for retried in member.of(Retried)] == [1, 2]
    assert member.handled.index(ids[2]) < member.handled.index(ids[3])


async def test_a_parked_entity_waits_in_order_and_others_flow(redis: Redis) -> None:
    ids = await add(redis, "abaca")
    options = replace(OPTIONS, attempts=1, after_dead_letter=AfterDeadLetter.PARK)

    async def handler(event: Event) -> None:
        if event.id == ids[0]:
            raise RuntimeError("never")

    async with consuming(redis, handler, options=options) as member:
        await member.until(lambda: len(member.of(DeadLetter)) == 3)
        await member.handles([ids[1], ids[3]])
    # Whoever reads next knows of it.
    more = await add(redis, "ab", first=6)
    async with consuming(redis, options=options) as other:
        await other.handles(more[1:])
        await other.until(lambda: len(other.of(DeadLetter)) == 1)

    assert await letters(redis) == [
        (ids[0], Reason.ATTEMPTS),
        *((event_id, Reason.PARKED) for event_id in (ids[2], ids[4], more[0])),
    ]
    assert await pending(redis) == []
    assert other.handled == more[1:]


async def test_a_handler_may_reject_an_event_and_may_ask_for_it_later(redis: Redis) -> None:
    ids = await add(redis, "ab")
    tried_at: list[float] = []

    async def handler(event: Event) -> None:
        if event.entity_id == "a":
            raise Reject("its title is empty")
        tried_at.append(asyncio.get_running_loop().time())
        if len(tried_at) == 1:
            raise Retry(after=0.2)

    async with consuming(redis, handler) as member:
        await member.handles(ids[1:])
        await member.sees(DeadLetter)

    assert await letters(redis) == [(ids[0], Reason.REJECTED)]
    assert member.begun.count(ids[0]) == 1
    assert tried_at[1] - tried_at[0] == pytest.approx(0.2, abs=0.1)


async def test_an_event_that_its_readers_died_of_is_set_aside_and_no_innocent_one(
    redis: Redis,
) -> None:
    ids = await add(redis, "abc")
    await redis.xgroup_create(STREAM, GROUP, "0")
    await redis.xreadgroup(GROUP, "dead", {STREAM: ">"})
    for event_id in ids:
        await redis.xclaim(STREAM, GROUP, "dead", 0, [event_id], retrycount=9, justid=True)
    # It was begun alone, as often as it may.
    await redis.set(begun_key(STREAM, GROUP), f"{ids[0]} {OPTIONS.attempts}")
    under_way = 0

    async def handler(_: Event) -> None:
        nonlocal under_way
        under_way += 1
        assert under_way == 1
        await asyncio.sleep(0)
        under_way -= 1

    async with consuming(redis, handler, lanes=100) as member:
        await member.handles(ids[1:])

    assert await letters(redis) == [(ids[0], Reason.DIED)]
    assert member.handled == ids[1:]
    assert await redis.get(begun_key(STREAM, GROUP)) == f"{ids[2]} 1"
