"""Analytics counts per entity, operation and minute."""

from collections.abc import AsyncIterator
from datetime import datetime

import asyncpg
import pytest
from consumed import STREAM, event

from consumer.event import Event
from consumer.reference.analytics.counting import Counting

Counted = dict[tuple[str, str, str], int]


@pytest.fixture
async def own_pool(empty_database: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(empty_database, min_size=0) as pool:
        yield pool


async def counted(pool: asyncpg.Pool) -> Counted:
    rows = await pool.fetch("SELECT * FROM analytics.event_count")
    return {
        (f"{row['minute']:%H:%M}", row["entity"], row["operation"]): row["events"] for row in rows
    }


async def test_events_are_counted_by_entity_operation_and_minute_however_often_they_come(
    own_pool: asyncpg.Pool,
) -> None:
    counting = Counting(own_pool)
    await counting.prepare()
    a_minute = 60_000
    first = [event(1), event(2), event(3, "b", entity="episode", operation="create")]
    await counting.count(first)
    await counting.count([*first, event(4), event(a_minute)])
    minutes = [
        f"{datetime.fromisoformat(event(number).timestamp):%H:%M}" for number in (1, a_minute)
    ]
    assert await counted(own_pool) == {
        (minutes[0], "series", "update"): 3,
        (minutes[0], "episode", "create"): 1,
        (minutes[1], "series", "update"): 1,
    }


async def test_somebody_elses_entry_holds_nobody_up(own_pool: asyncpg.Pool) -> None:
    counting = Counting(own_pool)
    await counting.prepare()
    await counting.count([Event.of(STREAM, "60000-1", {"hello": "world"}), event(1)])
    assert ("00:01", "", "") in await counted(own_pool)
    assert len(await counted(own_pool)) == 2
