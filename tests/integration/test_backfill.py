"""Fresh events for rows that are there: whole, in order, in chunks, and no faster than they go."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from captured import Change, add_assets, add_series, captured, last_id
from on_call import typed
from publishing import eventually, outbox_pool
from servers import Connect

from outbox.retention import Retention
from publisher import backfill
from publisher.backfill import Run, Target
from publisher.errors import BackfillRefused


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    async with outbox_pool(database) as pool:
        yield pool


@pytest.fixture
def environment(database: str, redis_url: str) -> dict[str, str]:
    return {"DATABASE_URL": database, "REDIS_URL": redis_url}


class Killed(Exception):
    """As a kill -9 between two chunks."""


async def always() -> bool:
    return True


def dies_after(chunks: int) -> Callable[[], Awaitable[bool]]:
    looks = iter(range(chunks))

    async def has_room() -> bool:
        if next(looks, None) is None:
            raise Killed
        return True

    return has_room


async def run(  # noqa: PLR0913 - each is an option of the command
    pool: asyncpg.Pool,
    entity: str = "series",
    condition: str = "",
    *,
    chunk: int = 500,
    again: bool = False,
    has_room: Callable[[], Awaitable[bool]] = always,
    watch: Callable[[Run, str | None], None] = lambda *_: None,
) -> Run:
    target = await backfill.find(pool, entity, condition)
    begun = await backfill.begin(pool, target, again=again)

    async def pause(seconds: float) -> None:
        await asyncio.sleep(seconds / 20)

    return await backfill.backfill(
        pool, target, begun, chunk=chunk, has_room=has_room, pause=pause, watch=watch
    )


async def emitted(connection: asyncpg.Connection, after: int) -> list[Change]:
    changes = await captured(connection, after=after)
    assert {change.operation for change in changes} <= {"update"}
    return changes


# What is in an event


async def test_the_payload_is_that_of_the_create(
    connection: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    category = await connection.fetchval(
        "INSERT INTO catalog.category (slug, name, description)"
        " VALUES ('c', 'Name', 'long') RETURNING id"
    )
    await connection.execute(
        "INSERT INTO catalog.series (slug, title, synopsis, tags, hero_image_url, category_id)"
        " VALUES ('s', 'Title', 'long', '{a,b}', repeat('h', 2000), $1)",
        category,
    )
    await add_assets(connection)
    await connection.execute(
        "INSERT INTO catalog.season (series_id, sequence_number)"
        " SELECT id, 1 FROM catalog.series WHERE slug = 's'"
    )
    await connection.execute("SET TimeZone = 'Asia/Tokyo'")
    created = await captured(connection)
    assert len({change.entity for change in created}) == 5
    for entity in ("category", "series", "season", "episode", "mediaAsset"):
        before = await last_id(connection)
        done = await run(pool, entity)
        changes = await emitted(connection, before)
        creates = {c.entity_id: c.payload for c in created if c.entity == entity}
        assert {c.entity_id: c.payload for c in changes} == creates, entity
        assert (done.rows, done.events) == (len(creates), len(creates))


@pytest.mark.parametrize(
    ("type_", "keys"),
    [
        ("integer", ["-1", "2", "10"]),
        ("text", ["", "a", "b'c"]),
        ('text COLLATE "C"', ["B", "a", "ä"]),
        ("numeric(6,3)", ["1.000", "9.500", "10.000"]),
        ("timestamptz", ["2026-01-01 00:00:00+00", "2026-01-01 00:00:00.000001+00"]),
        ("bit(3)", ["001", "010", "111"]),
        ("character(3)", ["a", "b"]),
    ],
)
async def test_a_key_may_be_of_any_type(
    connection: asyncpg.Connection, pool: asyncpg.Pool, type_: str, keys: list[str]
) -> None:
    await connection.execute(
        f'CREATE TABLE public."odd %s" ("the Key" {type_} PRIMARY KEY, "%1$s" text);'
        "SELECT outbox.watch('public.\"odd %s\"', entity => 'odd', key => 'the Key')"
    )
    bare = type_.split(" COLLATE", maxsplit=1)[0]
    for key in keys:
        await connection.execute(
            f'INSERT INTO public."odd %s" VALUES ($1::text::{bare}, $1)',  # noqa: S608 - ours
            key,
        )
    created = await captured(connection)
    before = await last_id(connection)
    await run(pool, "odd", chunk=1)
    changes = await emitted(connection, before)
    assert [(c.entity_id, c.payload) for c in changes] == [
        (c.entity_id, c.payload) for c in created
    ]


async def test_rows_that_are_deleted_have_no_event(
    connection: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    ids = await add_series(connection, 4)
    await connection.execute("UPDATE catalog.series SET deleted_at = now() WHERE slug = 's-0'")
    target = await backfill.find(pool, "series", "")
    await connection.execute("DELETE FROM catalog.series WHERE slug = 's-1'")
    before = await last_id(connection)
    events = await connection.fetchval(
        "SELECT outbox.emit($1::text::regclass, $2)", target.source, [str(id_) for id_ in ids]
    )
    assert events == 2
    await run(pool)
    slugs = [change.payload["slug"] for change in await emitted(connection, before)]
    assert sorted(slugs) == ["s-2", "s-2", "s-3", "s-3"]


async def test_events_go_into_the_newest_stretch(
    connection: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await add_series(connection)
    await Retention(pool).keep_up(1e6, period_s=0)
    await run(pool)
    newest = await connection.fetchval("SELECT stretch FROM outbox.event ORDER BY id DESC LIMIT 1")
    assert newest == 2


async def test_it_wakes_a_publisher_that_sleeps(
    connect: Connect, connection: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await add_series(connection)
    rung = asyncio.Event()
    sleeper = await connect()
    await sleeper.add_listener("outbox.bell", lambda *_: rung.set())
    await sleeper.execute("SELECT pg_advisory_lock(hashtextextended('outbox.bell', 0))")
    await run(pool)
    await asyncio.wait_for(rung.wait(), 5)
    await sleeper.remove_listener("outbox.bell", lambda *_: None)
    await sleeper.reset()


# Which rows, in which order


@pytest.mark.parametrize(
    ("condition", "slugs"),
    [
        ("slug IN ('s-1', 's-3')", ["s-1", "s-3"]),
        ("status = 'PUBLISHED' -- all that one sees", ["s-4"]),
        ("series.title = 'Title' AND current_user = session_user AND slug > 's-2'", ["s-3", "s-4"]),
        ("false", []),
        ("slug = 's-0') OR (slug = 's-2'", ["s-0", "s-2"]),
        ("EXISTS (SELECT FROM catalog.episode AS e WHERE e.series_id = series.id)", ["s-2"]),
        ("title LIKE '{T}%' OR title LIKE '{' OR slug = 's-1'", ["s-1"]),
    ],
)
async def test_a_condition_chooses_rows(
    connection: asyncpg.Connection, pool: asyncpg.Pool, condition: str, slugs: list[str]
) -> None:
    ids = await add_series(connection, 5)
    await connection.execute("UPDATE catalog.series SET status = 'PUBLISHED' WHERE slug = 's-4'")
    await connection.execute(
        "INSERT INTO catalog.episode (slug, series_id, title) VALUES ('e', $1, 'E')", ids[2]
    )
    before = await last_id(connection)
    target = await backfill.find(pool, "series", condition)
    assert await backfill.count(pool, target, None) == len(slugs)
    done = await run(pool, condition=condition, chunk=1)
    changes = await emitted(connection, before)
    assert sorted(change.payload["slug"] for change in changes) == slugs
    assert done.rows == done.events == len(slugs)


async def test_killed_it_goes_on_where_it_stopped_and_finished_it_begins_anew(
    connection: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    ids = await add_series(connection, 10)
    before = await last_id(connection)
    with pytest.raises(Killed):
        await run(pool, chunk=3, has_room=dies_after(2))
    await connection.execute("INSERT INTO catalog.category (slug, name) VALUES ('c', 'Name')")
    await run(pool, "category")  # another in between changes nothing
    target = await backfill.find(pool, "series", "")
    begun = await backfill.unfinished(pool, target)
    assert begun is not None
    assert (begun.rows, await backfill.count(pool, target, begun.last_key)) == (6, 4)
    done = await run(pool, chunk=3)
    assert (done.id, done.rows, done.events) == (begun.id, 10, 10)
    changes = [c for c in await captured(connection, after=before) if c.entity == "series"]
    assert [UUID(change.entity_id) for change in changes] == sorted(ids)

    once_more = await run(pool)
    assert (once_more.id > done.id, once_more.rows) == (True, 10)


async def test_asked_to_begin_anew_it_does(
    connection: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await add_series(connection, 4)
    with pytest.raises(Killed):
        await run(pool, chunk=1, has_room=dies_after(2))
    assert (await run(pool, again=True)).rows == 4


async def test_another_condition_is_another_backfill(
    connection: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await add_series(connection, 4)
    with pytest.raises(Killed):
        await run(pool, chunk=1, has_room=dies_after(2))
    assert (await run(pool, condition="slug <> 's-9'")).rows == 4
    assert (await run(pool)).rows == 4


async def test_two_that_run_at_once_emit_each_row_once(
    connection: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    ids = await add_series(connection, 60)
    before = await last_id(connection)
    await asyncio.gather(*(run(pool, chunk=2) for _ in range(4)))
    changes = await emitted(connection, before)
    assert [UUID(change.entity_id) for change in changes] == sorted(ids)


async def test_beside_writers_every_event_says_what_was_true_in_its_place(
    connect: Connect, connection: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    ids = await add_series(connection, 8)
    stop = asyncio.Event()

    async def writer(number: int) -> None:
        mine = await connect()
        n = 0
        while not stop.is_set():
            async with mine.transaction():
                for id_ in sorted(ids)[number::4]:
                    n += 1
                    await mine.execute(
                        "UPDATE catalog.series SET title = $2 WHERE id = $1", id_, f"{number} {n}"
                    )
                await asyncio.sleep(0.002)

    writers = [asyncio.create_task(writer(number)) for number in range(4)]
    for _ in range(15):
        await run(pool, chunk=3)
    stop.set()
    await asyncio.gather(*writers)

    titles: dict[str, str] = {}
    backfilled = 0
    for change in await captured(connection):
        if change.operation == "update" and "status" in change.payload:
            backfilled += 1
            assert change.payload["title"] == titles[change.entity_id]
        titles[change.entity_id] = change.payload["title"]
    assert backfilled == 15 * 8


async def test_a_writer_that_has_a_row_locked_is_waited_for(
    connect: Connect, connection: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await add_series(connection, 3)
    writer = await connect()
    transaction = writer.transaction()
    await transaction.start()
    await writer.execute("UPDATE catalog.series SET title = 'New' WHERE slug = 's-1'")
    before = await last_id(writer)
    waiting = asyncio.Event()

    def watch(_: Run, reason: str | None) -> None:
        if reason == "waiting for a writer":
            waiting.set()

    running = asyncio.create_task(run(pool, watch=watch))
    await asyncio.wait_for(waiting.wait(), 10)
    assert not running.done()
    await transaction.commit()
    assert (await running).events == 3
    titles = {c.payload["slug"]: c.payload["title"] for c in await emitted(connection, before)}
    assert titles == {"s-0": "Title", "s-1": "New", "s-2": "Title"}


async def test_in_a_deadlock_the_writer_wins(
    connect: Connect, connection: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    first, second = sorted(await add_series(connection, 2))
    writer = await connect()
    update = "UPDATE catalog.series SET title = 'New' WHERE id = $1"
    async with writer.transaction():
        await writer.execute(update, second)
        running = asyncio.create_task(run(pool))

        async def has_the_first() -> bool:
            return not await connection.fetchval(
                "SELECT EXISTS (SELECT FROM catalog.series WHERE id = $1 FOR UPDATE SKIP LOCKED)",
                first,
            )

        await eventually(has_the_first)
        await writer.execute(update, first)
    assert (await running).events == 2


# Whose rights


async def test_the_condition_is_read_with_the_rights_of_the_caller(
    connect: Connect, connection: asyncpg.Connection, database: str
) -> None:
    await add_series(connection, 2)
    name = await connection.fetchval("SELECT 'backfiller_' || current_database()")
    await connection.execute(f"CREATE ROLE {name} LOGIN IN ROLE outbox_publisher")
    as_them = database.replace("postgres@", f"{name}@")
    async with outbox_pool(as_them) as pool:
        with pytest.raises(BackfillRefused, match="permission denied for schema catalog"):
            await run(pool)
        await connection.execute(f"GRANT USAGE ON SCHEMA catalog TO {name}")
        await connection.execute(f"GRANT SELECT ON catalog.series TO {name}")
        assert (await run(pool)).events == 2
        with pytest.raises(BackfillRefused, match="permission denied for table category"):
            await run(pool, condition="EXISTS (SELECT FROM catalog.category)")
        assert (await run(pool, condition=f"current_user = '{name}'")).events == 2
    reader = await connect()
    await reader.execute("SET ROLE feed_projector")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await reader.execute("SELECT outbox.emit('catalog.series', '{}')")


async def test_the_condition_cannot_write(
    connection: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await add_series(connection)
    await connection.execute("CREATE SEQUENCE public.counter")
    with pytest.raises(BackfillRefused, match="read-only"):
        await run(pool, condition="nextval('public.counter') > 0")


async def test_only_what_is_watched_can_be_emitted(connection: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="is not watched"):
        await connection.execute("SELECT outbox.emit('outbox.tick', '{}')")
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="is not watched"):
        await connection.execute("SELECT outbox.emit('catalog.media_asset_variant', '{}')")


async def test_an_entity_in_several_tables_is_refused(
    connection: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await connection.execute(
        "CREATE TABLE public.show (id uuid PRIMARY KEY);"
        "SELECT outbox.watch('public.show', entity => 'series')"
    )
    with pytest.raises(BackfillRefused, match=r"several tables: .*show"):
        await backfill.find(pool, "series", "")


# How fast


async def test_it_waits_while_too_much_is_unpublished(
    connection: asyncpg.Connection, environment: dict[str, str]
) -> None:
    await add_series(connection, 20)
    await connection.execute("SELECT outbox.make_tick()")
    before = await last_id(connection)
    running = asyncio.create_task(
        typed(environment, "backfill", "--entity=series", "--chunk=5", "--max-backlog=8")
    )

    async def publish() -> bool:
        """As a publisher that has published everything; whether the command has gone on."""
        count = "SELECT count(*) FROM outbox.event WHERE id > $1"
        waiting: int = await connection.fetchval(count, before)
        # A chunk more than is allowed, at most.
        assert waiting - published["events"] <= 8 - 1 + 5
        await connection.execute("SELECT outbox.make_tick()")
        await connection.execute(
            "INSERT INTO outbox.checkpoint (name, ms, seq) SELECT 'catalog:events', max(ms), 1000"
            " FROM outbox.tick ON CONFLICT (name) DO UPDATE SET ms = excluded.ms"
        )
        published["events"] = waiting
        return running.done()

    published = {"events": 0}
    await eventually(publish, within_s=60)
    code, out, _ = await running
    assert (code, out) == (0, "20 events of 20 rows of catalog.series\n")


# The command


async def test_a_dry_run_says_how_many_rows_and_does_nothing(
    connection: asyncpg.Connection, environment: dict[str, str]
) -> None:
    await add_series(connection, 3)
    before = await last_id(connection)
    command = ("backfill", "--entity=series", "--where=slug <> 's-0'", "--dry-run")
    code, out, err = await typed(environment, *command)
    assert (code, out, err) == (0, "2 rows of catalog.series would each be an event\n", "")
    code, out, err = await typed(environment, *command, "--json")
    assert json.loads(out) == {
        "entity": "series",
        "where": "slug <> 's-0'",
        "dry_run": True,
        "rows": 2,
        "events": 0,
    }
    assert await captured(connection, after=before) == []
    assert await connection.fetchval("SELECT count(*) FROM outbox.backfill") == 0


async def test_the_command_says_what_it_did_and_what_it_goes_on_with(
    connection: asyncpg.Connection, pool: asyncpg.Pool, environment: dict[str, str]
) -> None:
    await add_series(connection, 5)
    with pytest.raises(Killed):
        await run(pool, chunk=2, has_room=dies_after(1))
    code, out, err = await typed(environment, "backfill", "--entity=series", "--json")
    answer: dict[str, Any] = json.loads(out)
    assert (code, answer["rows"], answer["events"], answer["dry_run"]) == (0, 5, 5, False)
    assert "2 rows done" in err
    code, out, err = await typed(environment, "backfill", "--entity=series")
    assert (code, out, err) == (0, "5 events of 5 rows of catalog.series\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--entity=serie",), "there are category, episode, mediaAsset, season, series"),
        (("--entity=series", "--where=stat = 'PUBLISHED'"), 'column "stat" does not exist'),
        (("--entity=series", "--where=status = 'public'"), "invalid input value for enum"),
        (("--entity=series", "--where=never(slug)"), "function never(text) does not exist"),
        (("--entity=series", "--where=EXISTS (SELECT FROM nowhere)"), 'relation "nowhere"'),
        (("--entity=series", "--where=true; DROP TABLE x"), "syntax error"),
        (("--entity=series", "--where=length(slug)"), "must be type boolean"),
        (("--entity=series", "--where=1 / (length(slug) - 3) = 0"), "division by zero"),
    ],
)
async def test_what_cannot_be_done_is_said_in_a_sentence(
    connection: asyncpg.Connection,
    environment: dict[str, str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    await add_series(connection)
    code, out, err = await typed(environment, "backfill", *arguments)
    assert (code, out) == (2, "")
    assert said in " ".join(err.split())
    assert "Traceback" not in err


async def test_a_target_is_written_in_words_of_sql(pool: asyncpg.Pool) -> None:
    target = await backfill.find(pool, "mediaAsset", "true")
    assert target == Target(
        "mediaAsset",
        "true",
        source="catalog.media_asset",
        key="id",
        live="deleted_at IS NULL",
        from_start="$1::text IS NULL",
        after="id > $1::text::uuid",
    )
