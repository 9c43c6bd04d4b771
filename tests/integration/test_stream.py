"""Compare-and-append on real servers: all of a batch or none, once, in order, never in silence."""

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from appending import as_entries, batch, client_of
from publishing import KEY, entries
from redis.asyncio import Redis

from embedded.valkey import Valkey
from outbox.position import ORIGIN, Position
from publisher.errors import StreamBehind, StreamFenced, StreamForeign
from publisher.store.stream import EventStream

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def server(each_redis_server: Valkey) -> Valkey:
    return each_redis_server


@pytest.fixture
async def redis(each_redis_url: str) -> AsyncIterator[Redis]:
    """A client as the publisher's is, on a server without a key or a script."""
    async with client_of(each_redis_url) as client:
        yield client


@pytest.fixture
def stream(redis: Redis) -> EventStream:
    return EventStream(redis, KEY)


async def test_a_first_batch_starts_the_stream(stream: EventStream, redis: Redis) -> None:
    events = batch((5, 0, 3), (7, 0, 1))
    assert await stream.append(events, after=ORIGIN) == (4, ORIGIN)
    assert await entries(redis) == as_entries(list(events))
    assert [id_ for id_, _ in await entries(redis)] == ["5-0", "5-1", "5-2", "7-0"]
    assert await stream.top() == Position(7, 0)


async def test_a_batch_goes_on_where_the_last_one_ended(stream: EventStream, redis: Redis) -> None:
    await stream.append(batch((5, 0, 3)), after=ORIGIN)
    assert await stream.append(batch((5, 3, 2)), after=Position(5, 2)) == (2, Position(5, 2))
    assert await entries(redis) == as_entries(list(batch((5, 0, 5))))


async def test_a_batch_that_is_sent_again_changes_nothing(
    stream: EventStream, redis: Redis
) -> None:
    events = batch((5, 0, 3))
    await stream.append(events, after=ORIGIN)
    before = await entries(redis)
    assert await stream.append(events, after=ORIGIN) == (0, Position(5, 2))
    assert await entries(redis) == before


@pytest.mark.parametrize("held", [1, 2, 3])
async def test_what_the_stream_holds_of_a_batch_is_skipped_and_the_rest_appended(
    stream: EventStream, redis: Redis, held: int
) -> None:
    whole = batch((5, 0, 2), (6, 0, 2))
    await stream.append(batch((5, 0, min(held, 2)), (6, 0, max(held - 2, 0))), after=ORIGIN)
    assert (await stream.append(whole, after=ORIGIN)).events == 4 - held
    assert await entries(redis) == as_entries(list(whole))


async def test_a_batch_far_behind_what_another_publisher_appended_is_answered_as_done(
    stream: EventStream, redis: Redis
) -> None:
    await stream.append(batch((5, 0, 5)), after=ORIGIN)
    assert await stream.append(batch((5, 1, 2)), after=Position(5, 0)) == (0, Position(5, 4))
    assert await redis.xlen(KEY) == 5


@pytest.mark.parametrize("top", [ORIGIN, Position(5, 1), Position(4, 99)])
async def test_a_stream_that_has_lost_its_end_says_where_it_ends(
    stream: EventStream, redis: Redis, top: Position
) -> None:
    if top != ORIGIN:
        await redis.xadd(KEY, {"type": "catalog.updated"}, id=str(top))
    before = await entries(redis)
    with pytest.raises(StreamBehind) as behind:
        await stream.append(batch((5, 3, 1)), after=Position(5, 2))
    assert behind.value.top == top
    assert await entries(redis) == before


async def test_a_deleted_stream_is_behind(stream: EventStream, redis: Redis) -> None:
    await stream.append(batch((5, 0, 3)), after=ORIGIN)
    await redis.delete(KEY)
    with pytest.raises(StreamBehind) as behind:
        await stream.append(batch((5, 3, 1)), after=Position(5, 2))
    assert behind.value.top == ORIGIN
    assert not await redis.exists(KEY)


async def test_entries_of_somebody_else_where_ours_should_be_are_foreign(
    stream: EventStream, redis: Redis
) -> None:
    await stream.append(batch((5, 0, 3)), after=ORIGIN)
    await redis.xadd(KEY, {"mine": "1"}, id="6-0")
    before = await entries(redis)
    for taken in (batch((5, 3, 1)), batch((5, 3, 2), (6, 0, 1)), batch((6, 0, 1), (7, 0, 1))):
        with pytest.raises(StreamForeign) as foreign:
            await stream.append(taken, after=Position(5, 2))
        assert foreign.value.top == Position(6, 0)
    assert await entries(redis) == before


async def test_a_foreign_entry_that_opens_the_stream_hides_no_event(
    stream: EventStream, redis: Redis
) -> None:
    await redis.xadd(KEY, {"mine": "1"}, id="9-0")
    with pytest.raises(StreamForeign) as foreign:
        await stream.append(batch((5, 0, 3)), after=ORIGIN)
    assert foreign.value.top == Position(9, 0)


async def test_a_foreign_entry_that_trims_away_all_of_ours_hides_no_event(
    stream: EventStream, redis: Redis
) -> None:
    await stream.append(batch((5, 0, 3)), after=ORIGIN)
    await redis.xadd(KEY, {"mine": "1"}, id="9-0", maxlen=1, approximate=False)
    with pytest.raises(StreamForeign):
        await stream.append(batch((6, 0, 1)), after=Position(5, 2))


async def test_above_entries_of_somebody_else_a_batch_is_appended_and_says_what_it_found(
    stream: EventStream, redis: Redis
) -> None:
    await stream.append(batch((5, 0, 3)), after=ORIGIN)
    await redis.xadd(KEY, {"mine": "1"}, id="6-0")
    assert await stream.append(batch((7, 0, 1)), after=Position(5, 2)) == (1, Position(6, 0))
    assert [id_ for id_, _ in await entries(redis)] == ["5-0", "5-1", "5-2", "6-0", "7-0"]


async def test_the_same_id_with_other_content_is_foreign(stream: EventStream, redis: Redis) -> None:
    await stream.append(batch((5, 0, 3), content=" of another database"), after=ORIGIN)
    with pytest.raises(StreamForeign) as foreign:
        await stream.append(batch((5, 0, 4)), after=ORIGIN)
    assert foreign.value.top == Position(5, 2)
    assert await redis.xlen(KEY) == 3


@pytest.mark.parametrize("left", [1, 2])
async def test_a_batch_whose_beginning_was_trimmed_is_appended_from_the_stream_s_end(
    stream: EventStream, redis: Redis, left: int
) -> None:
    await stream.append(batch((5, 0, 6)), after=ORIGIN)
    await redis.xtrim(KEY, maxlen=left, approximate=False)
    assert (await stream.append(batch((5, 0, 8)), after=ORIGIN)).events == 2
    assert [id_ for id_, _ in await entries(redis)] == [f"5-{n}" for n in range(6 - left, 8)]


@pytest.mark.parametrize("left", [0, 2])
async def test_entries_that_were_trimmed_are_not_appended_again(
    stream: EventStream, redis: Redis, left: int
) -> None:
    await stream.append(batch((5, 0, 6)), after=ORIGIN)
    await redis.xtrim(KEY, maxlen=left, approximate=False)
    before = await entries(redis)
    # Whether they were here the stream cannot know; that they are below its end it can.
    with suppress(StreamForeign):
        assert (await stream.append(batch((5, 0, 3)), after=ORIGIN)).events == 0
    assert await entries(redis) == before
    assert (await stream.append(batch((5, 6, 1)), after=Position(5, 5))).events == 1


async def test_a_stream_that_was_trimmed_to_nothing_remembers_its_end(
    stream: EventStream, redis: Redis
) -> None:
    await stream.append(batch((5, 0, 6)), after=ORIGIN)
    await redis.xtrim(KEY, maxlen=0, approximate=False)
    assert await stream.top() == Position(5, 5)
    with pytest.raises(StreamBehind):
        await stream.append(batch((6, 0, 1)), after=Position(5, 7))


async def test_how_far_it_has_come_is_remembered_when_the_stream_is_deleted(
    stream: EventStream, redis: Redis
) -> None:
    assert await stream.mark() == ORIGIN
    await stream.append(batch((5, 0, 3)), after=ORIGIN, epoch=1)
    await stream.append(batch((5, 3, 2), (7, 0, 1)), after=Position(5, 2), epoch=1)
    assert await stream.mark() == Position(7, 0)
    await redis.delete(KEY)
    assert await stream.mark() == Position(7, 0)
    # Put back under another lease: it had come further already.
    await stream.append(batch((5, 0, 3)), after=ORIGIN, epoch=2)
    assert await stream.mark() == Position(7, 0)
    await stream.append(batch((5, 3, 2), (7, 0, 9)), after=Position(5, 2), epoch=2)
    assert await stream.mark() == Position(7, 8)
    with pytest.raises(StreamFenced):
        await stream.append(batch((7, 9, 1)), after=Position(7, 8), epoch=1)


async def test_what_somebody_else_wrote_leaves_no_mark(stream: EventStream, redis: Redis) -> None:
    await stream.append(batch((5, 0, 3)), after=ORIGIN, epoch=1)
    await redis.xadd(KEY, {"mine": "1"}, id="9-0")
    await stream.append(batch((5, 0, 3)), after=ORIGIN, epoch=1)
    assert await stream.mark() == Position(5, 2)


async def test_a_foreign_entry_does_not_hide_that_what_we_build_on_is_lost(
    stream: EventStream, redis: Redis
) -> None:
    await redis.xadd(KEY, {"foreign": "1"}, id="250-0")
    with pytest.raises(StreamForeign):
        await stream.append(batch((300, 0, 1)), after=Position(200, 0))
    assert await redis.xlen(KEY) == 1
