"""Probes and scrapes over a real socket."""

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, closing
from dataclasses import replace

import pytest
from aiohttp import ClientSession, web
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from outbox.errors import BadSetting
from process import http
from process.address import Address
from process.health import Health
from publisher.settings import Settings
from publisher.web.health import Known, health_of
from publisher.web.labels import Log, Outcome, Reason, Trim
from publisher.web.metrics import GroupSeen, Metrics

KEY = "catalog:events"
LIVE = Known(
    checked=True, leads=(KEY,), stands_by=True, oldest_unpublished_s=None, looked_s_ago=0.1
)


def settings(address: str = "127.0.0.1:0") -> Settings:
    environment = {
        "DATABASE_URL": "postgresql://",
        "REDIS_URL": "redis://",
        "PUBLISHER_HTTP_ADDRESS": address,
    }
    return Settings.from_environment(environment)


def health(**changes: object) -> Callable[[], Health]:
    known = replace(LIVE, **changes)  # type: ignore[arg-type]
    return lambda: health_of(known, max_age_s=60)


def at_work() -> Metrics:
    """Metrics of a publisher to which everything has happened."""
    metrics = Metrics([KEY])
    metrics.tick_made()
    metrics.pass_ended(Outcome.MOVED, took_s=0.003)
    metrics.appended(KEY, events=10, skipped=2, delay_s=0.004)
    metrics.lost(KEY, beyond_retention=1)
    metrics.foreign_found(KEY, renumbered=3)
    metrics.held_up(KEY, Reason.OOM)
    metrics.lease_taken(KEY, epoch=4)
    metrics.dead_letter_set_aside()
    metrics.trimmed(KEY, Trim.AGE, entries=5)
    metrics.partitions_created(Log.EVENT)
    metrics.partitions_dropped(Log.TICK)
    for log in Log:
        metrics.partitions_overdue(log, 0)
    metrics.observed(backlog=3, oldest_unpublished_s=0.5, dead_letters=1)
    group = GroupSeen("search", lag=3, lag_s=0.5, pending=1, fell_off=0, budget_left_s=3600.0)
    metrics.stream_observed(
        KEY,
        entries=10,
        memory_bytes=4096,
        entries_bytes=3000,
        budget_bytes=1 << 30,
        first_ms=1,
        last_ms=2,
        groups=[group],
    )
    return metrics


def serving(
    settings: Settings, metrics: Metrics, told: Callable[[], Health]
) -> AbstractAsyncContextManager[Address | None]:
    return http.serving_probes(
        settings.http_address, told, metrics.rendered, variable="PUBLISHER_HTTP_ADDRESS"
    )


@asynccontextmanager
async def served(
    told: Callable[[], Health] = health(),  # noqa: B008 - it is frozen
    metrics: Metrics | None = None,
) -> AsyncIterator[tuple[ClientSession, Address]]:
    """A client of a running server, and the server's address."""
    async with serving(settings(), metrics or Metrics([KEY]), told) as address:
        assert address
        async with ClientSession(f"http://{address}") as client:
            yield client, address


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    """A socket that somebody else listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener


async def test_a_live_and_ready_publisher_says_so_with_each_condition() -> None:
    async with served() as (client, _):
        async with client.get("/livez") as answer:
            assert (answer.status, answer.content_type) == (200, "application/json")
            assert await answer.json() == {
                "live": True,
                "conditions": [{"name": "workers", "holds": True, "reason": "all are running"}],
            }
        async with client.get("/readyz") as answer:
            assert (answer.status, answer.content_type) == (200, "application/json")
            assert await answer.json() == {
                "ready": True,
                "paused": None,
                "backPressure": {},
                "conditions": [
                    {"name": "checks", "holds": True, "reason": "done"},
                    {"name": "role", "holds": True, "reason": "leads catalog:events"},
                    {"name": "progress", "holds": True, "reason": "nothing waits"},
                ],
            }


async def test_one_that_makes_no_progress_is_live_and_not_ready_and_says_why() -> None:
    told = health(oldest_unpublished_s=90.0, back_pressure={KEY: Reason.OOM})
    async with served(told) as (client, _):
        async with client.get("/livez") as answer:
            assert answer.status == 200
        async with client.get("/readyz") as answer:
            assert answer.status == 503
            said = await answer.json()
    assert (said["ready"], said["backPressure"]) == (False, {KEY: "oom"})
    assert [found["reason"] for found in said["conditions"] if not found["holds"]] == [
        "the oldest unpublished event has waited 90 s; back-pressure: oom"
    ]


async def test_a_paused_publisher_is_ready_and_tells_why_it_is_paused() -> None:
    told = health(oldest_unpublished_s=9000.0, paused="moving Redis")
    async with served(told) as (client, _), client.get("/readyz") as answer:
        assert answer.status == 200
        assert (await answer.json())["paused"] == "moving Redis"


async def test_a_publisher_that_lost_a_worker_is_not_live() -> None:
    async with served(health(ended=("leases",))) as (client, _), client.get("/livez") as answer:
        assert answer.status == 503
        assert (await answer.json())["live"] is False


async def test_a_scrape_holds_what_was_counted_in_the_format_that_was_asked_for() -> None:
    name = "catalog_publisher_appended_events"
    async with served(metrics=at_work()) as (client, _):
        async with client.get("/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            plain = list(text_string_to_metric_families(await answer.text()))
        accept = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
        async with client.get("/metrics", headers=accept) as answer:
            assert answer.content_type == "application/openmetrics-text"
            openmetrics = list(openmetrics_families(await answer.text()))  # type: ignore[no-untyped-call]
    for families in (plain, openmetrics):
        [family] = [family for family in families if family.name == name]
        assert [sample.value for sample in family.samples] == [10]


@pytest.mark.skipif(
    not shutil.which("promtool"), reason="NOT CHECKED: promtool is absent (Debian: prometheus)"
)
async def test_promtool_finds_nothing_to_complain_of() -> None:
    async with served(metrics=at_work()) as (client, _), client.get("/metrics") as answer:
        scraped = await answer.read()
    checked = await asyncio.to_thread(
        subprocess.run, ["promtool", "check", "metrics"], input=scraped, capture_output=True
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


async def test_it_closes_within_a_second_whatever_its_clients_hold_open() -> None:
    # More than the buffers of a connection hold.
    told = health(paused="x" * 32_000_000)
    loop = asyncio.get_running_loop()
    requests = {
        "silent": b"",
        "never comes to an end": b"GET /metrics HTTP/1.1\r\nHost: x\r\n",
        "kept alive": b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
        "reads next to nothing": b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
    }
    with ExitStack() as opened:
        async with serving(settings(), Metrics([KEY]), told) as address:
            assert address
            for client, request in requests.items():
                held = socket.create_connection((address.host, address.port))
                opened.enter_context(held).setblocking(False)  # noqa: FBT003
                await loop.sock_sendall(held, request)
                if client in {"kept alive", "reads next to nothing"}:
                    assert await loop.sock_recv(held, 15) == b"HTTP/1.1 200 OK"
            closing_since = time.monotonic()
        assert time.monotonic() - closing_since < 1


async def test_switched_off_it_does_not_listen() -> None:
    async with serving(settings("off"), Metrics([KEY]), health()) as address:
        assert address is None


async def test_a_default_address_that_is_taken_is_left_for_a_free_port(
    taken: socket.socket,
) -> None:
    host, port = taken.getsockname()
    default = replace(settings(), http_address=Address(host, port, chosen=False))
    with capture_logs() as logged:
        async with serving(default, Metrics([KEY]), health()) as address:
            assert address
            assert address.port not in {0, port}
            async with ClientSession() as client, client.get(f"http://{address}/livez") as answer:
                assert answer.status == 200
    assert [(line["event"], line["address"]) for line in logged] == [("http.started", str(address))]


async def test_an_address_that_was_chosen_and_is_taken_is_refused(taken: socket.socket) -> None:
    host, port = taken.getsockname()
    with pytest.raises(BadSetting) as refused:
        async with serving(settings(f"{host}:{port}"), Metrics([KEY]), health()):
            pytest.fail("it serves")
    assert str(refused.value) == (
        f"PUBLISHER_HTTP_ADDRESS is {host}:{port}, and nobody can listen there:"
        " address already in use; choose another, or off"
    )


async def test_an_address_that_is_not_ours_is_refused() -> None:
    # Set aside for documents: no machine has it.
    with pytest.raises(BadSetting, match="and nobody can listen there"):
        async with serving(settings("192.0.2.1:9464"), Metrics([KEY]), health()):
            pytest.fail("it serves")


async def test_what_is_not_http_is_refused_without_a_line_that_is_not_ours(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with capture_logs() as logged:
        async with served() as (client, address):
            for garbage in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\nbad header\r\n"):
                reader, writer = await asyncio.open_connection(address.host, address.port)
                writer.write(garbage + b"\r\n\r\n")
                assert b"400" in await reader.readline()
                writer.close()
            async with client.get("/elsewhere") as answer:
                assert answer.status == 404
    assert [line for line in logged if line["log_level"] != "debug"][1:] == []
    assert capfd.readouterr() == ("", "")


async def test_a_fault_of_ours_is_answered_and_logged() -> None:
    def broken() -> Health:
        raise ZeroDivisionError

    with capture_logs() as logged:
        async with served(broken) as (client, _), client.get("/readyz") as answer:
            assert answer.status == 500
    assert [(line["event"], line.get("error")) for line in logged][1:] == [
        ("http.failed", "ZeroDivisionError()")
    ]


async def test_what_cannot_be_switched_off_is_not_told_to_be(taken: socket.socket) -> None:
    address = Address(*taken.getsockname())
    with pytest.raises(BadSetting, match=r"choose another$"):
        async with http.serving(
            web.Application(), address, variable="VIEWER_HTTP_ADDRESS", can_be_off=False
        ):
            pytest.fail("it serves")
