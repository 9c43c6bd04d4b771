"""Compare-and-append on real servers: all of a batch or none, once, in order, never in silence."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from appending import AT_MS, as_entries, batch, batch_of, client_of
from publishing import KEY, entries
from redis.asyncio import Redis

from embedded.valkey import Valkey
from outbox.errors import StreamRefused, StreamUnavailable
from outbox.position import ORIGIN, Position
from publisher.errors import StreamBehind, StreamFenced, StreamForeign
from publisher.stream import EventStream

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


async def test_an_entry_has_the_fields_of_the_contract_in_their_order(
    stream: EventStream, redis: Redis
) -> None:
    await stream.append(batch((5, 0, 1)), after=ORIGIN)
    await stream.append(batch((6, 0, 1), traceparent=TRACEPARENT), after=Position(5, 0))
    raw = await command(redis, "XRANGE", KEY, "-", "+", NEVER_DECODE=True)
    plain = [
        *[b"type", b"catalog.updated", b"entity", b"series", b"entityId", b"5/0"],
        *[b"operation", b"update", b"timestamp", b"2026-11-22T11:37:51.008Z"],
        *[b"payload", b'{"n":0}'],
    ]
    found = [flat(fields) for _, fields in raw]
    assert found[0] == plain
    assert found[1][:10] == [*plain[:5], b"6/0", *plain[6:10]]
    assert found[1][12:] == [b"traceparent", TRACEPARENT.encode()]


async def command(client: Any, *words: object, **options: bool) -> Any:  # noqa: ANN401
    """Commands that redis-py has no types for."""
    return await client.execute_command(*words, **options)


def flat(fields: Any) -> list[bytes]:  # noqa: ANN401 - as redis-py gives it
    if isinstance(fields, dict):
        return [part for pair in fields.items() for part in pair]
    return list(fields)


@pytest.mark.parametrize(
    "at_ms",
    [
        *[0, 999, 951782400000, 1709164800000, 1709251199999, 1735689599999, 4107542400000],
        *[-1, 253402300799999],
    ],
)
async def test_the_script_writes_times_as_events_do(
    stream: EventStream, redis: Redis, at_ms: int
) -> None:
    values = ["series", "s", "update", at_ms, "", "{}"]
    events = batch_of((5, 0, 1), values=[values])
    await stream.append(events, after=ORIGIN)
    assert await entries(redis) == as_entries(list(events))


@pytest.mark.parametrize("payload", ['{"a":"\u00e9\U0001f600\u2028"}', "{}" + " " * 100_000])
async def test_any_text_arrives_as_it_was_written(
    stream: EventStream, redis: Redis, payload: str
) -> None:
    values = ["series", "s\u0000\u001e\n", "update", AT_MS, "", payload]
    events = batch_of((5, 0, 1), values=[values])
    await stream.append(events, after=ORIGIN)
    assert await entries(redis) == as_entries(list(events))


@pytest.mark.parametrize(
    ("top", "after", "outcome"),
    [
        # Each differs from the next in what a number of 53 bits cannot hold.
        ("9007199254740993-0", "9007199254740992-0", "appended"),
        ("9007199254740992-0", "9007199254740993-0", "behind"),
        ("1-9007199254740993", "1-9007199254740992", "appended"),
        ("1-9007199254740992", "1-9007199254740993", "behind"),
        ("1-18446744073709551614", "1-18446744073709551615", "behind"),
        # As text these would be ordered the other way.
        ("10-0", "9-0", "appended"),
        ("9-0", "10-0", "behind"),
        ("1-10", "1-9", "appended"),
        ("1-9", "1-10", "behind"),
    ],
)
async def test_ids_are_compared_exactly(
    stream: EventStream, redis: Redis, top: str, after: str, outcome: str
) -> None:
    if outcome == "appended":
        await redis.xadd(KEY, {"what it builds on": "is there"}, id=after)
    await redis.xadd(KEY, {"any": "1"}, id=top)
    above = batch((9007199254740994 - 2, 2**20 * 2, 1))
    if outcome == "appended":
        assert (await stream.append(above, after=Position.parse(after))).events == 1
        assert (await entries(redis))[-1][0] == "9007199254740994-0"
    else:
        with pytest.raises(StreamBehind) as behind:
            await stream.append(above, after=Position.parse(after))
        assert str(behind.value.top) == top


async def test_a_foreign_entry_does_not_hide_that_what_we_build_on_is_lost(
    stream: EventStream, redis: Redis
) -> None:
    await redis.xadd(KEY, {"foreign": "1"}, id="250-0")
    with pytest.raises(StreamForeign):
        await stream.append(batch((300, 0, 1)), after=Position(200, 0))
    assert await redis.xlen(KEY) == 1


async def test_an_entry_of_any_bytes_can_be_looked_at(stream: EventStream, redis: Redis) -> None:
    await redis.xadd(KEY, {b"f": b"\xff"}, id="1-0")
    assert await stream.fields_at(Position(1, 0)) == {"f": "\\xff"}


async def test_a_large_batch_is_one_append(stream: EventStream, redis: Redis) -> None:
    events = batch((5, 2**20 - 5000, 10_000))
    assert (await stream.append(events, after=ORIGIN)).events == 10_000
    found = [id_ for id_, _ in await entries(redis)]
    assert found == [f"5-{n}" for n in range(2**20 - 5000, 2**20)] + [f"6-{n}" for n in range(5000)]


# What the server refuses


async def refused(stream: EventStream, *, after: Position) -> str:
    """The reason that the server gives for not appending one more event."""
    with pytest.raises(StreamRefused) as found:
        await stream.append(batch((after.ms, after.seq + 1, 3)), after=after)
    return found.value.reason


async def test_a_key_of_another_type_is_refused(stream: EventStream, redis: Redis) -> None:
    await redis.set(KEY, "mine")
    assert await refused(stream, after=ORIGIN) == "WRONGTYPE"
    with pytest.raises(StreamRefused) as top:
        await stream.top()
    assert top.value.reason == "WRONGTYPE"
    assert await redis.get(KEY) in ("mine", b"mine")


async def test_a_full_server_refuses_and_takes_it_up_again(
    stream: EventStream, redis: Redis
) -> None:
    await stream.append(batch((5, 0, 3)), after=ORIGIN)
    await redis.config_set("maxmemory", "1")
    try:
        assert await refused(stream, after=Position(5, 2)) == "OOM"
    finally:
        await redis.config_set("maxmemory", "0")
    assert await redis.xlen(KEY) == 3
    assert (await stream.append(batch((5, 3, 3)), after=Position(5, 2))).events == 3


async def test_a_replica_refuses_and_takes_it_up_when_it_is_promoted(
    stream: EventStream, redis: Redis
) -> None:
    await stream.append(batch((5, 0, 3)), after=ORIGIN)
    await command(redis, "REPLICAOF", "127.0.0.1", "1")
    try:
        assert await refused(stream, after=Position(5, 2)) == "READONLY"
    finally:
        await command(redis, "REPLICAOF", "NO", "ONE")
    assert await redis.xlen(KEY) == 3
    assert (await stream.append(batch((5, 3, 3)), after=Position(5, 2))).events == 3


@pytest.mark.parametrize(
    "rights", ["~other +@all", "~* +@all -evalsha", "~* -@all +ping", "~* +@all -xadd"]
)
async def test_a_user_without_the_right_is_refused(
    server: Valkey, redis: Redis, rights: str
) -> None:
    await EventStream(redis, KEY).append(batch((5, 0, 3)), after=ORIGIN)
    name = f"publisher-{secrets.token_hex(4)}"
    await command(redis, "ACL", "SETUSER", name, "on", ">secret", *rights.split())
    async with client_of(f"{server.url}?username={name}&password=secret") as limited:
        assert await refused(EventStream(limited, KEY), after=Position(5, 2)) == "NOPERM"
    assert await redis.xlen(KEY) == 3


async def test_a_wrong_password_is_refused(server: Valkey, redis: Redis) -> None:
    assert await redis.ping()
    async with client_of(f"{server.url}?username=nobody&password=wrong") as stranger:
        assert await refused(EventStream(stranger, KEY), after=ORIGIN) == "WRONGPASS"


async def test_scripts_that_were_flushed_are_loaded_again(
    stream: EventStream, redis: Redis
) -> None:
    await stream.append(batch((5, 0, 1)), after=ORIGIN)
    await redis.script_flush()
    assert (await stream.append(batch((5, 1, 1)), after=Position(5, 0))).events == 1


async def test_a_killed_server_is_away_and_works_again_when_it_is_back(
    server: Valkey, redis: Redis
) -> None:
    stream = EventStream(redis, KEY)
    await stream.append(batch((5, 0, 1)), after=ORIGIN)
    await asyncio.to_thread(server.kill)
    for _ in range(2):
        with pytest.raises(StreamUnavailable):
            await stream.append(batch((5, 1, 1)), after=Position(5, 0))
        with pytest.raises(StreamUnavailable):
            await stream.top()
    await asyncio.to_thread(server.start)
    # It kept nothing, as a cache does not: neither the stream nor the script.
    with pytest.raises(StreamBehind) as behind:
        await stream.append(batch((5, 1, 1)), after=Position(5, 0))
    assert behind.value.top == ORIGIN
    assert (await stream.append(batch((5, 0, 2)), after=ORIGIN)).events == 2


async def test_an_append_whose_answer_is_lost_is_not_sent_again(
    server: Valkey, redis: Redis
) -> None:
    stream = EventStream(redis, KEY)
    await stream.append(batch((5, 0, 1)), after=ORIGIN)
    async with Redis.from_url(server.url) as other:
        await command(other, "CLIENT", "PAUSE", 60_000, "WRITE")
        try:
            appending = asyncio.create_task(stream.append(batch((5, 1, 1)), after=Position(5, 0)))
            async with asyncio.timeout(10):
                while b"cmd=evalsha" not in await command(other, "CLIENT", "LIST"):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await command(other, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            with pytest.raises(StreamUnavailable):
                await appending
        finally:
            await command(other, "CLIENT", "UNPAUSE")
    assert await redis.xlen(KEY) == 1
    assert (await stream.append(batch((5, 1, 1)), after=Position(5, 0))).events == 1
