"""One event's way is told, wherever it has come to."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest
from on_call import typed
from publishing import KEY, outbox_pool, read, write
from redis.asyncio import Redis
from servers import Connect

from outbox import control, leases
from outbox.batch import Share
from outbox.event import Event
from outbox.leases import Member
from outbox.position import Position
from outbox.ticks import Ticks
from process.redis import connection as redis_connection
from publisher.audit.delivery import Reading
from publisher.audit.explain import Explainer, Told
from publisher.audit.story import State, Story
from publisher.store.stream import EventStream


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


def keys(partitions: int) -> list[str]:
    if partitions == 1:
        return [KEY]
    return [f"{KEY}:{{{number}}}" for number in range(partitions)]


@pytest.fixture
def explainer(pool: asyncpg.Pool, client: Redis) -> Explainer:
    return Explainer(pool, client, Ticks(pool), [EventStream(client, KEY)])


async def publish(pool: asyncpg.Pool, client: Redis, *, partitions: int = 1) -> list[Event]:
    """Make a tick, and append what the streams do not have yet; all events."""
    await publish_new(pool, client, partitions=partitions)
    return await read(Ticks(pool))


async def publish_new(pool: asyncpg.Pool, client: Redis, *, partitions: int = 1) -> None:
    await Ticks(pool).make()
    for number, key in enumerate(keys(partitions)):
        stream = EventStream(client, key)
        top = await stream.top()
        async for batch in Ticks(pool, Share(number, partitions)).batches_after(top, size=1000):
            if batch.events:
                await stream.append(batch, after=top)
                top = batch.last


async def at(explainer: Explainer, id_: str) -> Story:
    return await explainer.at(Position.parse(id_))


async def of_entity(explainer: Explainer, entity_id: str, **options: float) -> Told:
    return await explainer.of_entity(
        entity_id,
        None,
        count=int(options.get("count", 10)),
        within_s=options.get("within_s", 60),
        watch=lambda *_: None,
    )


def states(told: Told) -> list[State]:
    return [story.state for story in told.stories]


async def test_what_is_in_the_stream_is_told_with_its_writer_its_tick_and_its_number(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, explainer: Explainer
) -> None:
    await write(connection, "before")
    async with connection.transaction():
        xid = await connection.fetchval("SELECT pg_current_xact_id()")
        await write(connection, "a", 3)
    events = await publish(pool, client)
    story = await at(explainer, events[2].id)
    assert (story.state, story.id, story.stream, story.why) == (
        State.IN_THE_STREAM,
        events[2].id,
        KEY,
        [],
    )
    assert story.written
    assert story.numbered
    [(row, at_)] = await connection.fetch(
        "SELECT id, at FROM outbox.event ORDER BY id OFFSET 2 LIMIT 1"
    )
    assert (story.written.entity_id, story.written.operation) == ("a", "update")
    assert (story.written.transaction, story.written.row) == (xid, row)
    assert story.written.at == at_.isoformat(timespec="milliseconds")
    assert (story.numbered.number, story.numbered.events) == (2, 4)
    assert events[2].id == f"{story.numbered.tick}-2"


async def test_each_group_is_told_with_how_far_it_is(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, explainer: Explainer
) -> None:
    await write(connection, "a", 3)
    events = await publish(pool, client)
    for group in ("behind", "done", "holds"):
        await client.xgroup_create(KEY, group, "0")
    await client.xreadgroup("done", "one", {KEY: ">"})
    await client.xack(KEY, "done", *(event.id for event in events))
    await client.xreadgroup("holds", "worker 7", {KEY: ">"}, count=2)
    await client.xclaim(KEY, "holds", "worker 8", 0, [events[1].id])
    story = await at(explainer, events[1].id)
    assert {one.group: one.reading for one in story.deliveries} == {
        "behind": Reading.NOT_READ,
        "done": Reading.ACKNOWLEDGED,
        "holds": Reading.PENDING,
    }
    [pending] = [one for one in story.deliveries if one.reading is Reading.PENDING]
    assert (pending.consumer, pending.deliveries) == ("worker 8", 2)
    assert pending.idle_s is not None
    assert 0 <= pending.idle_s < 10


async def test_what_was_trimmed_is_told_from_what_is_missing(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, explainer: Explainer
) -> None:
    await write(connection, "a", 10)
    events = await publish(pool, client)
    await client.xgroup_create(KEY, "late", "0")
    await client.xtrim(KEY, maxlen=5, approximate=False)
    await client.xdel(KEY, events[7].id)
    trimmed = await at(explainer, events[2].id)
    assert (trimmed.state, trimmed.why) == (
        State.TRIMMED,
        [f"the stream begins at {events[5].id}"],
    )
    assert [one.reading for one in trimmed.deliveries] == [Reading.MISSED]
    assert (await at(explainer, events[7].id)).state is State.MISSING
    await connection.execute(
        "INSERT INTO outbox.checkpoint (name, ms, seq) VALUES ($1, $2, $3)",
        *(KEY, Position.parse(events[-1].id).ms, 9),
    )
    await client.delete(KEY)
    lost = await at(explainer, events[2].id)
    assert lost.state is State.MISSING
    assert "is not there, but had come to" in lost.why[0]


async def test_other_content_under_its_id_is_told(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, explainer: Explainer
) -> None:
    await write(connection, "a", 1)
    await Ticks(pool).make()
    [event] = await read(Ticks(pool))
    await client.xadd(KEY, {"from": "somebody else"}, id=event.id)
    story = await at(explainer, event.id)
    assert story.state is State.OTHER_CONTENT
    assert "from is 'somebody else', not absent" in story.why[0]


async def test_what_waits_is_told_with_what_is_in_its_way(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, explainer: Explainer
) -> None:
    await write(connection, "a", 2)
    await publish(pool, client)
    await write(connection, "b", 5)
    await Ticks(pool).make()
    id_ = (await read(Ticks(pool)))[5].id
    story = await at(explainer, id_)
    assert (story.state, story.why) == (
        State.WAITING,
        [
            "3 events wait before it",
            f"no publisher holds the lease on {KEY}: is one running?",
        ],
    )
    member = Member("publisher", "me", "host-7", 42)
    for _ in range(2):
        await leases.renew(pool, member, [KEY], {KEY: "OOM"}, ttl=timedelta(seconds=60))
    await control.pause(pool, by="somebody", reason="migration")
    await connection.execute(
        "INSERT INTO outbox.attempt (stream, event, attempts) VALUES ($1, $2, 3)", KEY, id_
    )
    _, paused, published, held_up, tried = (await at(explainer, id_)).why
    assert "by somebody: migration" in paused
    assert published == "published by process 42 on host-7"
    assert held_up.endswith(": OOM")
    assert tried == "it was tried alone 3 times"


async def test_a_dead_letter_is_told_with_its_reason(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, explainer: Explainer
) -> None:
    await write(connection, "a", 2)
    events = await publish(pool, client)
    dead = Position.parse(events[1].id)
    await connection.execute(
        "INSERT INTO outbox.dead_letter (ms, seq, stream, at, entity, entity_id, operation,"
        " payload, reason, attempts)"
        " VALUES ($1, $2, $3, now(), 'series', 'a', 'update', '{}', 'too large', 5)",
        *(dead.ms, dead.seq, KEY),
    )
    story = await at(explainer, events[1].id)
    assert story.state is State.DEAD_LETTER
    assert story.why[0].endswith("after 5 attempts: too large")


async def test_an_id_that_no_event_has_is_told_why(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, explainer: Explainer
) -> None:
    assert (await at(explainer, "5-0")).state is State.NOT_YET
    await write(connection, "a", 2)
    [one, two] = await publish(pool, client)
    foreign = f"{two.id}7"
    await client.xadd(KEY, {"from": "somebody else"}, id=foreign)
    ms = Position.parse(one.id).ms
    assert (await at(explainer, f"{ms}-2")).state is State.UNUSED
    assert (await at(explainer, f"{ms - 1}-0")).state is State.UNUSED
    assert (await at(explainer, f"{ms + 10**6}-0")).state is State.NOT_YET
    assert (await at(explainer, foreign)).state is State.FOREIGN
    await write(connection, "b", 1)
    await publish(pool, client)
    assert (await at(explainer, foreign)).state is State.FOREIGN
    await connection.execute("DELETE FROM outbox.tick WHERE ms = $1", ms)
    story = await at(explainer, one.id)
    assert story.state is State.NOT_KEPT
    assert story.why[0] == f"{KEY} holds an entry with this ID"
    await connection.execute(
        "INSERT INTO outbox.epoch (number, system_identifier, timeline, opened_by, after_ms,"
        " after_seq, until_ms, until_seq, total_before) VALUES (2, 1, 2, 'x', $1, 1, $1, 99, 2)",
        ms,
    )
    assert (await at(explainer, foreign)).state is State.ABANDONED


async def test_an_entitys_newest_events_are_told_the_oldest_first(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, explainer: Explainer
) -> None:
    for _ in range(4):
        await write(connection, "a", 2)
        await write(connection, "b", 1)
        events = await publish(pool, client)
    await write(connection, "a", 1)
    await Ticks(pool).make()
    await write(connection, "a", 1)
    told = await of_entity(explainer, "a", count=5)
    assert states(told) == [State.IN_THE_STREAM] * 3 + [State.WAITING, State.NOT_IN_A_TICK]
    of_a = [event.id for event in events if event.entity_id == "a"]
    assert [story.id for story in told.stories[:3]] == of_a[-3:]
    assert told.back_to is None
    assert "was made before transaction" in told.stories[-1].why[0]
    assert states(await of_entity(explainer, "nobody")) == []


async def test_every_row_is_found_in_its_tick(
    connect: Connect, pool: asyncpg.Pool, client: Redis, explainer: Explainer
) -> None:
    slow, quick = await connect(), await connect()
    async with slow.transaction():
        await write(slow, "same", 3)
        await write(quick, "same", 3)
        await publish(pool, client)
        await write(slow, "same", 1)
    await write(quick, "same", 6)
    _, tick = await Ticks(pool).make()
    assert tick
    await Ticks(pool).renumber(tick, 4, above_ms=tick.ms + 5)
    await write(quick, "same", 2)
    events = await publish(pool, client)
    told = await of_entity(explainer, "same", count=100)
    assert {story.id for story in told.stories} == {event.id for event in events}
    assert set(states(told)) == {State.IN_THE_STREAM}
    for story in told.stories:
        assert story.id
        again = await at(explainer, story.id)
        assert again.written == story.written
        assert again.numbered == story.numbered


async def test_it_says_how_far_back_it_looked(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, explainer: Explainer
) -> None:
    await write(connection, "old", 1)
    await connection.execute("SELECT setval('outbox.event_id', 60000)")
    await write(connection, "new", 1)
    await publish(pool, client)
    told = await of_entity(explainer, "old", within_s=0)
    assert told.stories == []
    at_ = await connection.fetchval("SELECT at FROM outbox.event ORDER BY id DESC LIMIT 1")
    assert told.back_to == at_
    assert states(await of_entity(explainer, "old")) == [State.IN_THE_STREAM]


async def test_an_entity_is_told_in_the_stream_of_its_partition(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis
) -> None:
    for name in "abcdef":
        await write(connection, name, 1)
    events = await publish(pool, client, partitions=3)
    streams = [EventStream(client, key) for key in keys(3)]
    explainer = Explainer(pool, client, Ticks(pool), streams)
    for event in events:
        story = await at(explainer, event.id)
        assert story.state is State.IN_THE_STREAM
        assert story.stream
        assert await client.xrange(story.stream, event.id, event.id)
    assert states(await of_entity(explainer, "c")) == [State.IN_THE_STREAM]


async def test_an_id_of_a_large_outbox_is_told_within_a_second(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, explainer: Explainer
) -> None:
    for number in range(10):
        await write(connection, f"entity {number}", 5000)
        await Ticks(pool).make()
    await publish(pool, client)
    newest = await Ticks(pool).newest()
    assert newest
    began = time.monotonic()
    story = await at(explainer, f"{newest.ms}-4321")
    assert time.monotonic() - began < 1
    assert story.state is State.IN_THE_STREAM
    began = time.monotonic()
    told = await of_entity(explainer, "entity 0")
    assert time.monotonic() - began < 3
    assert states(told) == [State.IN_THE_STREAM] * 10


async def test_it_is_right_while_writers_and_the_publisher_run(
    connect: Connect, pool: asyncpg.Pool, client: Redis, explainer: Explainer
) -> None:
    done = asyncio.Event()

    async def write_on() -> None:
        connection = await connect()
        while not done.is_set():
            await write(connection, "a", 3)

    async def publish_on() -> None:
        while not done.is_set():
            await publish_new(pool, client)
            await client.xtrim(KEY, maxlen=300, approximate=False)

    seen: set[State] = set()
    fine = {State.NOT_IN_A_TICK, State.WAITING, State.IN_THE_STREAM, State.TRIMMED}
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(write_on())
        tasks.create_task(publish_on())
        while State.IN_THE_STREAM not in seen or len(seen) == 1:
            seen |= set(states(await of_entity(explainer, "a")))
            assert seen <= fine
        done.set()


@pytest.fixture
def environment(database: str, redis_url: str) -> dict[str, str]:
    return {"DATABASE_URL": database, "REDIS_URL": redis_url}


async def test_the_command_tells_an_event_to_people_and_to_programs(
    environment: dict[str, str],
    connection: asyncpg.Connection,
    pool: asyncpg.Pool,
    client: Redis,
) -> None:
    await write(connection, "[b]a[/b]", 2)
    id_ = (await publish(pool, client))[1].id
    await client.xgroup_create(KEY, "search", "0")
    await client.xreadgroup("search", "worker 7", {KEY: ">"})
    code, out, _ = await typed(environment, "explain", "--id", id_)
    assert code == 0
    for words in (id_, "update of series [b]a[/b]", "number 1 of 2", "in the stream", "worker 7"):
        assert words in out
    code, out, _ = await typed(environment, "explain", "--id", id_, "--json")
    story = json.loads(out)
    assert (code, story["state"], story["id"]) == (0, "in_the_stream", id_)
    assert story["deliveries"][0]["reading"] == "pending"


async def test_the_command_tells_an_entitys_events(
    environment: dict[str, str],
    connection: asyncpg.Connection,
    pool: asyncpg.Pool,
    client: Redis,
) -> None:
    await write(connection, "a", 3)
    events = await publish(pool, client)
    await write(connection, "a", 1)
    code, out, _ = await typed(environment, "explain", "--entity-id", "a", "--json")
    told = json.loads(out)
    assert (code, told["looked_back_to"]) == (0, None)
    assert [event["id"] for event in told["events"]] == [*(event.id for event in events), None]
    code, out, _ = await typed(environment, "explain", "--entity-id", "a", "--last", "2")
    assert code == 0
    assert "not in a tick" in out
    assert events[0].id not in out
    code, out, _ = await typed(environment, "explain", "--entity-id", "a", "--entity", "season")
    assert (code, out) == (0, "No event of a was found.\n")


@pytest.mark.parametrize("wish", [(), ("--id", "5-0", "--entity-id", "a"), ("--id", "five")])
async def test_what_cannot_be_told_is_wrong_usage(
    environment: dict[str, str], wish: tuple[str, ...]
) -> None:
    code, out, _ = await typed(environment, "explain", *wish)
    assert (code, out) == (2, "")
