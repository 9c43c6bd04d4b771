"""The reference consumers, as they are started, go through the scenarios of the harness."""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import asyncpg
from processes import ROOT
from redis import Redis
from servers import cloned

from consumer.testing import Command, Report, Scenario, Scenarios
from embedded.postgres import Postgres
from outbox.event import Event

_WITHIN_S = 20.0
_SETTINGS = {"CONSUMER_HTTP_ADDRESS": "off", "CONSUMER_LEASE_S": "1"}

Wrong = Callable[[Sequence[Event], str], object]


async def test_analytics_counts_each_event_once_whatever_happens(
    postgres_server: Postgres, tmp_path: Path
) -> None:
    async def played(scenario: Scenario) -> Report:
        # What is counted in one scenario is not to be found in another.
        async with cloned(postgres_server, "template1") as dsn:
            consumer = _command("analytics", {"DATABASE_URL": dsn}, state=_counted_in(dsn))
            return await Scenarios(tmp_path / scenario).run(consumer, scenario, within_s=_WITHIN_S)

    names = [Scenario.KILLED_IN_MID_BATCH, Scenario.REDIS_LOST]
    for report in await asyncio.gather(*map(played, names)):
        report.check()


async def test_engagement_scores_each_event_once_whatever_happens(tmp_path: Path) -> None:
    consumer = _command("engagement", {}, state=_wrong_scores)
    names = [Scenario.REDIS_LOST, Scenario.DELIVERED_AGAIN]
    report = await Scenarios(tmp_path).run(consumer, *names, at_once=2, within_s=_WITHIN_S)
    report.check()


def _command(name: str, environment: dict[str, str], state: Wrong) -> Command:
    argv = [sys.executable, "-m", "consumer", name]
    return Command(argv, _SETTINGS | environment, group=name, state=state, folder=ROOT)


def _counted_in(dsn: str) -> Wrong:
    async def wrong(events: Sequence[Event], _: str) -> str:
        expected = Counter(
            (datetime.fromisoformat(e.timestamp).replace(second=0, microsecond=0), *e[1:4:2])
            for e in events
        )
        connection = await asyncpg.connect(dsn)
        try:
            rows = await connection.fetch("SELECT * FROM analytics.event_count")
        except asyncpg.UndefinedTableError:
            return "there is no table yet"
        finally:
            await connection.close()
        found = Counter({tuple(row)[:3]: row["events"] for row in rows})
        return "" if found == expected else f"counted {found}, expected {expected}"

    return wrong


def _wrong_scores(events: Sequence[Event], redis_url: str) -> str:
    expected: dict[str, float] = {}
    for event in events:
        name = f"{event.entity}:{event.entity_id}"
        if event.entity in ("series", "episode"):
            expected[name] = expected.get(name, 0) + 1
            if event.operation == "delete":
                del expected[name]
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        found = dict(redis.zrange("{catalog:popularity}", 0, -1, withscores=True))
    return "" if found == expected else f"scored {found}, expected {expected}"
