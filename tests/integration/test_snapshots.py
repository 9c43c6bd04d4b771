"""A client holds exactly what the feed does, however its sync was cut."""

import random

import asyncpg
import grpc
import grpc.aio
import pytest
from feeding import (
    EPISODE,
    SERIES,
    SNAPSHOT_PATH,
    Copy,
    Feed,
    body_of,
    copy,
    episodes,
    first_of,
    foreign,
    level_at,
    request,
    serving,
    snapshot,
    text_at,
    version_at,
)
from grpclib.client import Channel, UnaryStreamMethod

from content_proto import content_pb2 as pb
from outbox.errors import BadPosition
from outbox.position import Position
from snapshot_server.content.limits import Limits
from snapshot_server.content.reports import SyncKind, SyncOutcome


@pytest.fixture
def feed(connection: asyncpg.Connection) -> Feed:
    return Feed(connection)


async def test_an_empty_catalog_has_a_last_chunk(database: str, feed: Feed) -> None:
    await feed.write()
    async with serving(database) as served, foreign(served) as channel:
        copied = await copy(channel)
        assert len(copied.chunks) == 1
        assert copied.position == text_at(1)
        ended = await served.observed.sync(SyncOutcome.FINISHED)
        assert (ended.kind, ended.items, ended.chunks) == (SyncKind.FULL, 0, 1)


@pytest.mark.parametrize("limit", [1, 2, 7, 100, 1000])
async def test_a_full_sync_is_the_feed(database: str, feed: Feed, limit: int) -> None:
    keys = [*episodes(20), *((SERIES, key) for _, key in episodes(3))]
    for key in keys:
        await feed.write([key])
    await feed.write(keys[5:15])
    await feed.write(remove=keys[:3])
    async with serving(database) as served, foreign(served) as channel:
        copied = await copy(channel, limit=limit)
        assert copied.items == feed.live
        assert copied.position == text_at(feed.tick)
        assert all(len(chunk.items) <= limit for chunk in copied.chunks)
        assert not any(chunk.removed for chunk in copied.chunks)
        ended = await served.observed.sync(SyncOutcome.FINISHED)
        assert ended.items == len(feed.live)
        assert ended.chunks == len(copied.chunks)
        assert ended.bytes == sum(chunk.ByteSize() for chunk in copied.chunks)


@pytest.mark.parametrize(("asked", "given"), [(0, 100), (1, 1), (1000, 1000), (2**32 - 1, 1000)])
async def test_a_limit_is_kept(database: str, feed: Feed, asked: int, given: int) -> None:
    await feed.write(episodes(1001))
    async with serving(database) as served, foreign(served) as channel:
        async for chunk in snapshot(channel, request(limit=asked)):
            assert len(chunk.items) == given
            break


async def test_an_event_id_is_answered_with_what_changed_after_it(
    database: str, feed: Feed
) -> None:
    keys = episodes(10)
    await feed.write(keys)
    copied = Copy()
    async with serving(database) as served, foreign(served) as channel:
        await copy(channel, copied)
        await feed.write(keys[:2], remove=keys[2:4])
        await copy(channel, copied, cursor=copied.position)
        assert copied.items == feed.live
        last = copied.chunks[-1]
        assert len(last.items) == 2
        assert [(gone.version, gone.event_id) for gone in last.removed] == [
            (version_at(2), text_at(2))
        ] * 2
        # Nothing has changed since; that is said too.
        await copy(channel, copied, cursor=copied.position)
        assert not copied.chunks[-1].items
        assert copied.position == text_at(2)
        ended = await served.observed.sync(SyncOutcome.FINISHED)
        assert ended.kind is SyncKind.INCREMENTAL


@pytest.mark.parametrize("seed", range(6))
async def test_a_sync_that_breaks_and_goes_on_while_the_feed_moves_is_exact(
    database: str, feed: Feed, seed: int
) -> None:
    dice = random.Random(seed)  # noqa: S311 - not a secret
    keys = episodes(40)
    await feed.write(keys)
    copied = Copy()
    async with (
        serving(database) as one,
        serving(database) as other,
        foreign(one) as first,
        foreign(other) as second,
    ):
        for _ in range(4):
            at, copied.position = copied.position, None
            moves = 15
            while copied.position is None:
                call = snapshot(dice.choice((first, second)), request(limit=3, cursor=at))
                async for chunk in call:
                    copied.take(chunk)
                    at = copied.cursor if copied.position is None else None
                    # As long as more is touched than is sent, nobody gets level.
                    moves -= 1
                    if moves > 0:
                        touched = dice.sample(keys, 8)
                        await feed.write(touched[:5], remove=touched[5:])
                    if dice.random() < 0.3:
                        break
                call.cancel()
            await copy(second, copied, cursor=copied.position)
            assert copied.items == feed.live
    for chunk in copied.chunks:
        if chunk.HasField("next_cursor"):
            with pytest.raises(BadPosition):
                Position.parse(chunk.next_cursor)


async def test_chunks_are_cut_by_bytes_and_a_large_item_travels_alone(
    database: str, feed: Feed
) -> None:
    small = episodes(30)
    await feed.write(small[:15], size=100)
    await feed.write(episodes(1), size=30_000)
    await feed.write(small[15:], size=100)
    async with (
        serving(database, Limits(max_chunk_bytes=1000, max_message_bytes=40_000)) as served,
        foreign(served) as channel,
    ):
        copied = await copy(channel, limit=1000)
        assert copied.items == feed.live
        sizes = [sum(item.ByteSize() for item in chunk.items) for chunk in copied.chunks]
        assert [len(chunk.items) for chunk in copied.chunks if chunk.ByteSize() > 1200] == [1]
        assert sorted(sizes)[-2] <= 1000


async def test_an_item_that_no_message_can_hold_is_named(database: str, feed: Feed) -> None:
    before, [large] = episodes(3), episodes(1)
    await feed.write(before)
    await feed.write([large], size=5000)
    async with (
        serving(database, Limits(max_chunk_bytes=1000, max_message_bytes=4000)) as served,
        foreign(served) as channel,
    ):
        copied = Copy()
        with pytest.raises(grpc.aio.AioRpcError, match=str(large[1])) as refused:
            await copy(channel, copied)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert set(copied.items) == set(before)
        await served.observed.sync(SyncOutcome.FAILED)


async def test_stored_bytes_are_sent_as_they_are(database: str, feed: Feed) -> None:
    [key] = episodes(1)
    await feed.write([key])
    async with serving(database) as served, foreign(served) as channel:
        method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
            SNAPSHOT_PATH
        )
        async for raw in method(b""):
            assert raw.startswith(body_of(key, version_at(1), 100))


async def test_grpclibs_own_client_reads_the_same(database: str, feed: Feed) -> None:
    await feed.write(episodes(250))
    async with serving(database) as served:
        channel = Channel("127.0.0.1", served.port)
        try:
            method = UnaryStreamMethod(
                channel,
                "/content.v1.ContentService/CatalogSnapshot",
                pb.CatalogSnapshotRequest,
                pb.CatalogSnapshotChunk,
            )
            copied = Copy()
            for chunk in await method(pb.CatalogSnapshotRequest(limit=100)):
                copied.take(chunk)
        finally:
            channel.close()
    assert copied.items == feed.live
    assert [len(chunk.items) for chunk in copied.chunks] == [100, 100, 50]


async def test_a_removal_that_a_full_sync_has_passed_reaches_it(database: str, feed: Feed) -> None:
    keys = episodes(6)
    await feed.write(keys)
    copied = Copy()
    async with serving(database) as served, foreign(served) as channel:
        async for chunk in snapshot(channel, request(limit=4)):
            copied.take(chunk)
            break
        await feed.write(remove=keys)
        await copy(channel, copied, cursor=copied.cursor, limit=4)
    assert copied.items == {}


async def test_no_more_full_syncs_run_than_are_allowed(database: str, feed: Feed) -> None:
    # More than any window holds, so that it is under way until its client reads.
    await feed.write(episodes(200), size=100_000)
    async with serving(database, Limits(max_full_syncs=1)) as served, foreign(served) as channel:
        running = snapshot(channel, request(limit=1))
        await running.read()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await copy(channel)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        # Who goes on behind what was there, or asks what changed, is none of them.
        assert await level_at(channel, cursor=text_at(1)) == text_at(1)
        running.cancel()
        await served.observed.sync(SyncOutcome.CANCELLED)
        assert (await first_of(snapshot(channel, request(limit=1)))).items


async def test_kinds_are_as_the_protocol_numbers_them() -> None:
    assert pb.ITEM_KIND_SERIES == SERIES
    assert pb.ITEM_KIND_EPISODE == EPISODE
