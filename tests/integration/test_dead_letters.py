"""An event that cannot be published is set aside, after its attempts; the rest flows, in order."""

import json
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from faulty_proxy import Cut, FaultyProxy, Message
from on_call import typed
from partitions import expected, publishers, write_some
from publishing import FOREIGN, GO_ON, LIMITS, by_definition, entries, eventually, outbox_pool
from redis.asyncio import Redis
from running import running
from structlog.testing import capture_logs
from wire import PostgresTalk, Side

from embedded.postgres import Postgres
from outbox import dead_letters
from outbox.errors import OutboxUnavailable
from outbox.position import Position

Entry = tuple[str, dict[str, str]]

SMALL = replace(LIMITS, batch_size=50, max_event_bytes=2000)
TOO_LARGE = ("too large", 3000)
"""An entity id, and the bytes of the payload."""
UNREADABLE = ("u" * 40_000, 10)
"""PostgreSQL cannot pack it: the length of an id has two bytes, one of them a sign."""
POISONS = [TOO_LARGE, UNREADABLE]


async def write_one(connection: asyncpg.Connection, entity_id: str, size: int) -> None:
    await connection.execute(
        "INSERT INTO outbox.event_1 (entity, entity_id, operation, payload)"
        " VALUES ('series', $1, 'update', $2)",
        entity_id,
        json.dumps({"x": "x" * (size - 8)}, separators=(",", ":")),
    )


async def write_around(connection: asyncpg.Connection, *poison: tuple[str, int]) -> None:
    """One transaction, so that all of it is one tick."""
    async with connection.transaction():
        await write_some(connection, 60)
        for entity_id, size in poison:
            await write_one(connection, entity_id, size)
            await write_some(connection, 7)
        await write_some(connection, 60)


async def without(
    connection: asyncpg.Connection, poison: set[str], partitions: int = 1
) -> list[list[Entry]]:
    """What the streams should hold: all but *poison*, under the IDs that they have with it."""
    return [
        [entry for entry in stream if entry[1]["entityId"] not in poison]
        for stream in await expected(connection, partitions)
    ]


async def letters(connection: asyncpg.Connection) -> list[asyncpg.Record]:
    return list(await connection.fetch("SELECT * FROM outbox.dead_letter ORDER BY ms, seq"))


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize(
    ("poison", "attempts"), [(TOO_LARGE, 1), (UNREADABLE, 5)], ids=["too large", "unreadable"]
)
async def test_an_event_that_cannot_be_published_is_set_aside_and_the_rest_flows(  # noqa: PLR0913, PLR0917
    connection: asyncpg.Connection,
    pool: asyncpg.Pool,
    redis_url: str,
    poison: tuple[str, int],
    attempts: int,
    partitions: int,
) -> None:
    async with publishers(pool, redis_url, partitions, limits=SMALL) as publishing:
        await write_around(connection, poison)
        with capture_logs() as logs:
            await publishing.publish()
        assert await publishing.streams() == await without(connection, {poison[0]}, partitions)
        [letter] = await letters(connection)
        [event] = [
            event for event in await by_definition(connection) if event.entity_id == poison[0]
        ]
        assert str(Position(letter["ms"], letter["seq"])) == event.id
        assert (letter["entity_id"], letter["payload"]) == (poison[0], event.payload)
        assert (letter["attempts"], letter["settled_at"]) == (attempts, None)
        [line] = [line for line in logs if line["event"] == "event.set_aside"]
        assert (line["id"], line["stream"], line["log_level"]) == (
            event.id,
            letter["stream"],
            "error",
        )
        # And so it stays.
        publishing.restart()
        await write_some(connection, 5)
        await publishing.publish()
        assert await publishing.streams() == await without(connection, {poison[0]}, partitions)
        assert len(await letters(connection)) == 1


async def test_the_reason_says_what_is_wrong(
    connection: asyncpg.Connection, pool: asyncpg.Pool, redis_url: str
) -> None:
    async with publishers(pool, redis_url, limits=SMALL) as publishing:
        await write_one(connection, *TOO_LARGE)
        await write_one(connection, *UNREADABLE)
        await publishing.publish()
    large, unreadable = await letters(connection)
    assert large["reason"] == "its payload has 3,000 bytes, 2,000 may be"
    assert "PostgreSQL cannot hand over an event: smallint out of range" in unreadable["reason"]


@pytest.mark.parametrize("poison", [TOO_LARGE, UNREADABLE], ids=["too large", "unreadable"])
async def test_an_event_alone_that_cannot_be_published_holds_up_nothing(
    connection: asyncpg.Connection, pool: asyncpg.Pool, redis_url: str, poison: tuple[str, int]
) -> None:
    async with publishers(pool, redis_url, limits=SMALL) as publishing:
        for n in range(3):
            await write_one(connection, *poison)
            await publishing.publish()
            assert len(await letters(connection)) == n + 1
            await write_some(connection, 2)
            assert await publishing.publish() == 3
        assert await publishing.streams() == await without(connection, {poison[0]})


@pytest.mark.parametrize("partitions", [1, 3])
async def test_any_number_of_them_at_any_place_are_set_aside_alone(
    connection: asyncpg.Connection, pool: asyncpg.Pool, redis_url: str, partitions: int
) -> None:
    many = [(f"{n} {entity_id}", size) for n in range(6) for entity_id, size in POISONS]
    async with publishers(pool, redis_url, partitions, limits=SMALL) as publishing:
        await write_one(connection, *many[0])
        await write_around(connection, *many[1:5])
        async with connection.transaction():
            for poison in many[5:]:
                await write_one(connection, *poison)
        await publishing.publish()
        poison_ids = {entity_id for entity_id, _ in many}
        assert await publishing.streams() == await without(connection, poison_ids, partitions)
        assert {letter["entity_id"] for letter in await letters(connection)} == poison_ids


async def test_a_batch_of_large_events_is_moved_one_by_one_and_nothing_is_set_aside(
    connection: asyncpg.Connection, pool: asyncpg.Pool, redis_url: str
) -> None:
    async with connection.transaction():
        for n in range(12):
            await write_one(connection, f"large {n}", 1 << 20)
        await write_some(connection, 5)
    async with publishers(pool, redis_url) as publishing:
        with capture_logs() as logs:
            assert await publishing.publish() == 12 + 9
        assert await publishing.streams() == await expected(connection, 1)
    assert [line["events"] for line in logs if line["event"] == "batch.appended"] == [1] * 21
    assert await letters(connection) == []


@pytest.mark.parametrize("poison", [TOO_LARGE, UNREADABLE], ids=["too large", "unreadable"])
async def test_a_stream_that_is_lost_is_put_back_without_it(
    connection: asyncpg.Connection,
    pool: asyncpg.Pool,
    redis: Redis,
    redis_url: str,
    poison: tuple[str, int],
) -> None:
    async with publishers(pool, redis_url, 3, limits=SMALL) as publishing:
        await write_around(connection, poison, poison)
        await publishing.publish()
        before = await publishing.streams()
        assert before == await without(connection, {poison[0]}, 3)
        for restarted in (False, True):
            await redis.flushall()
            if restarted:
                publishing.restart()
            with capture_logs() as logs:
                await publishing.publish()
            assert await publishing.streams() == before
            assert [line for line in logs if line["event"] == "event.set_aside"] == []
    assert len(await letters(connection)) == 2


async def test_two_publishers_that_meet_it_set_it_aside_once(
    connection: asyncpg.Connection, pool: asyncpg.Pool, redis_url: str
) -> None:
    async with publishers(pool, redis_url, limits=SMALL) as publishing:
        [first] = publishing.all
        publishing.restart()
        [second] = publishing.all
        await write_some(connection, 3)
        await first.publish(GO_ON)
        await second.publish(GO_ON)
        await write_around(connection, UNREADABLE)
        await first.publish(GO_ON)
        await second.publish(GO_ON)
        await write_some(connection, 3)
        await second.publish(GO_ON)
        await first.publish(GO_ON)
        assert await publishing.streams() == await without(connection, {UNREADABLE[0]})
    assert len(await letters(connection)) == 1


@pytest.mark.parametrize("poison", [TOO_LARGE, UNREADABLE], ids=["too large", "unreadable"])
async def test_among_entries_of_somebody_else_nothing_is_put_back_twice(
    connection: asyncpg.Connection,
    pool: asyncpg.Pool,
    redis: Redis,
    redis_url: str,
    poison: tuple[str, int],
) -> None:
    async with publishers(pool, redis_url, limits=SMALL) as publishing:
        await write_some(connection, 3)
        await write_one(connection, *poison)
        await write_some(connection, 3)
        await publishing.publish()
        before = await publishing.streams()
        for key in publishing.keys:
            await redis.xadd(key, FOREIGN)  # type: ignore[arg-type]
        publishing.restart()
        await publishing.publish()
        assert [stream[:-1] for stream in await publishing.streams()] == before


# What becomes of it


async def test_requeued_it_gets_a_new_id_and_the_old_one_stays_unused(
    connection: asyncpg.Connection, pool: asyncpg.Pool, redis: Redis, redis_url: str
) -> None:
    async with publishers(pool, redis_url, 3, limits=SMALL) as publishing:
        await write_around(connection, TOO_LARGE)
        await publishing.publish()
        [letter] = await dead_letters.waiting(pool)
        before = await publishing.streams()
        assert await dead_letters.requeue(pool, letter.position, by="on-call")
        assert not await dead_letters.requeue(pool, letter.position, by="on-call")
        assert not await dead_letters.discard(pool, letter.position, by="on-call")
        assert await dead_letters.waiting(pool) == []
    # The bound was raised meanwhile.
    async with publishers(pool, redis_url, 3) as publishing:
        assert await publishing.publish() == 1
        found = await publishing.streams()
        new = [entry for stream in found for entry in stream if entry[1]["entityId"] == "too large"]
        assert [Position.parse(id_) > letter.position for id_, _ in new] == [True]
        assert [[entry for entry in stream if entry not in new] for stream in found] == before
        [row] = await letters(connection)
        assert row["settled_by"] == "requeued by on-call"
        assert new[0][1]["payload"] == row["payload"]
        # Lost and put back, the number is unused still.
        await redis.flushall()
        publishing.restart()
        await publishing.publish()
        assert await publishing.streams() == found


async def test_requeued_while_it_is_still_poison_it_is_set_aside_again(
    connection: asyncpg.Connection, pool: asyncpg.Pool, redis_url: str
) -> None:
    async with publishers(pool, redis_url, limits=SMALL) as publishing:
        await write_one(connection, *UNREADABLE)
        await publishing.publish()
        [letter] = await dead_letters.waiting(pool)
        await dead_letters.requeue(pool, letter.position, by="on-call")
        await publishing.publish()
        [again] = await dead_letters.waiting(pool)
        assert again.position > letter.position
        assert len(await letters(connection)) == 2
        assert await dead_letters.discard(pool, again.position, by="on-call")
        assert await dead_letters.waiting(pool) == []
        await write_some(connection, 2)
        assert await publishing.publish() == 3


async def test_what_is_requeued_rings_the_bell(own_database: str, redis: Redis) -> None:
    connection = await asyncpg.connect(own_database)
    await write_one(connection, *UNREADABLE)
    async with running(own_database, redis) as publisher, outbox_pool(own_database) as pool:

        async def sleeps() -> bool:
            return publisher.bell.is_asleep and bool(await dead_letters.waiting(pool))

        await eventually(sleeps)
        # As if it could be published by now.
        await connection.execute("UPDATE outbox.dead_letter SET entity_id = 'mended'")
        [letter] = await dead_letters.waiting(pool)
        await dead_letters.requeue(pool, letter.position, by="on-call")

        async def is_published() -> bool:
            return [fields["entityId"] for _, fields in await entries(redis)] == ["mended"]

        # Long before it would look by itself.
        await eventually(is_published)
    await connection.close()


async def test_on_call_lists_requeues_and_discards(
    database: str, connection: asyncpg.Connection, pool: asyncpg.Pool, redis_url: str
) -> None:
    environment = {"DATABASE_URL": database, "REDIS_URL": redis_url}
    assert (await typed(environment, "dead-letters", "--json"))[:2] == (0, "[]\n")
    async with publishers(pool, redis_url, limits=SMALL) as publishing:
        for n in range(3):
            await write_one(connection, f"{n} {TOO_LARGE[0]}", TOO_LARGE[1])
        await publishing.publish()
    code, out, _ = await typed(environment, "dead-letters", "--json")
    found = json.loads(out)
    assert code == 0
    assert [letter["entityId"] for letter in found] == ["0 too large", "1 too large", "2 too large"]
    assert found[0]["reason"] == "its payload has 3,000 bytes, 2,000 may be"
    ids = [letter["id"] for letter in found]

    code, _, notes = await typed(environment, "requeue", "--id", ids[0])
    assert (code, "nobody to ask" in notes) == (1, True)
    assert (await typed(environment, "requeue", "--yes"))[0] == 2
    assert (await typed(environment, "requeue", "--id", "what?", "--yes"))[0] == 2
    assert (await typed(environment, "requeue", "--id", "1-1", "--yes"))[0] == 1
    code, out, _ = await typed(environment, "requeue", "--all", "--dry-run", "--json")
    assert (code, json.loads(out)) == (0, {"found": ids, "requeued": []})
    assert len(await dead_letters.waiting(pool)) == 3

    code, out, _ = await typed(environment, "requeue", "--id", ids[0], "--yes", "--json")
    assert (code, json.loads(out)) == (0, {"found": ids[:1], "requeued": ids[:1]})
    assert (await typed(environment, "discard", "--all", "--yes"))[0] == 0
    assert await dead_letters.waiting(pool) == []
    settled = [row["settled_by"].split()[0] for row in await letters(connection)]
    assert settled == ["requeued", "discarded", "discarded"]
    async with publishers(pool, redis_url) as publishing:
        assert await publishing.publish() == 1
        [[(_, fields)]] = await publishing.streams()
        assert fields["entityId"] == "0 too large"


async def test_an_event_that_breaks_the_connection_each_time_it_is_read_is_set_aside(
    database: str,
    connection: asyncpg.Connection,
    postgres_server: Postgres,
    redis_url: str,
    tmp_path: Path,
) -> None:
    async def cut_off(message: Message) -> None:
        if message.side is Side.SERVER and len(message.data) > 100_000:
            raise Cut
        await message.pass_on()

    proxy = FaultyProxy(PostgresTalk, postgres_server.socket_path, cut_off)
    async with (
        proxy.listening(tmp_path / postgres_server.socket_path.name),
        outbox_pool(f"{database.split('?', maxsplit=1)[0]}?host={tmp_path}&port=5432") as pool,
        publishers(pool, redis_url) as publishing,
    ):
        await write_around(connection, ("breaks it", 200_000))
        failures = 0
        while not await letters(connection):
            assert failures < 10
            try:
                await publishing.publish()
            except OutboxUnavailable:
                failures += 1
        assert await publishing.streams() == await without(connection, {"breaks it"})
        # The batch is tried a few times before its events are.
        assert failures > LIMITS.max_attempts
    [letter] = await letters(connection)
    assert letter["reason"].startswith("it could not be read: PostgreSQL is away")
    assert letter["attempts"] == LIMITS.max_attempts
