"""Partitions come ahead and go behind: nothing is lost, nobody waits, nothing bloats."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import asyncpg
import pytest
from captured import add_series
from publishing import by_definition, eventually, outbox_pool, read, write
from servers import Connect

from outbox.position import ORIGIN, Position
from outbox.retention import Kept, Reason, Retention, Wait
from outbox.tick import Tick
from outbox.ticks import Ticks

SCHEMA = (Path(__file__).resolve().parents[2] / "schema.sql").read_text("utf-8")
DAY_S = 86_400
DAY_MS = DAY_S * 1000
WEEK_S = 7 * DAY_S
FAR = Position(9_000_000_000_000, 0)


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    async with outbox_pool(database) as pool:
        yield pool


@pytest.fixture
def ticks(pool: asyncpg.Pool) -> Ticks:
    return Ticks(pool)


@pytest.fixture
def retention(pool: asyncpg.Pool) -> Retention:
    return Retention(pool)


async def rotate(retention: Retention) -> Kept:
    """Open a new stretch, however old the newest is."""
    return await retention.keep_up(WEEK_S, period_s=0)


async def make(ticks: Ticks) -> Tick:
    _, tick = await ticks.make()
    assert tick is not None
    return tick


async def age(connection: asyncpg.Connection, days: int) -> None:
    """Make all ticks that there are *days* older."""
    await connection.execute(
        "SELECT outbox.ensure_tick_partition(ms - $1) FROM outbox.tick", days * DAY_MS
    )
    await connection.execute("UPDATE outbox.tick SET ms = ms - $1", days * DAY_MS)


async def pass_all(connection: asyncpg.Connection, name: str = "catalog:events") -> None:
    """Note that reader *name* has done everything."""
    await connection.execute(
        "INSERT INTO outbox.checkpoint (name, ms, seq) VALUES ($1, $2, 0)"
        " ON CONFLICT (name) DO UPDATE SET ms = excluded.ms",
        name,
        FAR.ms,
    )


async def partitions(connection: asyncpg.Connection, parent: str) -> list[str]:
    rows = await connection.fetch(
        "SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = $1::text::regclass ORDER BY c.relname",
        f"outbox.{parent}",
    )
    return [row["relname"] for row in rows]


async def retitle(connection: asyncpg.Connection, title: str) -> None:
    await connection.execute("UPDATE catalog.series SET title = $1 WHERE slug = 's-0'", title)


async def stretches(connection: asyncpg.Connection) -> list[int]:
    """The stretch of each event, in order of id."""
    rows = await connection.fetch("SELECT stretch FROM outbox.event ORDER BY id")
    return [row["stretch"] for row in rows]


# Ahead


async def test_there_is_a_partition_for_the_ticks_of_tomorrow(
    connection: asyncpg.Connection, retention: Retention
) -> None:
    kept = await retention.keep_up(WEEK_S)
    days = [datetime.now(UTC), datetime.now(UTC) + timedelta(days=1)]
    assert list(kept.created) == [f"tick_{day:%Y%m%d}" for day in days]
    assert await partitions(connection, "tick") == list(kept.created)
    assert await retention.keep_up(WEEK_S) == Kept((), (), ())


async def test_a_stretch_is_as_long_as_its_period_and_tells_when_it_was_opened(
    connection: asyncpg.Connection, retention: Retention
) -> None:
    await add_series(connection)
    assert "event_2" not in (await retention.keep_up(WEEK_S)).created
    await connection.execute("UPDATE outbox.stretch SET opened_at = opened_at - interval '1 day'")
    before = await connection.fetchrow(
        "SELECT clock_timestamp() AS at, pg_snapshot_xmax(pg_current_snapshot()) AS xid"
    )
    assert (await retention.keep_up(WEEK_S)).created == ("event_2",)
    newest = await connection.fetchrow("SELECT * FROM outbox.stretch ORDER BY number DESC LIMIT 1")
    assert newest is not None
    assert before is not None
    assert newest["number"] == 2
    assert newest["opened_at"] >= before["at"]
    assert newest["opened_by"] >= before["xid"]
    assert newest["id_floor"] == await connection.fetchval("SELECT max(id) FROM outbox.event")
    assert (await retention.keep_up(WEEK_S)).created == ()


async def test_captures_of_every_table_write_into_the_newest_stretch(
    connection: asyncpg.Connection, retention: Retention
) -> None:
    await connection.execute("INSERT INTO catalog.category (slug, name) VALUES ('c', 'Name')")
    [series] = await add_series(connection)
    for _ in range(2):
        await rotate(retention)
    await connection.execute("UPDATE catalog.category SET name = 'New'")
    await retitle(connection, "New")
    await connection.execute(
        "WITH e AS (INSERT INTO catalog.episode (slug, series_id, title)"
        " VALUES ('e', $1, 'Title') RETURNING id)"
        " INSERT INTO catalog.media_asset (id, episode_id) SELECT id, id FROM e",
        series,
    )
    await connection.execute(
        "INSERT INTO catalog.media_asset_variant"
        " (media_asset_id, label, width, height, bitrate_kbps, codec)"
        " SELECT id, '1080p', 1920, 1080, 6000, 'h264' FROM catalog.media_asset"
    )
    await connection.execute("DELETE FROM catalog.series")
    assert (await stretches(connection))[:2] == [1, 1]
    assert len(await stretches(connection)) >= 9
    assert set((await stretches(connection))[2:]) == {3}


async def test_a_prepared_statement_of_an_old_session_writes_into_the_newest_stretch(
    connection: asyncpg.Connection, retention: Retention
) -> None:
    await add_series(connection)
    update = await connection.prepare("UPDATE catalog.series SET title = $1")
    for n in range(8):  # until its plan, and those inside the capture, are generic
        await update.fetch(f"before {n}")
    await rotate(retention)
    await update.fetch("after")
    assert (await stretches(connection))[-2:] == [1, 2]


async def test_a_transaction_that_spans_a_rotation_has_all_its_events(
    connect: Connect, connection: asyncpg.Connection, retention: Retention, ticks: Ticks
) -> None:
    await add_series(connection)
    slow = await connect()
    async with slow.transaction():
        await retitle(slow, "before")
        await rotate(retention)
        await retitle(slow, "between")
        await rotate(retention)
        await retitle(slow, "after")
        await make(ticks)
    await make(ticks)
    payloads = [event.payload for event in await read(ticks)]
    assert len(payloads) == 4
    assert [word in payload for word, payload in zip(
        ("Title", "before", "between", "after"), payloads, strict=True
    )] == [True] * 4  # fmt: skip


async def test_rotation_under_writers_loses_no_event(
    connect: Connect, connection: asyncpg.Connection, retention: Retention, ticks: Ticks
) -> None:
    dice = random.Random(7)  # noqa: S311 - a scenario, not a secret
    series = await add_series(connection, 12)
    committed: list[str] = []
    stop = asyncio.Event()

    async def writer(number: int) -> None:
        mine = await connect()
        written = 0
        while not stop.is_set():
            transaction, titles = mine.transaction(), []
            await transaction.start()
            for _ in range(dice.randint(1, 5)):
                titles.append(f"{number}.{written}")
                written += 1
                await mine.execute(
                    "UPDATE catalog.series SET title = $2 WHERE id = $1",
                    series[number + 6 * dice.randrange(2)],
                    titles[-1],
                )
                if number == 0:  # long ones: several rotations pass
                    await asyncio.sleep(0.05)
            if dice.random() < 0.2:
                await transaction.rollback()
            else:
                await transaction.commit()
                committed.extend(titles)

    async def ticker() -> None:
        while not stop.is_set():
            await ticks.make()
            await asyncio.sleep(0)

    writers = [asyncio.create_task(writer(number)) for number in range(6)]
    ticking = asyncio.create_task(ticker())
    opened = 0
    while opened < 10:
        newest = (await rotate(retention)).created
        if newest:
            opened += 1
            written = f"SELECT EXISTS (SELECT FROM outbox.{newest[0]})"  # noqa: S608 - ours
            await eventually(partial(connection.fetchval, written))
    stop.set()
    await asyncio.gather(*writers, ticking)
    await ticks.make()

    events = await read(ticks)
    assert events == await by_definition(connection)
    titles = [event.payload.split('"title":"')[1].split('"')[0] for event in events[12:]]
    assert sorted(titles) == sorted(committed)
    used = await stretches(connection)
    assert len(set(used)) == 11


async def test_a_watch_that_is_not_committed_holds_up_the_rotation_and_is_not_forgotten(
    connect: Connect, connection: asyncpg.Connection, retention: Retention
) -> None:
    await retention.keep_up(WEEK_S)
    admin = await connect()
    await connection.execute("CREATE TABLE public.book (id integer PRIMARY KEY)")
    async with admin.transaction():
        await admin.execute("SELECT outbox.watch('public.book', entity => 'book')")
        kept = await rotate(retention)
        assert kept.created == ()
        assert {wait.reason for wait in kept.waiting_for} == {Reason.LOCK, Reason.CAPTURE}
    assert (await rotate(retention)).created == ("event_2",)
    await connection.execute("INSERT INTO public.book VALUES (1)")
    assert await stretches(connection) == [2]


async def test_a_table_that_was_altered_and_not_watched_anew_holds_up_nobody_else(
    connection: asyncpg.Connection, retention: Retention, ticks: Ticks
) -> None:
    await add_series(connection)
    await connection.execute("CREATE TABLE public.book (id integer PRIMARY KEY)")
    await connection.execute("SELECT outbox.watch('public.book', entity => 'book')")
    await connection.execute("ALTER TABLE public.book RENAME id TO number")
    await rotate(retention)
    await retitle(connection, "New")
    assert (await stretches(connection))[-1] == 2
    await make(ticks)
    await age(connection, 9)
    await retitle(connection, "Newer")
    await make(ticks)
    await pass_all(connection)
    kept = await retention.keep_up(WEEK_S)
    [wait] = kept.waiting_for
    assert (wait.partition, wait.reason) == ("outbox.event_1", Reason.CAPTURE)
    assert "public.book" in wait.detail


# Behind


async def old_and_new(connection: asyncpg.Connection, retention: Retention, ticks: Ticks) -> Tick:
    """Two series' creates in event_1 with a tick 9 days old; an update in event_2; the new tick."""
    await add_series(connection, 2)
    await make(ticks)
    await age(connection, 9)
    await rotate(retention)
    await retitle(connection, "New")
    return await make(ticks)


async def test_ticks_and_events_older_than_is_kept_are_dropped(
    connection: asyncpg.Connection, retention: Retention, ticks: Ticks
) -> None:
    assert await ticks.oldest() == ORIGIN
    tick = await old_and_new(connection, retention, ticks)
    await pass_all(connection)
    assert await ticks.oldest() == ORIGIN
    [old, *kept] = await partitions(connection, "tick")
    assert (await retention.keep_up(10 * DAY_S)).dropped == ()

    assert await retention.keep_up(WEEK_S) == Kept((), (f"outbox.{old}", "outbox.event_1"), ())
    assert await partitions(connection, "tick") == kept
    assert await partitions(connection, "event") == ["event_2"]
    assert await connection.fetchval("SELECT array_agg(number) FROM outbox.stretch") == [2]
    assert await ticks.oldest() == Position(tick.ms, 0)
    assert [event.id for event in await read(ticks)] == [f"{tick.ms}-0"]
    await retitle(connection, "Newest")
    after = await make(ticks)
    assert after.total_before == 3
    assert [event.id for event in await read(ticks)] == [f"{tick.ms}-0", f"{after.ms}-0"]


async def test_the_newest_tick_is_never_dropped(
    connection: asyncpg.Connection, retention: Retention, ticks: Ticks
) -> None:
    await add_series(connection)
    tick = await make(ticks)
    await age(connection, 400)
    await pass_all(connection)
    await rotate(retention)
    assert (await retention.keep_up(0)).dropped == ()
    assert [event.id for event in await read(ticks)] == [f"{tick.ms - 400 * DAY_MS}-0"]
    await retitle(connection, "New")
    assert (await make(ticks)).total_before == 1


async def test_partitions_of_days_without_a_tick_are_dropped(
    connection: asyncpg.Connection, retention: Retention, ticks: Ticks
) -> None:
    tick = await old_and_new(connection, retention, ticks)
    await connection.execute("DELETE FROM outbox.tick WHERE ms = $1", tick.ms)  # quiet since
    for days in (8, 7, 6):
        await connection.execute("SELECT outbox.ensure_tick_partition($1)", tick.ms - days * DAY_MS)
    kept = await retention.keep_up(WEEK_S)
    day = datetime.fromtimestamp(tick.ms / 1000, UTC)
    assert kept.dropped == (f"outbox.tick_{day - timedelta(days=8):%Y%m%d}",)


@pytest.mark.parametrize(
    ("behind", "required"),
    [
        ({}, ()),
        ({"catalog:events": FAR}, ("catalog:events", "projector")),
        ({"catalog:events": FAR, "projector": Position(0, 0)}, ()),
        ({"catalog:events": Position(0, 0), "projector": FAR}, ()),
    ],
)
async def test_nothing_is_dropped_before_every_reader_has_passed_it(
    connection: asyncpg.Connection,
    pool: asyncpg.Pool,
    ticks: Ticks,
    behind: dict[str, Position],
    required: tuple[str, ...],
) -> None:
    retention = Retention(pool, required)
    tick = await old_and_new(connection, retention, ticks)
    for name, position in behind.items():
        await connection.execute(
            "INSERT INTO outbox.checkpoint (name, ms, seq) VALUES ($1, $2, 0)", name, position.ms
        )
    kept = await retention.keep_up(WEEK_S)
    assert kept.dropped == ()
    [wait] = kept.waiting_for
    assert wait.reason is Reason.CHECKPOINT
    late = {"projector", "catalog:events"} - {n for n, p in behind.items() if p == FAR}
    assert any(name in str(wait) for name in late) or not behind
    # At the last event that may go is not enough: readers are told apart by where they stand.
    for name in ("catalog:events", "projector"):
        await connection.execute(
            "INSERT INTO outbox.checkpoint (name, ms, seq) VALUES ($1, $2, 5)"
            " ON CONFLICT (name) DO UPDATE SET ms = excluded.ms",
            name,
            tick.ms - 1,
        )
    assert (await retention.keep_up(WEEK_S)).dropped == ()
    for name in ("catalog:events", "projector"):
        await pass_all(connection, name)
    assert len((await retention.keep_up(WEEK_S)).dropped) == 2


async def test_what_is_waited_for_is_named(
    connection: asyncpg.Connection, retention: Retention, ticks: Ticks
) -> None:
    await old_and_new(connection, retention, ticks)
    await connection.execute("INSERT INTO outbox.checkpoint VALUES ('catalog:events', 4, 2)")
    assert (await retention.keep_up(WEEK_S)).waiting_for == (
        Wait(
            f"outbox.{(await partitions(connection, 'tick'))[0]}",
            Reason.CHECKPOINT,
            "catalog:events at 4-2",
        ),
    )


async def test_an_event_that_is_in_no_tick_yet_is_not_dropped(
    connection: asyncpg.Connection, retention: Retention, ticks: Ticks
) -> None:
    await old_and_new(connection, retention, ticks)
    await rotate(retention)
    await retitle(connection, "in event_3")
    await rotate(retention)
    await pass_all(connection)
    kept = await retention.keep_up(-2 * DAY_S)
    assert "outbox.event_1" in kept.dropped
    assert "outbox.event_3" not in kept.dropped
    await make(ticks)
    assert [event.entity for event in await read(ticks)] == ["series", "series"]


async def test_events_of_another_cluster_than_the_ticks_are_not_dropped(
    connection: asyncpg.Connection, retention: Retention, ticks: Ticks
) -> None:
    await old_and_new(connection, retention, ticks)
    await pass_all(connection)
    # As after a dump and restore: the transaction numbers of the ticks are far above those here.
    await connection.execute("UPDATE outbox.tick SET since = '999999:999999:', snapshot = since")
    await rotate(retention)
    await retention.keep_up(WEEK_S)
    assert await partitions(connection, "event") == ["event_2", "event_3"]


async def quick_writer(connect: Connect) -> None:
    """Write in a session of its own that waits for no lock: raises LockNotAvailableError.

    20 ms are for a busy machine; in the queue behind a lock it would be a good deal more.
    """
    writer = await connect(server_settings={"lock_timeout": "20ms"})
    await writer.execute("UPDATE catalog.series SET title = random()::text WHERE slug = 's-1'")


async def undisturbed(connect: Connect, retention: Retention) -> Kept:
    """Keep up while new sessions write all the time, none of which may wait for a lock."""
    done = asyncio.create_task(retention.keep_up(WEEK_S))
    await quick_writer(connect)
    while not done.done():
        await quick_writer(connect)
    return await done


@pytest.mark.parametrize("others_end_first", [False, True])
async def test_an_open_transaction_that_wrote_there_stops_the_drop_and_no_writer(
    connect: Connect,
    connection: asyncpg.Connection,
    retention: Retention,
    ticks: Ticks,
    others_end_first: bool,  # noqa: FBT001 - then a snapshot lists it; otherwise it is above all
) -> None:
    await add_series(connection, 2)
    slow = await connect()
    transaction = slow.transaction()
    await transaction.start()
    await retitle(slow, "slow")
    if others_end_first:
        await quick_writer(connect)
    await make(ticks)
    await rotate(retention)
    await age(connection, 9)
    await quick_writer(connect)
    await make(ticks)
    await pass_all(connection)

    kept = await undisturbed(connect, retention)
    assert [name for name in kept.dropped if "event" in name] == []
    [wait] = kept.waiting_for
    assert wait.partition == "outbox.event_1"
    assert str(slow.get_server_pid()) in wait.detail

    await transaction.commit()
    late = await make(ticks)
    # What it wrote belongs to a tick that is young, whatever the age of the partition.
    assert (await retention.keep_up(WEEK_S)).dropped == ()
    assert "slow" in (await read(ticks, Position(late.ms - 1, 0)))[0].payload


async def test_a_transaction_that_may_still_write_there_stops_the_drop(
    connect: Connect, connection: asyncpg.Connection, retention: Retention, ticks: Ticks
) -> None:
    await add_series(connection)
    await make(ticks)
    slow = await connect()
    await retitle(slow, "its functions are compiled and planned")
    update = await slow.prepare("UPDATE catalog.series SET title = $1 WHERE slug = $2")
    transaction = slow.transaction()
    await transaction.start()
    await update.fetch("holds the locks of an update, and has written nothing", "none")
    await age(connection, 9)
    await make(ticks)
    await age(connection, 9)
    await rotate(retention)
    await retitle(connection, "New")
    await make(ticks)
    await pass_all(connection)

    kept = await retention.keep_up(WEEK_S)
    assert not any("event" in name for name in kept.dropped)
    [wait] = kept.waiting_for
    assert (wait.partition, wait.reason) == ("outbox.event_1", Reason.TRANSACTION)
    assert str(slow.get_server_pid()) in wait.detail
    await update.fetch("at last", "s-0")
    await transaction.commit()
    assert (await stretches(connection))[-1] == 1  # or this test would prove nothing
    await make(ticks)
    assert [event.payload for event in await read(ticks)][-1].count("at last") == 1


async def test_what_is_committed_there_while_the_lock_is_tried_is_seen(
    connect: Connect, connection: asyncpg.Connection, retention: Retention, ticks: Ticks
) -> None:
    await old_and_new(connection, retention, ticks)
    await retention.keep_up(WEEK_S)  # from now on nobody is waited for who was under way
    await pass_all(connection)
    late = await connect()
    transaction = late.transaction()
    await transaction.start()
    await write(late, "late")  # straight into event_1, as no capture does any more
    dropping = asyncio.create_task(retention.keep_up(WEEK_S))

    async def is_at_it() -> bool:
        return dropping.done() or await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()"
            " AND wait_event = 'PgSleep')"
        )

    await eventually(is_at_it)
    await transaction.commit()
    assert "outbox.event_1" not in (await dropping).dropped
    await make(ticks)
    assert (await read(ticks))[-1].entity_id == "late"


@pytest.mark.parametrize("parent", ["tick", "event"])
async def test_a_reader_of_the_old_partition_stops_the_drop_and_no_writer(
    connect: Connect,
    connection: asyncpg.Connection,
    retention: Retention,
    ticks: Ticks,
    parent: str,
) -> None:
    await old_and_new(connection, retention, ticks)
    await pass_all(connection)
    old = (await partitions(connection, parent))[0]
    dump = await connect()
    async with dump.transaction():
        await dump.execute(f"LOCK TABLE outbox.{parent} IN ACCESS SHARE MODE")
        kept = await undisturbed(connect, retention)
        assert old in await partitions(connection, parent)
        [wait] = kept.waiting_for
        assert (wait.partition, wait.reason) == (f"outbox.{old}", Reason.LOCK)
        assert str(dump.get_server_pid()) in wait.detail
    await retention.keep_up(WEEK_S)
    assert old not in await partitions(connection, parent)


async def test_what_was_taken_out_and_not_dropped_is_dropped_when_nobody_reads_it(
    connect: Connect, connection: asyncpg.Connection, retention: Retention, ticks: Ticks
) -> None:
    await old_and_new(connection, retention, ticks)
    await pass_all(connection)
    old = (await partitions(connection, "tick"))[0]
    # As a publisher that was killed after its first step.
    await connection.execute("SELECT outbox.retire('7 days')")
    assert old not in await partitions(connection, "tick")
    reader = await connect()
    async with reader.transaction():
        await reader.execute(f"SELECT FROM outbox.retired_{old}")
        kept = await retention.keep_up(WEEK_S)
        assert kept.dropped == ("outbox.event_1",)
        assert [wait.partition for wait in kept.waiting_for] == [f"outbox.{old}"]
    assert (await retention.keep_up(WEEK_S)).dropped == (f"outbox.{old}",)
    assert await connection.fetchval("SELECT to_regclass($1)", f"outbox.retired_{old}") is None


async def test_processes_that_drop_at_once_share_the_work(
    connection: asyncpg.Connection, retention: Retention, ticks: Ticks
) -> None:
    await add_series(connection)
    for n in range(6):
        await retitle(connection, str(n))
        await make(ticks)
        await age(connection, 2)
        await rotate(retention)
    await retitle(connection, "last")
    await make(ticks)
    await pass_all(connection)
    dropped: list[str] = []
    while round_ := [
        name
        for kept in await asyncio.gather(*(retention.keep_up(5 * DAY_S) for _ in range(6)))
        for name in kept.dropped
    ]:
        dropped += round_
    assert len(dropped) == len(set(dropped)) == 8
    left = await read(ticks)
    assert [event.operation for event in left] == ["update"] * 3
    assert left == await by_definition(connection)


async def test_what_is_left_reads_as_before(
    connection: asyncpg.Connection, retention: Retention, ticks: Ticks
) -> None:
    await add_series(connection, 3)
    for n in range(5):
        await retitle(connection, str(n))
        await make(ticks)
        await age(connection, 1)
        await rotate(retention)
    await retitle(connection, "last")
    await make(ticks)
    await pass_all(connection)
    before = await read(ticks)
    assert (await retention.keep_up(3 * DAY_S)).dropped
    left = await read(ticks)
    assert left == before[-len(left) :] == await by_definition(connection)
    assert 2 <= len(left) < len(before)
    assert Position.parse(left[0].id) == await ticks.oldest()


# Applied again


async def test_schema_applied_over_rotated_partitions_captures_into_the_newest(
    connection: asyncpg.Connection, retention: Retention, ticks: Ticks
) -> None:
    await old_and_new(connection, retention, ticks)
    await pass_all(connection)
    await retention.keep_up(WEEK_S)
    await rotate(retention)
    before = await connection.fetch("SELECT w.*, w.xmin FROM outbox.watched AS w ORDER BY source")
    await connection.execute(SCHEMA)
    assert before == await connection.fetch(
        "SELECT w.*, w.xmin FROM outbox.watched AS w ORDER BY source"
    )
    assert await partitions(connection, "event") == ["event_2", "event_3"]
    await retitle(connection, "Newest")
    assert await stretches(connection) == [2, 3]


async def test_only_the_publisher_may_make_and_drop_partitions(
    connect: Connect, connection: asyncpg.Connection, retention: Retention, ticks: Ticks
) -> None:
    await old_and_new(connection, retention, ticks)
    await pass_all(connection)
    for role in ("outbox_publisher", "feed_projector", "catalog_writer"):
        name = await connection.fetchval(f"SELECT '{role}_at_' || current_database()")
        await connection.execute(f"CREATE ROLE {name} LOGIN IN ROLE {role}")
        mine = await connect(user=name)
        for call in ("outbox.rotate('0')", "outbox.retire('7 days')"):
            if role == "outbox_publisher":
                await mine.execute(f"SELECT {call}")
            else:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await mine.execute(f"SELECT {call}")
    assert (await partitions(connection, "event"))[-1] == "event_3"
    assert len(await partitions(connection, "tick")) == 2


# Bloat


async def test_with_xmin_held_nothing_dies_and_nothing_grows_beyond_what_it_holds(
    connect: Connect, connection: asyncpg.Connection, retention: Retention, ticks: Ticks
) -> None:
    await add_series(connection, 5)
    await make(ticks)
    holder = await connect()
    async with holder.transaction(isolation="repeatable_read"):
        await holder.execute("SELECT FROM catalog.series")
        for n in range(300):
            await retitle(connection, str(n))
            await make(ticks)
            if n % 100 == 50:
                await rotate(retention)
        for session in (connection, holder):
            await session.execute("SELECT pg_stat_force_next_flush()")
        await ticks.make()
        dead = await connection.fetch(
            "SELECT relname, n_dead_tup, n_tup_upd + n_tup_del AS changed FROM pg_stat_user_tables"
            " WHERE schemaname = 'outbox' AND (relname LIKE 'event%' OR relname LIKE 'tick%')"
        )
        assert {(row["n_dead_tup"], row["changed"]) for row in dead} == {(0, 0)}
    for table in await partitions(connection, "event") + await partitions(connection, "tick"):
        size = await connection.fetchrow(
            f"SELECT pg_relation_size('outbox.{table}') / 8192 AS pages, (SELECT"  # noqa: S608 - ours
            " coalesce(sum(pg_column_size(t.*) + 8), 0) / 8000 FROM outbox."
            f"{table} AS t) AS needed"
        )
        assert size is not None
        assert size["pages"] <= float(size["needed"]) * 1.1 + 2, table
