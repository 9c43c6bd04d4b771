"""Which cursors are refused, how, and what a call waits for."""

import asyncio
import random

import asyncpg
import grpc
import grpc.aio
import pytest
from feeding import (
    Copy,
    Feed,
    copy,
    ended,
    episodes,
    error_info,
    first_of,
    foreign,
    level_at,
    request,
    serving,
    snapshot,
    text_at,
    version_at,
)

from outbox.position import Position
from snapshot_server.content.cursor import Cursor
from snapshot_server.content.limits import Limits
from snapshot_server.content.reports import CursorRefused, SyncOutcome

INVALID, RANGE, FAILED = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.FAILED_PRECONDITION,
)


@pytest.fixture
async def feed(connection: asyncpg.Connection) -> Feed:
    """At tick 10, removals up to 4 purged; tick 12 is announced, and (20, 30] abandoned."""
    feed, keys = Feed(connection), episodes(20)
    await feed.write(keys)
    for key in keys[:9]:
        await feed.write(remove=[key])
    await feed.purge(4)
    await feed.announce(12)
    await feed.abandon(1, after=0, until=0)
    await feed.abandon(2, after=20, until=30)
    return feed


@pytest.mark.parametrize(
    ("cursor", "status", "reason"),
    [
        ("", INVALID, "CURSOR_MALFORMED"),
        ("nonsense", INVALID, "CURSOR_MALFORMED"),
        ("p1.AAAA", INVALID, "CURSOR_MALFORMED"),
        ("1" * 500, INVALID, "CURSOR_MALFORMED"),
        ("1795347471648-1048576", INVALID, "CURSOR_MALFORMED"),
        ("\u0661-\u0660", INVALID, "CURSOR_MALFORMED"),
        ("0-0", RANGE, "CURSOR_EXPIRED"),
        (text_at(3), RANGE, "CURSOR_EXPIRED"),
        (text_at(12, 1), FAILED, "CURSOR_FUTURE"),
        (text_at(19), FAILED, "CURSOR_FUTURE"),
        (text_at(31), FAILED, "CURSOR_FUTURE"),
        ("8000000000000-0", FAILED, "CURSOR_FUTURE"),
        (text_at(20, 1), FAILED, "CURSOR_ABANDONED"),
        (text_at(30), FAILED, "CURSOR_ABANDONED"),
        # Of what was read the most counts, not the place that was come to.
        (str(Cursor(version_at(5), version_at(25), version_at(2), 0)), FAILED, "CURSOR_ABANDONED"),
        (str(Cursor(version_at(3), version_at(9), version_at(2), 0)), RANGE, "CURSOR_EXPIRED"),
        # Tick 4 may have removed more than what this one has read of it.
        (str(Cursor(version_at(1), version_at(9), version_at(4), 0)), RANGE, "CURSOR_EXPIRED"),
    ],
)
async def test_a_cursor_that_cannot_be_used_is_refused_with_the_reason(
    database: str, feed: Feed, cursor: str, status: grpc.StatusCode, reason: str
) -> None:
    assert feed.tick == 10
    async with serving(database) as served, foreign(served) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await copy(channel, cursor=cursor)
        assert refused.value.code() is status
        info = error_info(refused.value)
        assert info.reason == reason
        assert dict(info.metadata) == {"oldest": text_at(4), "newest": text_at(12)}
        await served.observed.sync(SyncOutcome.REFUSED)
        assert CursorRefused(reason) in served.observed.reports


@pytest.mark.parametrize(
    "cursor",
    [
        text_at(4),
        text_at(10),
        # The oldest and the newest that such a refusal names can be used.
        str(Cursor(version_at(4), version_at(9), version_at(2), 0)),
        str(Cursor(version_at(1), version_at(9), version_at(5), 0)),
    ],
)
async def test_a_cursor_that_can_be_used_is_not_refused(
    database: str, feed: Feed, cursor: str
) -> None:
    async with serving(database) as served, foreign(served) as channel:
        async for chunk in snapshot(channel, request(cursor=cursor)):
            assert chunk.position == text_at(feed.tick)


async def test_random_bytes_are_refused_as_request_and_as_cursor(database: str, feed: Feed) -> None:
    assert feed.tick == 10
    dice = random.Random(5)  # noqa: S311 - not a secret
    async with serving(database) as served, foreign(served) as channel:
        for _ in range(500):
            noise = dice.randbytes(dice.randrange(1, 40))
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await copy(channel, cursor=noise.decode("latin-1"))
            assert refused.value.code() is INVALID
            call = snapshot(channel, noise)
            # A few of them are requests, with fields that nobody knows.
            assert await ended(call) in (INVALID, grpc.StatusCode.OK)
        served.assert_nothing_is_held()


async def test_a_cursor_may_expire_in_the_middle_of_a_call(database: str, feed: Feed) -> None:
    # Large enough that the server cannot read on before the client does.
    await feed.write(episodes(100), size=300_000)
    copied = Copy()
    async with serving(database) as served, foreign(served) as channel:
        call = snapshot(channel, request(cursor=text_at(5), limit=1))
        copied.take(await first_of(call))
        await feed.purge(feed.tick + 50)
        assert await ended(call) is RANGE


async def test_a_history_may_be_abandoned_between_two_pages(database: str, feed: Feed) -> None:
    copied = Copy()
    async with serving(database) as served, foreign(served) as channel:
        async for chunk in snapshot(channel, request(limit=2)):
            copied.take(chunk)
            break
        # What the client has read at tick 10 was not where it is in the history from tick 8 on.
        await feed.abandon(3, after=8, until=11)
        await feed.connection.execute(
            "UPDATE feed.state SET epoch = 3, version = $1", version_at(12)
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await copy(channel, copied, cursor=copied.cursor)
        assert error_info(refused.value).reason == "CURSOR_ABANDONED"


async def test_a_feed_of_an_abandoned_history_is_not_served(database: str, feed: Feed) -> None:
    await feed.abandon(3, after=8, until=11)
    async with serving(database) as served, foreign(served) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as late:
            async for _ in snapshot(channel, timeout=0.3):
                pass
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        reading = asyncio.create_task(copy(channel))
        await feed.state(version_at(12), epoch=3)
        assert (await reading).position == text_at(12)


async def test_a_cursor_ahead_of_the_feed_is_waited_for(database: str, feed: Feed) -> None:
    async with serving(database) as served, foreign(served) as channel:
        waiting = [
            asyncio.create_task(level_at(channel, cursor=text_at(12))),
            asyncio.create_task(level_at(channel, at_least=text_at(11), cursor=text_at(10))),
        ]
        await feed.write(episodes(1))
        assert await waiting[1] == text_at(11)
        assert not waiting[0].done()
        await feed.write(episodes(1))
        assert await waiting[0] == text_at(12)


async def test_a_feed_that_is_not_built_yet_is_waited_for(
    database: str, connection: asyncpg.Connection
) -> None:
    async with serving(database, Limits(feed_wait_s=0.2)) as served, foreign(served) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await copy(channel)
        assert late.value.code() is grpc.StatusCode.UNAVAILABLE
        waiting = asyncio.create_task(first_of(snapshot(channel, timeout=20)))
        feed = Feed(connection)
        await feed.write(episodes(3))
        assert len((await waiting).items) == 3
        await served.observed.sync(SyncOutcome.UNAVAILABLE)


async def test_waiting_ends_with_the_deadline_and_without_one_after_a_while(
    database: str, feed: Feed
) -> None:
    assert feed.tick < 12
    asked = request(at_least=text_at(12))
    async with serving(database, Limits(feed_wait_s=0.1)) as served, foreign(served) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await snapshot(channel, asked).read()
        assert late.value.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await snapshot(channel, asked, timeout=0.3).read()
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await served.observed.sync(SyncOutcome.DEADLINE)
        async with asyncio.timeout(10):
            await served.service.drained()
        served.assert_nothing_is_held()


@pytest.mark.parametrize(
    ("at_least", "status", "reason"),
    [
        ("", INVALID, "AT_LEAST_MALFORMED"),
        (str(Cursor(1, 1, 1, 1)), INVALID, "AT_LEAST_MALFORMED"),
        (text_at(13), FAILED, "AT_LEAST_FUTURE"),
        (text_at(25), FAILED, "AT_LEAST_ABANDONED"),
    ],
)
async def test_an_event_that_no_answer_can_include_is_refused(
    database: str, feed: Feed, at_least: str, status: grpc.StatusCode, reason: str
) -> None:
    assert feed.tick < 12
    async with serving(database) as served, foreign(served) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await copy(channel, at_least=at_least)
        assert refused.value.code() is status
        assert error_info(refused.value).reason == reason


async def test_the_bounds_that_are_named_are_positions(database: str, feed: Feed) -> None:
    assert feed.tick == 10
    async with serving(database) as served, foreign(served) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await copy(channel, cursor="?")
        oldest, newest = (error_info(refused.value).metadata[n] for n in ("oldest", "newest"))
        assert Position.parse(oldest) < Position.parse(newest)
        assert await level_at(channel, cursor=oldest) == text_at(10)
