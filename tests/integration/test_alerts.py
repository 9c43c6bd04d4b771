"""What promtool says of rules, of their trials, of Grafana's queries, and of real scrapes."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import pytest
from aiohttp import ClientSession
from alerting import DEPLOY, RULES, STREAM, TRIALS, alerts, queries
from consumed import event

from consumer import reports
from consumer.letters.dead_letters import Reason
from consumer.watching.metrics import Metrics as ConsumerMetrics
from consumer.watching.readiness import Readiness
from outbox.position import ORIGIN
from process import http
from process.address import Address
from viewer import reports as viewer_reports
from viewer.keys import Kind
from viewer.metrics import InvalidatorMetrics
from viewer.metrics import Metrics as ViewerMetrics
from viewer.observing import InvalidatorObserver, Observer
from viewer.purging.outcome import Outcome

LABEL = "catalog:episode"

pytestmark = pytest.mark.skipif(
    not shutil.which("promtool"), reason="NOT CHECKED: promtool is absent (Debian: prometheus)"
)


def promtool(*arguments: object, scraped: bytes | None = None) -> str:
    done = subprocess.run(
        ["promtool", *map(str, arguments)], input=scraped, capture_output=True, check=False
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


def test_the_configuration_and_every_rule_are_read() -> None:
    said = promtool("check", "config", DEPLOY / "prometheus/prometheus.yml")
    assert f"SUCCESS: {len(RULES)} rule files found" in said
    assert "WARNING" not in said
    found = promtool("check", "rules", "--lint=all", "--lint-fatal", *RULES)
    counted = [int(line.split()[1]) for line in found.splitlines() if "rules found" in line]
    assert sum(counted) == len(alerts())


@pytest.mark.parametrize("path", TRIALS, ids=lambda path: path.stem)
def test_each_alert_stays_quiet_and_fires(path: Path) -> None:
    promtool("test", "rules", path)


def test_every_query_of_the_dashboards_is_one(tmp_path: Path) -> None:
    rules = [{"record": f"query:{n}", "expr": expr} for n, expr in enumerate(queries())]
    # YAML understands JSON.
    wrapped = tmp_path / "queries.yml"
    wrapped.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", wrapped)


def of_a_consumer() -> Callable[[str], tuple[bytes, str]]:
    metrics = ConsumerMetrics()
    observe = metrics.of("search", [STREAM])
    error = ValueError("no")
    for report in (
        reports.Handled(STREAM, 7, 0.5, [0.25, 0.5]),
        reports.Retried(event(1), 1, 0.1, error),
        reports.DeadLetter(event(1), Reason.ATTEMPTS),
        reports.GroupMade(STREAM, ORIGIN),
        reports.Away(STREAM, "read", 2, 0.1, error),
    ):
        observe(report)
    metrics.dead_letters("search", STREAM, 1)
    return metrics.rendered


def of_a_viewer() -> Callable[[str], tuple[bytes, str]]:
    metrics = ViewerMetrics()
    observe = Observer(metrics)
    metrics.answered(Kind.EPISODE, HTTPStatus.OK, cache="hit", took_s=0.002)
    metrics.answered(Kind.SERIES, HTTPStatus.SERVICE_UNAVAILABLE, cache="none", took_s=0.2)
    observe(viewer_reports.Cached(viewer_reports.CacheEvent.HIT, LABEL))
    observe(viewer_reports.CacheEmptied(3, "it was new"))
    return metrics.rendered


def of_an_invalidator() -> Callable[[str], tuple[bytes, str]]:
    metrics = InvalidatorMetrics()
    observe = InvalidatorObserver(metrics)
    reading = ConsumerMetrics(metrics.registry)
    reading.of("cache-invalidator", [STREAM])
    observe(viewer_reports.Purged(events=2, tags=3, labels=[LABEL], delays_s=[0.1], took_s=0.01))
    observe(viewer_reports.HookEnded(Outcome.FAILED, "503"))
    return reading.rendered


@pytest.mark.parametrize("made", [of_a_consumer, of_a_viewer, of_an_invalidator])
async def test_promtool_finds_nothing_to_complain_of_in_a_scrape(
    made: Callable[[], Callable[[str], tuple[bytes, str]]],
) -> None:
    probes = http.serving_probes(
        Address("127.0.0.1", 0), Readiness().health, made(), variable="CONSUMER_HTTP_ADDRESS"
    )
    async with (
        probes as address,
        ClientSession() as client,
        client.get(f"http://{address}/metrics") as answer,
    ):
        scraped = await answer.read()
    said = await asyncio.to_thread(promtool, "check", "metrics", scraped=scraped)
    assert said == ""
