"""An event's effect in PostgreSQL happens exactly once: with its mark, or not at all."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress

import asyncpg
import pytest
from consumed import event
from publishing import eventually

from consumer.errors import DatabaseUnavailable
from consumer.event import Event
from consumer.keeping.checkpoint import PostgresCheckpoint
from consumer.keeping.inbox import Inbox
from outbox.position import Position


@pytest.fixture
async def own_pool(empty_database: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(empty_database, min_size=0, max_size=8) as pool:
        await pool.execute("CREATE TABLE effect (id bigserial PRIMARY KEY, of text NOT NULL)")
        yield pool


@pytest.fixture
async def inbox(own_pool: asyncpg.Pool) -> Inbox:
    inbox = Inbox(own_pool, "g")
    # Several processes of a group begin at once.
    await asyncio.gather(*(inbox.prepare() for _ in range(5)))
    return inbox


async def apply(inbox: Inbox, one: Event) -> bool:
    """A handler as one would write it; whether the event was still to be applied."""
    async with inbox.applying(one) as connection:
        if connection is None:
            return False
        await connection.execute("INSERT INTO effect (of) VALUES ($1)", one.id)
        return True


async def effects(pool: asyncpg.Pool) -> list[str]:
    return [row["of"] for row in await pool.fetch("SELECT of FROM effect ORDER BY id")]


async def test_a_duplicate_and_an_older_event_have_no_effect(
    inbox: Inbox, own_pool: asyncpg.Pool
) -> None:
    order = [event(2), event(2), event(1), event(3), event(1, "b")]
    assert [await apply(inbox, one) for one in order] == [True, False, False, True, True]
    assert await effects(own_pool) == [event(2).id, event(3).id, event(1, "b").id]


async def test_groups_know_nothing_of_each_other(inbox: Inbox, own_pool: asyncpg.Pool) -> None:
    assert await apply(inbox, event(1))
    assert await apply(Inbox(own_pool, "other"), event(1))


async def test_a_handler_that_fails_leaves_neither_effect_nor_mark(
    inbox: Inbox, own_pool: asyncpg.Pool
) -> None:
    async def fail() -> None:
        async with inbox.applying(event(1)) as connection:
            assert connection is not None
            await connection.execute("INSERT INTO effect (of) VALUES ('half')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await effects(own_pool) == []
    assert await apply(inbox, event(1))


async def test_of_two_that_handle_one_event_at_once_one_waits_and_has_no_effect(
    inbox: Inbox, own_pool: asyncpg.Pool
) -> None:
    async with inbox.applying(event(1)) as connection:
        assert connection is not None
        second = asyncio.create_task(apply(inbox, event(1)))
        await until_somebody_waits(own_pool)
        await connection.execute("INSERT INTO effect (of) VALUES ('first')")
    assert await second is False
    assert await effects(own_pool) == ["first"]


async def test_whoever_waited_for_one_that_failed_applies_the_event(
    inbox: Inbox, own_pool: asyncpg.Pool
) -> None:
    async def fail() -> asyncio.Task[bool]:
        with suppress(ZeroDivisionError):
            async with inbox.applying(event(1)):
                second = asyncio.create_task(apply(inbox, event(1)))
                await until_somebody_waits(own_pool)
                raise ZeroDivisionError
        return second

    assert await (await fail()) is True


async def test_of_a_batch_only_what_is_left_is_applied_all_or_nothing(
    inbox: Inbox, own_pool: asyncpg.Pool
) -> None:
    await apply(inbox, event(2))
    batch = [event(1), event(2), event(3), event(3), event(1, "b")]
    with pytest.raises(ZeroDivisionError):
        async with inbox.applying_all(batch):
            raise ZeroDivisionError
    for left in ([event(3).id, event(1, "b").id], []):
        async with inbox.applying_all(batch) as (_, events):
            assert [one.id for one in events] == left
    assert not await apply(inbox, event(3))
    assert await apply(inbox, event(4))
    assert len(await effects(own_pool)) == 2


async def test_batches_of_the_same_entities_wait_for_each_other_and_apply_each_event_once(
    inbox: Inbox,
) -> None:
    dice = random.Random(7)  # noqa: S311 - no secret
    entities = [str(number) for number in range(100)]
    applied: list[Event] = []
    given: dict[str, str] = {}

    async def apply_some() -> None:
        for number in range(1, 15):
            some = dice.sample(entities, dice.randrange(1, 100))
            for one in some:
                given[one] = max(given.get(one, ""), event(number).id)
            async with inbox.applying_all([event(number, one) for one in some]) as (_, left):
                applied.extend(left)

    await asyncio.gather(*(apply_some() for _ in range(4)))
    ids: dict[str, list[str]] = {}
    for one in applied:
        ids.setdefault(one.entity_id, []).append(one.id)
    # Each once, in order, up to the newest.
    assert ids == {entity: sorted(set(found)) for entity, found in ids.items()}
    assert {entity: found[-1] for entity, found in ids.items()} == given


async def test_a_database_that_is_away_is_told_from_a_handler_that_fails(
    inbox: Inbox, own_pool: asyncpg.Pool
) -> None:
    async def be_cut_off() -> None:
        async with inbox.applying(event(1)) as connection:
            assert connection is not None
            backend = await connection.fetchval("SELECT pg_backend_pid()")
            await own_pool.execute("SELECT pg_terminate_backend($1)", backend)
            await connection.execute("INSERT INTO effect (of) VALUES ('half')")

    with pytest.raises(DatabaseUnavailable):
        await be_cut_off()
    assert await apply(inbox, event(1))


@pytest.mark.parametrize(
    ("statement", "argument", "error"),
    [
        ("INSERT INTO effect (of) VALUES ($1)", 7, asyncpg.DataError),
        ("INSERT INTO effect (of) VALUES ('x')", 7, asyncpg.InterfaceError),
        ("INSERT INTO effect (id, of) VALUES (1, $1), (1, $1)", "x", asyncpg.UniqueViolationError),
    ],
)
async def test_what_a_handler_does_wrong_is_its_own_error(
    inbox: Inbox, statement: str, argument: object, error: type[Exception]
) -> None:
    async def handle() -> None:
        async with inbox.applying(event(1)) as connection:
            assert connection is not None
            await connection.execute(statement, argument)

    with pytest.raises(error):
        await handle()
    assert await apply(inbox, event(1))


async def test_a_file_that_a_handler_does_not_find_is_no_database_that_is_away(
    inbox: Inbox,
) -> None:
    async def handle() -> None:
        async with inbox.applying(event(1)):
            raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        await handle()


async def test_a_checkpoint_in_postgresql_never_goes_back(own_pool: asyncpg.Pool) -> None:
    checkpoint = PostgresCheckpoint(own_pool)
    await checkpoint.prepare()
    assert await checkpoint.load("g", "s") is None
    for position in (Position(5, 1), Position(5, 0), Position(4, 9)):
        await checkpoint.save("g", "s", position)
    await checkpoint.save("g", "other", Position(1, 0))
    assert await checkpoint.load("g", "s") == Position(5, 1)


async def until_somebody_waits(pool: asyncpg.Pool) -> None:
    async def somebody_waits() -> bool:
        waiting: bool = await pool.fetchval(
            "SELECT count(*) > 0 FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return waiting

    await eventually(somebody_waits)
