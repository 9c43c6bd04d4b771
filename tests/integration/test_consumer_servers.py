"""Each server that there is, each protocol, a cluster, and a publisher beside."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from appending import AT_MS, as_entries, batch, client_of, deliver
from clustering import Cluster, cluster_of_three
from consuming import GROUP, STREAM, acknowledged, add, consuming
from publishing import entries
from redis.asyncio import Redis

from consumer.errors import LeaseLost
from consumer.event import Group
from consumer.keys import reader_key, stream_keys
from consumer.reading.group import StreamGroup
from consumer.reading.lease import Lease, Member
from consumer.reading.link import Link
from consumer.reports import GroupMade, Took
from outbox.position import ORIGIN
from publisher.errors import StreamBehind
from publisher.store.stream import EventStream

ME, OTHER = Member("me", "1"), Member("somebody else", "1")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with cluster_of_three(tmp_path) as formed:
        yield formed


@asynccontextmanager
async def group_of(redis: Redis, member: Member = ME) -> AsyncIterator[StreamGroup]:
    """The group, as the *member* that reads it."""
    group, reading, asking = Group(STREAM, GROUP), Link(redis, STREAM), Link(redis, STREAM)
    try:
        lease = Lease(asking, group, member, 60)
        assert await lease.take()
        yield StreamGroup(reading, asking, group, member)
        await lease.release()
    finally:
        await reading.close()
        await asking.close()


@pytest.mark.parametrize("protocol", [2, 3])
async def test_every_server_is_understood_in_every_protocol(
    each_redis_url: str, protocol: int
) -> None:
    async with (
        Redis.from_url(each_redis_url, decode_responses=True, protocol=protocol) as redis,
        group_of(redis) as group,
    ):
        await group.make(ORIGIN, holds_all=True)
        await group.make(ORIGIN, holds_all=True)
        ids = await add(redis, "abcdefghij")
        await redis.xreadgroup(GROUP, "dead", {STREAM: ">"}, count=4)
        await redis.xdel(STREAM, ids[1])

        read = await group.read(3)
        assert read is not None
        assert [event.id for event in read] == ids[4:7]
        assert [event.entity_id for event in read] == ["e", "f", "g"]
        await group.wait(0.01)
        read = await group.read(2)
        assert read is not None
        assert [event.id for event in read] == ids[7:9]
        await asyncio.sleep(0.002)
        strays, removed = await group.forget_members(0)
        assert (strays, removed) == (4, [])
        gone = await group.claim()
        first = await group.pending(b"0-0", 5)
        rest = await group.pending(first.after or b"", 5)
        await group.give_back([event.raw_id for event in rest.events])
        lost = [*first.lost, *rest.lost]
        # From version 7 on the server clears what is gone when it is claimed.
        assert len(gone) + len(lost) == 1
        found = [event.id for event in [*first.events, *rest.events]]
        assert found == [ids[0], *ids[2:9]]
        assert {event.deliveries for event in first.events} == {2}
        await group.acknowledge([*map(str.encode, ids[:9])])
        await asyncio.sleep(0.002)
        assert await group.forget_members(0) == (0, ["dead"])
        view = await group.view()
        assert (str(view.delivered), str(view.last), view.pending) == (ids[8], ids[9], 0)
        # It was frozen, and somebody else has come and gone.
        await redis.delete(reader_key(STREAM, GROUP))
        async with group_of(redis, OTHER):
            with pytest.raises(LeaseLost):
                await group.read(3)
        assert (await group.view()).delivered == view.delivered


async def test_partitions_are_read_on_the_nodes_of_a_cluster_wherever_their_slots_go(
    cluster: Cluster,
) -> None:
    keys = stream_keys(STREAM, 4)
    async with client_of(cluster.url) as redis, consuming(redis, partitions=4) as member:
        await member.until(lambda: len(member.of(Took)) == 4)
        for number, key in enumerate(keys, 1):
            await add(redis, "ab", first=number * 10, stream=key)
        await member.until(lambda: len(member.handled) == 8)
        source, target = await cluster.owner(keys[0]), await cluster.other(keys[0])
        await cluster.begin_to_move(keys[0], source, target)
        await cluster.move_keys(source, target, keys[0], reader_key(keys[0], GROUP))
        await cluster.end_move(keys[0], source, target)
        await member.handles(await add(redis, "ab", first=20, stream=keys[0]))
        await acknowledged(redis, keys[0])


async def test_a_group_that_is_made_before_its_stream_does_not_disturb_the_publisher(
    redis: Redis, client: Redis
) -> None:
    stream = EventStream(client, STREAM)
    batches = [batch((AT_MS + ms, 0, 3)) for ms in range(4)]
    ids = [event.id for each in batches for event in each]
    async with consuming(redis) as member:
        await member.sees(Took)
        assert await deliver(stream, batches[:2]) == []
        await member.handles(ids[:6])
        await redis.flushall()
        # The group is there again, in a stream that holds nothing.
        await member.until(lambda: len(member.of(GroupMade)) == 2)
        with pytest.raises(StreamBehind):
            await stream.append(batches[2], after=batches[1].last)
        assert await deliver(stream, batches) == []
        await member.handles(ids)
    assert sorted(member.handled) == ids
    assert await entries(redis, STREAM) == as_entries([event for each in batches for event in each])
