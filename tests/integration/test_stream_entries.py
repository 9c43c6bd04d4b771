"""What an entry looks like in Redis: fields, times, any text, IDs beyond what Lua counts."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from appending import AT_MS, as_entries, batch, batch_of, client_of
from publishing import KEY, entries
from redis.asyncio import Redis

from embedded.valkey import Valkey
from outbox.position import ORIGIN, Position
from publisher.errors import StreamBehind
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


async def test_an_entry_of_any_bytes_can_be_looked_at(stream: EventStream, redis: Redis) -> None:
    await redis.xadd(KEY, {b"f": b"\xff"}, id="1-0")
    assert await stream.fields_at(Position(1, 0)) == {"f": "\\xff"}


async def test_a_large_batch_is_one_append(stream: EventStream, redis: Redis) -> None:
    events = batch((5, 2**20 - 5000, 10_000))
    assert (await stream.append(events, after=ORIGIN)).events == 10_000
    found = [id_ for id_, _ in await entries(redis)]
    assert found == [f"5-{n}" for n in range(2**20 - 5000, 2**20)] + [f"6-{n}" for n in range(5000)]
