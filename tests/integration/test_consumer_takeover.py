"""One reader for each stream: who takes over, when, and what of those before."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest
from consuming import GROUP, OPTIONS, STREAM, add, consuming, cut_off, pending
from redis.asyncio import Redis

from consumer import Event
from consumer.errors import NameTaken
from consumer.keys import reader_key, stream_keys
from consumer.reports import Claimed, LostLease, MembersRemoved, Released, Took

SHORT = replace(OPTIONS, lease_s=0.8)


async def test_what_was_left_pending_comes_first_oldest_first_whoever_left_it(
    redis: Redis,
) -> None:
    ids = await add(redis, "a" * 9)
    await redis.xgroup_create(STREAM, GROUP, "0")
    for name in ("dead", "me", "dead"):
        await redis.xreadgroup(GROUP, name, {STREAM: ">"}, count=2)

    async with consuming(redis, name="me") as member:
        await member.handles(ids)

    assert member.handled == ids
    assert (await member.sees(Claimed)).events >= 4
    assert await pending(redis) == []


async def test_entries_of_a_member_that_is_gone_are_claimed_soon_after_its_lease(
    redis: Redis, redis_url: str, tmp_path: Path
) -> None:
    ids = await add(redis, "ab")

    async def never(_: Event) -> None:
        await asyncio.Event().wait()

    async with (
        cut_off(redis_url, tmp_path) as away,
        consuming(away.redis, never, options=SHORT) as lost,
    ):
        await lost.until(lambda: len(lost.begun) == len(ids))
        async with consuming(redis, options=SHORT) as other:
            await asyncio.sleep(0)
            away.cut()
            began = time.monotonic()
            await other.handles(ids)
            took_s = time.monotonic() - began
            # It has noticed by itself that it may go on no more.
            await lost.sees(LostLease)
            removed = await other.sees(MembersRemoved)

    assert took_s < SHORT.lease_s + 1
    assert len(removed.members) == 1
    assert lost.handled == []


async def test_what_somebody_else_was_given_meanwhile_is_taken_from_him(redis: Redis) -> None:
    ids = await add(redis, "a" * 60)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def handler(_: Event) -> None:
        begun.set()
        await go_on.wait()

    async with consuming(redis, handler) as member:
        await begun.wait()
        # It has all in hand that it may have, and does not read.
        ids += await add(redis, "a" * 4, first=61)
        await redis.xreadgroup(GROUP, "by hand", {STREAM: ">"}, count=2)
        go_on.set()
        await member.handles(ids)
    assert sorted(member.handled) == sorted(ids)


async def test_a_long_handler_is_not_robbed_of_its_entries(redis: Redis) -> None:
    ids = await add(redis, "a")

    async def long(_: Event) -> None:
        await asyncio.sleep(SHORT.lease_s * 1.5)

    async with consuming(redis, long, options=SHORT) as member:
        await member.sees(Took)
        async with consuming(redis, options=SHORT) as standby:
            await member.handles(ids)
            assert standby.reports == []
    assert member.begun == ids


async def test_a_member_that_was_frozen_past_its_lease_begins_nothing_more(redis: Redis) -> None:
    ids = await add(redis, "aaa")
    order: list[str] = []

    async def handler(event: Event) -> None:
        order.append(event.id)
        if order == ids[:1]:
            # Neither this member nor its loop does anything meanwhile.
            time.sleep(SHORT.lease_s * 1.5)  # noqa: ASYNC251

    async with consuming(redis, handler, options=SHORT) as member:
        await member.sees(LostLease)
        assert order == ids[:1]
        await member.handles(ids)

    kinds = [type(report) for report in member.reports if isinstance(report, Took | LostLease)]
    assert kinds == [Took, LostLease, Took]
    # The first was handled; nobody else has had it since, and this member knows.
    assert order == ids


async def test_a_standby_takes_over_as_soon_as_the_reader_lets_go(redis: Redis) -> None:
    options = replace(OPTIONS, lease_s=60)
    async with consuming(redis, options=options) as first:
        await first.sees(Took)
        async with consuming(redis, options=SHORT) as standby:
            await first.drain()
            await first.sees(Released)
            await standby.sees(Took, within_s=1)
            await standby.handles(await add(redis, "a"))


async def test_partitions_are_spread_over_the_members_that_are_there(redis: Redis) -> None:
    keys = stream_keys(STREAM, 4)

    async def readers() -> set[str]:
        held = [await redis.get(reader_key(key, GROUP)) for key in keys]
        return {str(one).partition(" ")[0] for one in held}

    async with consuming(redis, partitions=4, name="a", options=SHORT) as first:
        await first.until(lambda: len(first.of(Took)) == 4)
        async with consuming(redis, partitions=4, name="b", options=SHORT) as second:
            await second.until(lambda: len(second.of(Took)) == 2)
            assert await readers() == {"a", "b"}
            for key in keys:
                await add(redis, "ab", stream=key)
            await first.until(lambda: len(first.handled) == 4)
            await second.until(lambda: len(second.handled) == 4)
            await second.drain()
        await first.until(lambda: len(first.of(Took)) == 6)
        assert await readers() == {"a"}
    assert first.of(LostLease) == second.of(LostLease) == []


async def test_of_two_processes_with_one_name_the_older_ends(redis: Redis) -> None:
    async with consuming(redis, name="me", options=SHORT) as older:
        await older.sees(Took)
        async with consuming(redis, name="me", options=SHORT) as newer:
            await newer.sees(Took)
            with pytest.raises(NameTaken):
                await older.until(lambda: False)
