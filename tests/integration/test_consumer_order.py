"""Events of one entity one after another, others side by side; acknowledged when handled."""

import asyncio
from collections import defaultdict

from consuming import OPTIONS, STREAM, add, consuming, pending
from redis.asyncio import Redis

from consumer import Event, Options
from consumer.reports import BatchRetried, Handled, Retried


async def test_events_of_an_entity_are_handled_one_after_another_whatever_the_lanes(
    redis: Redis,
) -> None:
    ids = await add(redis, "abcdefabcabcaabbcc" * 10)
    under_way: set[str] = set()
    order: dict[str, list[int]] = defaultdict(list)

    async def handler(event: Event) -> None:
        assert event.entity_id not in under_way
        under_way.add(event.entity_id)
        await asyncio.sleep(0)
        order[event.entity_id].append(event.version)
        under_way.remove(event.entity_id)

    async with consuming(redis, handler, lanes=5) as member:
        await member.handles(ids)

    assert all(versions == sorted(versions) for versions in order.values())
    assert len(member.handled) == len(ids)


async def test_while_one_entity_is_handled_others_are(redis: Redis) -> None:
    ids = await add(redis, "ab" * 3)
    others = asyncio.Event()

    async def handler(event: Event) -> None:
        if event.entity_id == "a":
            await others.wait()

    # Of two entities, both may be in one lane: of a hundred lanes hardly.
    async with consuming(redis, handler, lanes=100) as member:
        await member.handles(ids[1::2])
        assert member.handled == ids[1::2]
        others.set()
        await member.handles(ids)


async def test_an_event_is_acknowledged_only_after_its_handler_has_returned(redis: Redis) -> None:
    ids = await add(redis, "ab")
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def handler(event: Event) -> None:
        if event.entity_id == "a":
            begun.set()
            await go_on.wait()

    async with consuming(redis, handler, lanes=100) as member:
        await begun.wait()
        await member.sees(Handled)
        assert await pending(redis) == ids[:1]
        go_on.set()
        await member.until(lambda: sum(one.events for one in member.of(Handled)) == len(ids))
        assert await pending(redis) == []


async def test_an_entity_that_waits_for_a_retry_holds_up_nobody_else(redis: Redis) -> None:
    ids = await add(redis, "abaabab")
    others = asyncio.Event()

    async def handler(event: Event) -> None:
        if event.entity_id == "a" and not others.is_set():
            raise RuntimeError("not yet")
        if event.id == ids[-1]:
            others.set()

    options = Options(attempts=1000, backoff_base_s=0.01, backoff_cap_s=0.02)
    # One lane, so that it is the holding that lets the others pass.
    async with consuming(redis, handler, lanes=1, options=options) as member:
        await member.handles(ids)

    assert member.handled == [ids[1], ids[4], ids[6], ids[0], ids[2], ids[3], ids[5]]
    assert {retried.event.id for retried in member.of(Retried)} == {ids[0]}


async def test_a_handler_that_lets_its_own_task_be_cancelled_has_failed(redis: Redis) -> None:
    ids = await add(redis, "aa")
    tries = 0

    async def handler(_: Event) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise asyncio.CancelledError

    async with consuming(redis, handler) as member:
        await member.handles(ids)

    assert member.handled == ids


async def test_a_drain_finishes_what_is_handled_and_leaves_the_rest_as_new(redis: Redis) -> None:
    ids = await add(redis, "aaab")
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def handler(event: Event) -> None:
        if event.entity_id == "a":
            begun.set()
            await go_on.wait()

    async with consuming(redis, handler, lanes=100) as member:
        await begun.wait()
        await member.handles(ids[3:])
        asyncio.get_running_loop().call_later(0.1, go_on.set)
        await member.drain()

    assert member.handled == [ids[3], ids[0]]
    left = await redis.xpending_range(STREAM, "search", "-", "+", 10)
    assert [(entry["message_id"], entry["times_delivered"]) for entry in left] == [
        (ids[1], 0),
        (ids[2], 0),
    ]
    async with consuming(redis) as other:
        await other.until(lambda: bool(other.handled))
        assert other.handled[0] == ids[1]


async def test_a_batch_handler_gets_whole_reads_in_order_until_it_has_taken_them(
    redis: Redis,
) -> None:
    ids = await add(redis, "abc" * 15)
    taken: list[list[str]] = []
    tries = 0

    async def batch_handler(events: list[Event]) -> None:
        nonlocal tries
        tries += 1
        if tries == 2:
            raise RuntimeError("not yet")
        taken.append([event.id for event in events])

    async with consuming(redis, batch_handler=batch_handler) as member:
        await member.until(lambda: sum(map(len, taken)) == len(ids))
        await member.until(lambda: sum(one.events for one in member.of(Handled)) == len(ids))

    assert taken == [ids[:20], ids[20:40], ids[40:]]
    [retried] = member.of(BatchRetried)
    assert retried.events == OPTIONS.batch
    assert await pending(redis) == []
