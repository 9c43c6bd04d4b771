"""The audit finds each kind of difference, and nothing where there is none."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from on_call import typed
from publishing import KEY, outbox_pool, read, write
from redis.asyncio import Redis
from servers import Connect

from outbox.batch import Share
from outbox.errors import OutboxUnreadable
from outbox.event import Event
from outbox.position import ORIGIN, Position
from outbox.ticks import Ticks
from process.redis import connection as redis_connection
from publisher.audit.comparison import Kind
from publisher.audit.pages import Entry, Pages
from publisher.audit.verify import Step, Verdict, verify
from publisher.store.keys import epoch_key
from publisher.store.stream import EventStream

Look = Callable[..., Awaitable[Verdict]]
FOREIGN: dict[Any, Any] = {"from": "somebody else"}


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    async with outbox_pool(database) as pool:
        yield pool


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    """A client as the publisher's is."""
    settings = {"DATABASE_URL": "postgresql://", "REDIS_URL": redis_url}
    async with redis_connection.client(settings["REDIS_URL"]) as client:
        yield client


@pytest.fixture
async def look(pool: asyncpg.Pool, redis_url: str) -> AsyncIterator[Look]:
    settings = {"DATABASE_URL": "postgresql://", "REDIS_URL": redis_url}
    own = redis_connection.client(settings["REDIS_URL"])

    async def look(*, since: Position = ORIGIN, partitions: int = 1) -> Verdict:
        return await verify(
            pool,
            Ticks(pool),
            [Pages(own, key) for key in keys(partitions)],
            since=since,
            watch=lambda *_: None,
        )

    async with own:
        yield look


def keys(partitions: int) -> list[str]:
    if partitions == 1:
        return [KEY]
    return [f"{KEY}:{{{number}}}" for number in range(partitions)]


async def publish(pool: asyncpg.Pool, client: Redis, *, partitions: int = 1) -> None:
    """Make a tick, and append what the streams do not have yet."""
    await Ticks(pool).make()
    for number, key in enumerate(keys(partitions)):
        stream = EventStream(client, key)
        top = await stream.top()
        async for batch in Ticks(pool, Share(number, partitions)).batches_after(top, size=1000):
            if batch.events:
                await stream.append(batch, after=top)
                top = batch.last


async def add(
    client: Any,  # noqa: ANN401 - redis-py takes no dict[str, str]
    event: Event,
    *,
    key: str = KEY,
    fields: dict[str, str] | None = None,
) -> None:
    """Write an entry with the ID of *event*, and its fields unless others are given."""
    await client.xadd(key, event.fields() if fields is None else fields, id=event.id)


def found(verdict: Verdict) -> dict[str, int]:
    """The differences that there are."""
    return {kind: count for kind, count in verdict.differences.items() if count}


async def checkpoint(connection: asyncpg.Connection, name: str, position: Position) -> None:
    await connection.execute(
        "INSERT INTO outbox.checkpoint (name, ms, seq) VALUES ($1, $2, $3)",
        *(name, position.ms, position.seq),
    )


async def test_an_empty_system_is_clean(look: Look) -> None:
    verdict = await look()
    assert (verdict.clean, verdict.events, verdict.since) == (True, 0, None)


async def test_what_is_published_is_clean_and_counted(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, look: Look
) -> None:
    for name in "abc":
        await write(connection, name, 5)
        await publish(pool, client)
    verdict = await look()
    assert found(verdict) == {}
    assert (verdict.events, verdict.equal, verdict.waiting, verdict.trimmed) == (15, 15, 0, 0)
    ids = [event.id for event in await read(Ticks(pool))]
    assert (verdict.since, verdict.until) == (ids[0], ids[-1])


async def test_what_is_not_published_yet_is_counted_and_no_difference(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, look: Look
) -> None:
    await write(connection, "a", 2)
    await publish(pool, client)
    await write(connection, "b", 3)
    await Ticks(pool).make()
    await write(connection, "in no tick yet", 4)
    verdict = await look()
    assert found(verdict) == {}
    assert (verdict.events, verdict.equal, verdict.waiting) == (5, 2, 3)


async def test_it_makes_no_tick(
    connection: asyncpg.Connection, pool: asyncpg.Pool, look: Look
) -> None:
    await write(connection, "a")
    assert (await look()).clean
    assert await Ticks(pool).after(0) == []


async def test_what_was_trimmed_is_counted_and_no_difference(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, look: Look
) -> None:
    await write(connection, "a", 10)
    await publish(pool, client)
    await client.xtrim(KEY, maxlen=4, approximate=False)
    verdict = await look()
    assert found(verdict) == {}
    assert (verdict.equal, verdict.trimmed) == (4, 6)
    await client.xtrim(KEY, maxlen=0, approximate=False)
    verdict = await look()
    assert found(verdict) == {}
    assert (verdict.equal, verdict.trimmed) == (0, 10)


@pytest.mark.parametrize("number", [0, 4, 9])
async def test_a_deleted_entry_is_missing(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, look: Look, number: int
) -> None:
    await write(connection, "a", 10)
    await publish(pool, client)
    id_ = (await read(Ticks(pool)))[number].id
    await client.xdel(KEY, id_)
    verdict = await look()
    assert found(verdict) == {Kind.MISSING: 1}
    assert (verdict.first[0].id, verdict.equal, verdict.trimmed) == (id_, 9, 0)


@pytest.mark.parametrize("noted_in", ["the checkpoint", "the mark beside the stream"])
async def test_a_stream_that_lost_its_end_or_all_of_it_is_missing_what_it_had(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, look: Look, noted_in: str
) -> None:
    await write(connection, "a", 3)
    await publish(pool, client)
    await client.copy(KEY, "older", replace=True)
    await write(connection, "b", 2)
    await publish(pool, client)
    if noted_in == "the checkpoint":
        await client.delete(epoch_key(KEY))
        await checkpoint(connection, KEY, Position.parse((await read(Ticks(pool)))[-1].id))
    await write(connection, "c", 1)
    await Ticks(pool).make()
    await client.rename("older", KEY)
    verdict = await look()
    assert found(verdict) == {Kind.MISSING: 2}
    assert (verdict.equal, verdict.waiting) == (3, 1)
    await client.delete(KEY)
    verdict = await look()
    assert found(verdict) == {Kind.MISSING: 5}
    assert (verdict.equal, verdict.waiting) == (0, 1)


async def test_a_foreign_entry_is_found_wherever_it_stands(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, look: Look
) -> None:
    first = await client.xadd(KEY, FOREIGN, id="5-0")
    await write(connection, "a", 2)
    await Ticks(pool).make()
    [one, two] = await read(Ticks(pool))
    await add(client, one)
    await add(client, two)
    middle = await client.xadd(KEY, FOREIGN, id=f"{two.id}1")
    await write(connection, "b", 2)
    await publish(pool, client)
    last = await client.xadd(KEY, FOREIGN)
    verdict = await look()
    assert found(verdict) == {Kind.FOREIGN: 3}
    assert [difference.id for difference in verdict.first] == [first, middle, last]
    assert verdict.equal == 4


async def test_many_foreign_entries_are_all_counted_and_the_first_of_them_kept(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, look: Look
) -> None:
    async with client.pipeline() as pipeline:
        for number in range(1, 351):
            pipeline.xadd(KEY, FOREIGN, id=f"5-{number}")
        await pipeline.execute()
    assert found(await look()) == {Kind.FOREIGN: 350}  # Also without a tick.
    await write(connection, "a", 2)
    await publish(pool, client)
    verdict = await look()
    assert found(verdict) == {Kind.FOREIGN: 350}
    assert (verdict.equal, len(verdict.first)) == (2, 100)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda fields: fields | {"payload": "{}"}, "payload is '{}', not '{\"n\":2}'"),
        (lambda fields: fields | {"more": "1"}, "more is '1', not absent"),
        (lambda fields: dict(list(fields.items())[:-1]), "payload is absent, not '{\"n\":2}'"),
        (lambda fields: dict(reversed(fields.items())), "the fields are in another order"),
    ],
)
async def test_other_content_is_found_and_named(  # noqa: PLR0913, PLR0917 - fixtures
    connection: asyncpg.Connection,
    pool: asyncpg.Pool,
    client: Redis,
    look: Look,
    change: Callable[[dict[str, str]], dict[str, str]],
    says: str,
) -> None:
    await write(connection, "a", 3)
    await Ticks(pool).make()
    for number, event in enumerate(await read(Ticks(pool))):
        await add(client, event, fields=change(event.fields()) if number == 1 else None)
    verdict = await look()
    assert found(verdict) == {Kind.CONTENT: 1}
    assert (verdict.first[0].detail, verdict.equal) == (says, 2)


async def test_a_field_that_is_there_twice_is_found(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, look: Look
) -> None:
    await write(connection, "a", 1)
    await Ticks(pool).make()
    [event] = await read(Ticks(pool))
    twice = [value for pair in event.fields().items() for value in pair] + ["type", "x"]
    raw: Any = client
    await raw.execute_command("XADD", KEY, event.id, *twice)
    assert found(await look()) == {Kind.CONTENT: 1}


async def test_a_dead_letter_is_counted_and_no_difference(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, look: Look
) -> None:
    await write(connection, "a", 5)
    await Ticks(pool).make()
    events = await read(Ticks(pool))
    dead = Position.parse(events[2].id)
    await connection.execute(
        "INSERT INTO outbox.dead_letter (ms, seq, stream, at, entity, entity_id, operation,"
        " payload, reason, attempts)"
        " VALUES ($1, $2, $3, now(), 'series', 'a', 'update', '{}', 'too large', 5)",
        *(dead.ms, dead.seq, KEY),
    )
    for event in events:
        if event != events[2]:
            await add(client, event)
    verdict = await look()
    assert found(verdict) == {}
    assert (verdict.events, verdict.equal, verdict.dead_letters) == (4, 4, 1)
    await client.delete(KEY)
    for event in events:
        await add(client, event)
    verdict = await look()
    assert found(verdict) == {Kind.DEAD_LETTER: 1}
    assert verdict.first[0].id == str(dead)


async def test_a_dead_letter_that_cannot_be_read_does_not_end_the_audit(
    connection: asyncpg.Connection, pool: asyncpg.Pool, look: Look
) -> None:
    async with connection.transaction():
        await write(connection, "a", 2)
        await write(connection, "x" * 40_000)
        await write(connection, "b", 2)
    _, tick = await Ticks(pool).make()
    assert tick
    with pytest.raises(OutboxUnreadable):
        await look()
    await connection.execute(
        "INSERT INTO outbox.dead_letter (ms, seq, stream, at, entity, entity_id, operation,"
        " payload, reason, attempts)"
        " VALUES ($1, 2, $2, now(), 'series', 'x', 'update', '{}', 'unreadable', 5)",
        *(tick.ms, KEY),
    )
    verdict = await look()
    assert found(verdict) == {}
    assert (verdict.events, verdict.waiting, verdict.dead_letters) == (4, 4, 1)


async def test_an_entry_of_an_abandoned_history_is_told_from_a_foreign_one(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, look: Look
) -> None:
    await write(connection, "a", 2)
    await publish(pool, client)
    last = (await read(Ticks(pool)))[-1].id
    await client.xadd(KEY, FOREIGN, id=f"{last}1")
    until = Position.parse(f"{last}1")
    after = Position.parse(last)
    await connection.execute(
        "INSERT INTO outbox.epoch (number, system_identifier, timeline, opened_by, after_ms,"
        " after_seq, until_ms, until_seq, total_before) VALUES (1, 1, 1, 'x', 0, 0, 0, 0, 0),"
        " (2, 1, 2, 'x', $1, $2, $3, $4, 2)",
        *(after.ms, after.seq, until.ms, until.seq),
    )
    assert found(await look()) == {Kind.ABANDONED: 1}


async def test_a_row_that_is_in_no_tick_is_counted(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, look: Look
) -> None:
    await connection.execute("SELECT setval('outbox.event_id', 100)")
    await write(connection, "a", 5)
    await publish(pool, client)
    # Ids below the floor of the last tick, of a transaction that was not under way then.
    await connection.execute(
        "INSERT INTO outbox.event_1 (id, entity, entity_id, operation, payload)"
        " VALUES (7, 'series', 'x', 'update', '{}'), (8, 'series', 'y', 'update', '{}')"
    )
    await write(connection, "b", 5)
    await publish(pool, client)
    verdict = await look()
    assert found(verdict) == {Kind.NO_TICK: 2}
    assert verdict.equal == 10
    assert found(await look(since=Position.parse((await read(Ticks(pool)))[-1].id))) == {
        Kind.NO_TICK: 2
    }


async def test_a_change_that_stands_after_a_later_one_of_its_entity_is_found(
    connect: Connect, pool: asyncpg.Pool, client: Redis, look: Look
) -> None:
    slow, quick = await connect(), await connect()
    async with slow.transaction():
        # Without the row lock that a write to the catalog would hold.
        await write(slow, "same")
        await write(slow, "other")
        await write(quick, "same")
        await publish(pool, client)
    await write(quick, "same")
    await publish(pool, client)
    verdict = await look()
    assert found(verdict) == {Kind.ENTITY_ORDER: 1}
    assert "series same: row 1" in verdict.first[0].detail
    assert verdict.equal == 4
    # What comes before is looked at too.
    newest = Position.parse((await read(Ticks(pool)))[-1].id)
    assert found(await look(since=newest)) == {Kind.ENTITY_ORDER: 1}


async def test_late_commits_and_renumbered_ticks_are_clean(
    connect: Connect, pool: asyncpg.Pool, client: Redis, look: Look
) -> None:
    slow, quick = await connect(), await connect()
    async with slow.transaction():
        await write(slow, "slow", 3)
        await write(quick, "quick", 3)
        await publish(pool, client)
    await write(quick, "more", 6)
    _, tick = await Ticks(pool).make()
    assert tick
    await Ticks(pool).renumber(tick, 4, above_ms=tick.ms + 5)
    await write(quick, "slow", 2)
    await publish(pool, client)
    verdict = await look()
    assert found(verdict) == {}
    assert verdict.equal == 14
    for event in await read(Ticks(pool)):
        assert found(await look(since=Position.parse(event.id))) == {}


async def test_from_a_position_only_what_follows_is_looked_at(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, look: Look
) -> None:
    for name in "abc":
        await write(connection, name, 3)
        await publish(pool, client)
    events = await read(Ticks(pool))
    await client.xdel(KEY, events[1].id)
    since = Position.parse(events[4].id)
    verdict = await look(since=since)
    assert found(verdict) == {}
    assert (verdict.since, verdict.events, verdict.equal) == (events[4].id, 5, 5)
    beyond = Position(since.ms + 10**6, 0)
    assert (await look(since=beyond)).events == 0


async def test_what_is_dropped_while_it_looks_is_left_out(
    connect: Connect, pool: asyncpg.Pool, client: Redis, redis_url: str
) -> None:
    connection = await connect()
    for name in "abcd":
        await write(connection, name, 3)
        await publish(pool, client)
    first, second, *_ = await Ticks(pool).after(0)
    settings = {"DATABASE_URL": "postgresql://", "REDIS_URL": redis_url}
    dropped = asyncio.Event()

    class Dropping(Pages):
        """Before the first page is read, the oldest tick and its events are dropped."""

        async def read(self, after: Position, until: Position, count: int) -> list[Entry]:
            if not dropped.is_set():
                await connection.execute("DELETE FROM outbox.tick WHERE ms = $1", first.ms)
                await connection.execute("DELETE FROM outbox.event WHERE id <= $1", first.id_top)
                dropped.set()
            return await super().read(after, until, count)

    async with redis_connection.client(settings["REDIS_URL"]) as own:
        steps: list[Step] = []
        verdict = await verify(
            pool,
            Ticks(pool),
            [Dropping(own, KEY)],
            watch=lambda step, *_: steps.append(step),
        )
    assert dropped.is_set()
    assert steps.count(Step.ROWS) == 4  # It began anew.
    assert found(verdict) == {}
    assert (verdict.since, verdict.events) == (f"{second.ms}-0", 9)


async def test_partitions_are_compared_each_with_its_own_entities(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, look: Look
) -> None:
    for name in "abcdefghij":
        await write(connection, name, 3)
        await publish(pool, client, partitions=3)
    lengths = [await client.xlen(key) for key in keys(3)]
    assert (sum(lengths), min(lengths) > 0) == (30, True)
    verdict = await look(partitions=3)
    assert found(verdict) == {}
    assert verdict.equal == 30
    await write(connection, "waits", 1)
    await Ticks(pool).make()
    assert (await look(partitions=3)).waiting == 1


async def test_an_entity_in_more_than_one_partition_is_found(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, look: Look
) -> None:
    await write(connection, "a", 3)
    await publish(pool, client, partitions=2)
    [home] = [key for key in keys(2) if await client.xlen(key)]
    [other] = set(keys(2)) - {home}
    event = (await read(Ticks(pool)))[1]
    await add(client, event, key=other)
    verdict = await look(partitions=2)
    assert found(verdict) == {Kind.PARTITION: 1}
    assert (verdict.first[0].id, verdict.first[0].stream) == (event.id, other)
    await client.xdel(home, event.id)
    assert found(await look(partitions=2)) == {Kind.PARTITION: 1, Kind.MISSING: 1}


async def test_a_large_one_is_clean(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, look: Look
) -> None:
    for number in range(50):
        await write(connection, f"entity {number}", 2000)
        await publish(pool, client)
    verdict = await look()
    assert found(verdict) == {}
    assert verdict.equal == 100_000


async def test_it_is_clean_while_writers_and_the_publisher_run(
    connect: Connect, pool: asyncpg.Pool, client: Redis, look: Look
) -> None:
    done = asyncio.Event()

    async def write_on(name: str) -> None:
        connection = await connect()
        while not done.is_set():
            async with connection.transaction():
                await write(connection, name, 20)
                await write(connection, f"{name}+", 1)

    async def publish_on() -> None:
        while not done.is_set():
            await publish(pool, client)
            await client.xtrim(KEY, maxlen=5000, approximate=False)

    equal = trimmed = waiting = 0
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for name in "abcd":
            tasks.create_task(write_on(name))
        tasks.create_task(publish_on())
        while not (equal and trimmed and waiting):
            verdict = await look()
            assert found(verdict) == {}
            equal += verdict.equal
            trimmed += verdict.trimmed
            waiting += verdict.waiting
        done.set()


@pytest.fixture
def environment(database: str, redis_url: str) -> dict[str, str]:
    return {"DATABASE_URL": database, "REDIS_URL": redis_url}


async def test_the_command_says_that_all_is_clean_and_ends_with_0(
    environment: dict[str, str],
    connection: asyncpg.Connection,
    pool: asyncpg.Pool,
    client: Redis,
) -> None:
    await write(connection, "a", 5)
    await publish(pool, client)
    code, out, _ = await typed(environment, "verify", "--since", "2h")
    assert code == 0
    assert "5  equal in their stream" in out
    assert "clean" in out
    code, out, err = await typed(environment, "verify", "--json")
    report = json.loads(out)
    assert (code, report["clean"], report["equal"], report["first"]) == (0, True, 5, [])
    assert set(report["differences"]) == set(Kind)
    assert "Traceback" not in err


async def test_the_command_names_what_differs_and_ends_with_1(
    environment: dict[str, str],
    connection: asyncpg.Connection,
    pool: asyncpg.Pool,
    client: Redis,
) -> None:
    await write(connection, "a", 5)
    await publish(pool, client)
    foreign = "99999999999999-0"
    await client.xadd(KEY, {"from": "[red]somebody[/red] else"}, id=foreign)
    code, out, _ = await typed(environment, "verify")
    assert code == 1
    text = " ".join(out.split())
    assert f"foreign {foreign} {KEY} 'from [red]somebody[/red] else'" in text
    assert "it differs" in text
    code, out, _ = await typed(environment, "verify", "--json")
    report = json.loads(out)
    assert (code, report["clean"], report["differences"]["foreign"]) == (1, False, 1)
    assert report["first"][0]["id"] == foreign


async def test_a_span_that_is_none_is_wrong_usage(environment: dict[str, str]) -> None:
    code, out, err = await typed(environment, "verify", "--since", "yesterday")
    assert (code, out) == (2, "")
    assert "neither a position" in err
