"""Health and metrics of the snapshot server over HTTP, and what they are made of."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import asyncpg
import pytest
from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from outbox.errors import BadSetting, OutboxUnavailable
from outbox.position import Position
from outbox.ticks import Ticks
from process import http
from process.address import Address
from process.health import Health
from snapshot_server import place
from snapshot_server.commands.status import survey
from snapshot_server.content import reports
from snapshot_server.feed import projector
from snapshot_server.feed.catalog import Issue
from snapshot_server.feed.projection import Projected
from snapshot_server.serving.health import Known, health_of
from snapshot_server.serving.metrics import Metrics
from snapshot_server.serving.watch import HealthWatch

ANYWHERE = Address("127.0.0.1", 0)
METHOD = "/content.v1.ContentService/CatalogSnapshot"
STATE = (
    "INSERT INTO feed.state (epoch, version, purged, series, episodes, digest, encoding)"
    " VALUES (1, $1, 0, 2, 3, 0, 1)"
    " ON CONFLICT (single) DO UPDATE SET version = excluded.version"
)


def health(**changes: float | bool | None) -> Health:
    known = {"looked_s_ago": 0.1, "is_built": True, "lag_s": 0.0} | changes
    return health_of(Known(**known), max_lag_s=60, max_silence_s=5)  # type: ignore[arg-type]


def at_work() -> Metrics:
    """Metrics in which everything has happened once."""
    metrics = Metrics(issues=list(Issue))
    metrics.expect([METHOD])
    metrics.connected(lambda: 3)
    metrics.call_began(METHOD)
    metrics.call_ended(METHOD, "OK", took_s=0.2)
    metrics.call_began("/made.up/Method")
    metrics.call_ended("/made.up/Method", "UNKNOWN", took_s=0.2)
    metrics.call_refused(METHOD, "UNAUTHENTICATED")
    finished = reports.SyncOutcome.FINISHED
    metrics.served(reports.SyncEnded(reports.SyncKind.FULL, finished, 10, 1, 2, 999, 0.5))
    metrics.served(reports.CursorRefused("CURSOR_EXPIRED"))
    metrics.served(reports.VideoRead(found=True, took_s=0.01))
    metrics.looked(place.FeedPlace(1 << 20, 2 << 20, 5, 2.5, 1, 2))
    metrics.serving(holds=True)
    metrics.projected(projector.Held(holds=True))
    metrics.projected(projector.Purged(4))
    metrics.projected(projector.Failed(OutboxUnavailable()))
    metrics.projected(projector.Issue(Issue.ORPHAN_EPISODE))
    metrics.projected(Projected(Position(1, 0), 5, 6, 1, rebuilt=True, took_s=0.1))
    return metrics


def serving(
    wanted: Address | None, metrics: Metrics, told: Callable[[], Health]
) -> AbstractAsyncContextManager[Address | None]:
    return http.serving_probes(wanted, told, metrics.rendered, variable="SNAPSHOT_HTTP_ADDRESS")


@asynccontextmanager
async def served(metrics: Metrics, now: Health) -> AsyncIterator[ClientSession]:
    async with serving(ANYWHERE, metrics, lambda: now) as address:
        assert address
        async with ClientSession(f"http://{address}") as client:
            yield client


async def test_probes_are_told_each_condition_and_its_reason() -> None:
    async with served(Metrics(), health(lag_s=61.0)) as client:
        async with client.get("/livez") as answer:
            assert answer.status == 200
        async with client.get("/readyz") as answer:
            assert answer.status == 503
            said = await answer.json()
    assert said["ready"] is False
    assert [(found["name"], found["holds"]) for found in said["conditions"]] == [
        ("stays", True),
        ("database", True),
        ("feed", False),
    ]
    assert said["conditions"][2]["reason"] == "the feed is more than 60 s behind"


async def test_a_scrape_holds_what_was_counted() -> None:
    async with served(at_work(), health()) as client, client.get("/metrics") as answer:
        families = list(text_string_to_metric_families(await answer.text()))
    values = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }
    assert values["snapshot_calls_total", "CatalogSnapshot", "OK"] == 1
    assert values["snapshot_calls_total", "CatalogSnapshot", "UNAUTHENTICATED"] == 1
    # A name that a client made up is no label of ours.
    assert values["snapshot_calls_total", "UNKNOWN", "other"] == 1
    assert values["snapshot_calls_under_way", "CatalogSnapshot"] == 0
    assert values["snapshot_syncs_total", "finished", "full"] == 1
    sent = [values[f"snapshot_sent_{name}_total",] for name in ("items", "removals", "chunks")]
    assert sent == [10, 1, 2]
    assert values["snapshot_sent_bytes_total",] == 999
    assert values["snapshot_refused_cursors_total", "CURSOR_EXPIRED"] == 1
    assert values["snapshot_feed_lag_events",] == 5
    # It has grown since the look.
    assert values["snapshot_feed_lag_seconds",] > 2.5
    assert values["content_data_quality_issues_total", "orphan_episode"] == 1
    assert values["content_data_quality_issues_total", "missing_manifest"] == 0
    assert values["projector_projected_items_total",] == 6


@pytest.mark.skipif(
    not shutil.which("promtool"), reason="NOT CHECKED: promtool is absent (Debian: prometheus)"
)
async def test_promtool_finds_nothing_to_complain_of() -> None:
    async with served(at_work(), health()) as client, client.get("/metrics") as answer:
        scraped = await answer.read()
    checked = await asyncio.to_thread(
        subprocess.run, ["promtool", "check", "metrics"], input=scraped, capture_output=True
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


async def test_a_taken_address_is_refused_if_it_was_chosen_and_left_if_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadSetting, match=r"^SNAPSHOT_HTTP_ADDRESS is .*; .*, or off$"):
            async with serving(Address("127.0.0.1", port), Metrics(), health):
                pytest.fail("it serves")
        default = Address("127.0.0.1", port, chosen=False)
        async with serving(default, Metrics(), health) as address:
            assert address
            assert address.port not in {0, port}
    async with serving(None, Metrics(), health) as address:
        assert address is None


async def write(pool: asyncpg.Pool, count: int) -> None:
    await pool.execute(
        "INSERT INTO catalog.category (slug, name)"
        " SELECT gen_random_uuid()::text, 'Name' FROM generate_series(1, $1::int)",
        count,
    )


async def tick(pool: asyncpg.Pool) -> Position:
    """A tick of all that was committed; the position of its last event."""
    _, made = await Ticks(pool).make()
    assert made
    return Position.in_tick(made.ms, made.events - 1)


async def test_the_lag_is_counted_in_events_of_ticks_and_in_the_age_of_the_oldest(
    pool: asyncpg.Pool,
) -> None:
    assert await place.find(pool) == place.FeedPlace(None, None, 0, 0.0, 0, 0)
    await write(pool, 3)
    first = await tick(pool)
    found = await place.find(pool)
    assert (found.is_built, found.lag_events, found.newest) == (False, 3, first.version)
    await pool.execute(STATE, first.version)
    found = await place.find(pool)
    assert (found.position, found.lag_events, found.lag_s) == (first, 0, 0)
    assert (found.series, found.episodes) == (2, 3)
    await write(pool, 2)
    second = await tick(pool)
    await write(pool, 4)
    third = await tick(pool)
    found = await place.find(pool)
    assert (found.newest, found.lag_events) == (third.version, 6)
    assert 0 < found.lag_s < 60
    await pool.execute(STATE, second.version)
    assert (await place.find(pool)).lag_events == 4


async def test_clients_are_sent_away_while_the_feed_is_behind_and_each_change_is_said_once(
    pool: asyncpg.Pool,
) -> None:
    told: list[bool] = []
    watch = HealthWatch(pool, Metrics(), told.append, max_lag_s=0.0)
    with capture_logs() as logged:
        for _ in range(2):
            await watch.look()
        await write(pool, 1)
        await pool.execute(STATE, (await tick(pool)).version)
        for _ in range(2):
            await watch.look()
        await write(pool, 1)
        behind = await tick(pool)
        await watch.look()
        await pool.execute(STATE, behind.version)
        await watch.look()
        watch.drain()
    assert told == [False, False, True, True, False, True, False]
    assert [(line["event"], line.get("reason")) for line in logged] == [
        ("server.not_serving", "the feed is not built yet"),
        ("server.serving", None),
        ("server.not_serving", "the feed is more than 0 s behind"),
        ("server.serving", None),
        ("server.not_serving", "shutting down"),
    ]


async def test_status_counts_removals_and_says_which_cursors_are_expired(
    pool: asyncpg.Pool,
) -> None:
    await write(pool, 1)
    at = await tick(pool)
    await pool.execute(STATE, at.version)
    await pool.execute("UPDATE feed.state SET purged = $1", Position(7, 3).version)
    await pool.execute(
        "INSERT INTO feed.item (kind, id, version, ordinal, encoding)"
        " SELECT 1, gen_random_uuid(), n, 0, 1 FROM generate_series(1, 5) AS n"
    )
    found = await survey(pool)
    assert (found.removals, found.oldest_cursor, found.encoding) == (5, "7-3", 1)
    assert (found.projector, found.candidates) == (None, 0)
    assert found.problems == [
        "nobody keeps the feed: start a snapshot server, or a projector",
    ]
