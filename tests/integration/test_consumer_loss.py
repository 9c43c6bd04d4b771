"""Redis loses entries, groups, or everything: nothing is skipped, and nothing begins anew."""

import asyncio
from pathlib import Path

import pytest
from consuming import GROUP, STREAM, add, consuming, pending
from redis.asyncio import Redis

from consumer import Event, FileCheckpoint, Gap
from consumer.errors import FellOff
from consumer.event import Group
from consumer.reports import Away, Duplicates, GapFound, GapHealed, GroupMade, Handled, Lost
from embedded.valkey import Valkey
from outbox.position import Position


async def test_a_group_begins_with_what_the_stream_already_holds(redis: Redis) -> None:
    ids = await add(redis, "abc")
    async with consuming(redis) as member:
        await member.handles(ids)
    assert [made.position for made in member.of(GroupMade)] == [Position(0, 0)]


async def test_a_group_begins_where_it_is_told_to(redis: Redis) -> None:
    ids = await add(redis, "abc")
    async with consuming(redis, start=Position(2, 1)) as member:
        await member.handles(ids[2:])
    assert member.handled == ids[2:]


async def test_entries_that_are_gone_but_pending_are_cleared_and_counted(redis: Redis) -> None:
    ids = await add(redis, "abcd")
    await redis.xgroup_create(STREAM, GROUP, "0")
    await redis.xreadgroup(GROUP, "dead", {STREAM: ">"}, count=2)
    await redis.xreadgroup(GROUP, "me", {STREAM: ">"}, count=2)
    await redis.xdel(STREAM, ids[1], ids[3])

    async with consuming(redis, name="me") as member:
        await member.handles([ids[0], ids[2]])
        await member.until(lambda: sum(lost.events for lost in member.of(Lost)) == 2)
    assert await pending(redis) == []


async def test_a_lost_group_goes_on_from_its_checkpoint_neither_skipping_nor_starting_over(
    redis: Redis, tmp_path: Path
) -> None:
    checkpoint = FileCheckpoint(tmp_path)
    ids = await add(redis, "abcdef")
    async with consuming(redis, checkpoint=checkpoint) as member:
        await member.handles(ids)
    assert await checkpoint.load(GROUP, STREAM) == Position(6, 1)

    # While nobody reads, and put back by the publisher with new events behind.
    await redis.flushall()
    ids = await add(redis, "abcdefgh")
    async with consuming(redis, checkpoint=checkpoint) as member:
        await member.handles(ids[6:])
        # While somebody reads.
        await redis.flushall()
        ids = await add(redis, "abcdefghij")
        await member.handles(ids[6:])

    assert member.handled == ids[6:]
    assert [made.position for made in member.of(GroupMade)] == [Position(6, 1), Position(8, 1)]


async def test_what_comes_again_from_an_old_copy_of_redis_is_not_handled_again(
    redis: Redis,
) -> None:
    ids = await add(redis, "abc")
    async with consuming(redis) as member:
        await member.handles(ids)
        await member.sees(Handled)
        await redis.xgroup_setid(STREAM, GROUP, "1-1")
        more = await add(redis, "ab", first=4)
        await member.handles(more)

    assert member.handled == ids + more
    assert sum(again.events for again in member.of(Duplicates)) == 2
    assert await pending(redis) == []


async def test_effects_that_redis_held_itself_are_made_again(redis: Redis) -> None:
    ids = await add(redis, "abc")
    async with consuming(redis, effects_in_redis=True) as member:
        await member.handles(ids)
        await redis.flushall()
        await add(redis, "abc")
        await member.until(lambda: member.handled == ids * 2)


async def test_a_gap_is_healed_by_who_can_before_anything_behind_it_is_handled(
    redis: Redis,
) -> None:
    ids = await add(redis, "abcdef")
    await redis.xgroup_create(STREAM, GROUP, ids[0])
    await redis.xtrim(STREAM, minid=ids[3], approximate=False)
    gaps: list[Gap] = []

    async def on_gap(gap: Gap) -> Position:
        gaps.append(gap)
        return Position(5, 1)

    async with consuming(redis, on_gap=on_gap) as member:
        await member.handles(ids[5:])

    assert gaps == [Gap(STREAM, after=Position(1, 1), first=Position(4, 1))]
    assert member.handled == ids[5:]
    assert len(member.of(GapHealed)) == 1


async def test_what_healing_has_covered_is_not_handled_though_it_is_pending(redis: Redis) -> None:
    ids = await add(redis, "abcdef")
    await redis.xgroup_create(STREAM, GROUP, "0")
    await redis.xreadgroup(GROUP, "dead", {STREAM: ">"}, count=4)
    await redis.xtrim(STREAM, minid=ids[2], approximate=False)

    async def on_gap(gap: Gap) -> Position:
        assert gap == Gap(STREAM, after=Position(1, 0), first=Position(3, 1))
        return Position(5, 1)

    async with consuming(redis, on_gap=on_gap) as member:
        await member.handles(ids[5:])
    assert member.handled == ids[5:]
    assert await pending(redis) == []


async def test_a_gap_under_way_is_found_and_noted_until_it_is_healed(redis: Redis) -> None:
    ids = await add(redis, "a")
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Event) -> None:
        begun.set()
        await go_on.wait()

    # Nobody can heal it: each member that comes ends with it.
    async with consuming(redis, slow, lanes=1) as member:
        await begun.wait()
        await add(redis, "ab" * 60, first=2)
        await redis.xtrim(STREAM, minid="110-1", approximate=False)
        go_on.set()
        with pytest.raises(FellOff):
            await member.until(lambda: False)
    async with consuming(redis) as other:
        with pytest.raises(FellOff):
            await other.until(lambda: False)
    assert other.handled == []

    async def take_what_is_there(_: Gap) -> None:
        return None

    async with consuming(redis, on_gap=take_what_is_there) as third:
        await third.handles([f"{number}-1" for number in range(110, 122)])
    assert ids[0] in member.handled


async def test_a_stream_that_was_trimmed_behind_its_group_has_no_gap(redis: Redis) -> None:
    ids = await add(redis, "abc")
    async with consuming(redis) as member:
        await member.handles(ids)
    await redis.xtrim(STREAM, maxlen=0, approximate=False)
    more = await add(redis, "ab", first=4)
    async with consuming(redis) as member:
        await member.handles(more)
    assert member.of(GapFound) == []


async def test_redis_may_be_away_for_as_long_as_it_likes(own_redis: Redis, valkey: Valkey) -> None:
    ids = await add(own_redis, "ab")
    async with consuming(own_redis) as member:
        await member.handles(ids)
        valkey.kill()
        await member.sees(Away)
        valkey.start()
        ids = await add(own_redis, "abcd")
        await member.handles(ids)
    assert member.handled == ids


async def test_a_group_that_begins_with_a_snapshot_of_now_misses_nothing_of_a_new_stream(
    redis: Redis,
) -> None:
    async def snapshot(_: Group) -> Position:
        return Position(2, 1)

    async with consuming(redis, start=snapshot) as member:
        await member.sees(GroupMade)
        ids = await add(redis, "abcd", first=3)
        await member.handles(ids)
    assert member.of(GapFound) == []


async def test_a_group_that_begins_at_an_old_position_may_have_missed_what_came_after_it(
    redis: Redis,
) -> None:
    async with consuming(redis, start=Position(2, 1)) as member:
        await member.sees(GroupMade)
        await add(redis, "abcd", first=5)
        with pytest.raises(FellOff):
            await member.until(lambda: False)
    assert member.handled == []
