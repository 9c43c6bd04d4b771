"""What is in deploy/prometheus and deploy/grafana, and what the programs really count."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from grpclib import Status
from prometheus_client.metrics import MetricWrapperBase

from consumer.watching.metrics import Metrics as ConsumerMetrics
from publisher.web.metrics import Metrics as PublisherMetrics
from snapshot_server.feed.catalog import Issue
from snapshot_server.serving.metrics import Metrics as SnapshotMetrics
from viewer.metrics import InvalidatorMetrics
from viewer.metrics import Metrics as ViewerMetrics

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
RULES = sorted((DEPLOY / "prometheus/rules").glob("*.yml"))
TRIALS = sorted((DEPLOY / "prometheus/tests").glob("*.yml"))
DASHBOARDS = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))

OF_SCRAPES = {"job", "instance"}
STREAM = "catalog:events"
_OF_OTHERS = {"up": frozenset[str](), "envoy_server_days_until_first_cert_expiring": frozenset()}
_WORDS = {"and", "or", "unless", "by", "on", "without", "ignoring", "bool", "offset"}


class Alert(NamedTuple):
    """One rule."""

    name: str
    expr: str
    severity: str
    annotations: dict[str, str]


class Metric(NamedTuple):
    """A metric that one of the programs registers."""

    labels: frozenset[str]
    values: dict[str, set[str]]
    """By label, those that are known before anything has happened; none: any may come."""


def alerts() -> list[Alert]:
    """As the files have them; their indentation is part of it."""
    blocks = [
        block
        for path in RULES
        for block in re.split(r"^      - alert: ", path.read_text("utf-8"), flags=re.MULTILINE)[1:]
    ]
    return [_alert(block) for block in blocks]


def _alert(block: str) -> Alert:
    [(several, one)] = re.findall(
        r"^        expr: (?:\|\n((?: {10}.*\n)+)|(.*)\n)", block, re.MULTILINE
    )
    [severity] = re.findall(r"^        labels: \{severity: (\w+)\}$", block, re.MULTILINE)
    said = block.partition("        annotations:\n")[2]
    annotations = dict(re.findall(r'^          (\w+): "?(.*?)"?$', said, re.MULTILINE))
    return Alert(block.split("\n", 1)[0], several or one, severity, annotations)


def trials() -> dict[str, str]:
    """By alert, how it is tried."""
    texts = [path.read_text("utf-8") for path in TRIALS]
    parts = [
        part for text in texts for part in re.split(r"^  - name: ", text, flags=re.MULTILINE)[1:]
    ]
    return {part.split("\n", 1)[0]: part for part in parts}


def queries() -> list[str]:
    """Of all dashboards, with their variables replaced."""
    panels = [each for path in DASHBOARDS for each in json.loads(path.read_text())["panels"]]
    found = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    return [re.sub(r"\$\w+", ".*", one.replace("$__rate_interval", "5m")) for one in found]


def registered() -> dict[str, Metric]:
    """Every series that a program may have, by its name."""
    consumer, invalidator = ConsumerMetrics(), InvalidatorMetrics()
    consumer.of("search", [STREAM])
    ConsumerMetrics(invalidator.registry).of("cache-invalidator", [STREAM])
    snapshot, viewer = SnapshotMetrics(issues=list(Issue)), ViewerMetrics()
    found = {name: Metric(labels, {}) for name, labels in _OF_OTHERS.items()}
    for program in (PublisherMetrics([STREAM]), snapshot, consumer, invalidator, viewer):
        for collector in program.registry._collector_to_names:  # noqa: SLF001 - labels without series
            for name, metric in _series(collector):
                _put(found, name, metric)
    codes = {status.name for status in Status}
    found["snapshot_calls_total"].values["code"] = codes
    return found


def _series(collector: Any) -> Iterator[tuple[str, Metric]]:  # noqa: ANN401 - what it keeps is private
    if not isinstance(collector, MetricWrapperBase):
        for family in collector.collect():
            yield from ((sample.name, Metric(frozenset(), {})) for sample in family.samples)
        return
    known: Any = collector
    name, labels = known._name, known._labelnames  # noqa: SLF001
    children = zip(*known._metrics, strict=True) if labels else ()  # noqa: SLF001
    values = {label: set(those) for label, those in zip(labels, children, strict=False)}
    metric = Metric(frozenset(labels), values)
    match known._type:  # noqa: SLF001
        case "counter":
            yield f"{name}_total", metric
        case "info":
            yield f"{name}_info", Metric(frozenset({"version", "python"}), {})
        case "histogram":
            bounds = {str(bound) for bound in known._upper_bounds}  # noqa: SLF001
            yield f"{name}_bucket", Metric(metric.labels | {"le"}, values | {"le": bounds})
            yield from ((f"{name}_{part}", metric) for part in ("count", "sum"))
        case _:
            yield name, metric


def _put(found: dict[str, Metric], name: str, metric: Metric) -> None:
    """Two programs may have one of the same name; its labels are the same."""
    if known := found.get(name):
        assert known.labels == metric.labels
        values = {
            label: known.values.get(label, set()) | metric.values.get(label, set())
            for label in known.labels
            if label in known.values or label in metric.values
        }
        metric = Metric(metric.labels, values)
    found[name] = metric


def names_in(expr: str) -> set[str]:
    """The metrics that *expr* asks for."""
    bare = re.sub(r'"[^"]*"|\[[^]]*\]', "", expr)
    bare = re.sub(r"\{[^}]*\}|\b(?:by|on|without|ignoring)\s*\([^)]*\)", "", bare)
    return set(re.findall(r"\b([a-zA-Z_]\w*)\b(?!\s*\()", bare)) - _WORDS


def labels_in(expr: str) -> set[str]:
    """Those by which *expr* puts together or compares."""
    clauses = re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", expr)
    return {label.strip() for clause in clauses for label in clause.split(",") if label.strip()}


def matchers_in(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each metric with labels in braces, and what is said of each label."""
    # A quoted value may have braces of its own, as partitions do.
    for name, inside in re.findall(r'\b([a-zA-Z_]\w*)\{((?:[^"}]|"[^"]*")*)\}', text):
        yield name, dict(re.findall(r'(\w+)(?:=~|!~|!=|=)"([^"]*)"', inside))
