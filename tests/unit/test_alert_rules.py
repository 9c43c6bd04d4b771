"""Alerts and dashboards ask for what the programs count, and lead to what to do."""

import re

import pytest
from alerting import (
    OF_SCRAPES,
    Alert,
    alerts,
    labels_in,
    matchers_in,
    names_in,
    queries,
    registered,
    trials,
)

from deploy.grafana import build

ALERTS, TRIALS, KNOWN = alerts(), trials(), registered()
EXPRESSIONS = [alert.expr for alert in ALERTS] + queries()
INPUTS = [
    series
    for trial in TRIALS.values()
    for series in re.findall(r"^      - \{series: '(.*?)'", trial, re.MULTILINE)
]


def of_its_name(alert: Alert) -> str:
    return alert.name


def is_known(label: str, said: str, values: dict[str, set[str]]) -> bool:
    """Whether each of the values that are *said* may come; other patterns say nothing."""
    parts = said.split("|")
    if label not in values or not all(re.fullmatch(r"[\w.:-]*", part) for part in parts):
        return True
    return set(parts) <= values[label]


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_what_is_asked_for_is_what_a_program_registers(expr: str) -> None:
    names = names_in(expr)
    assert names
    assert names - KNOWN.keys() == set()
    labels = {label for name in names for label in KNOWN[name].labels}
    assert labels_in(expr) - labels - OF_SCRAPES == set()


@pytest.mark.parametrize("text", [*EXPRESSIONS, *INPUTS])
def test_labels_and_their_values_are_those_that_a_program_gives(text: str) -> None:
    for name, said in matchers_in(text):
        metric = KNOWN[name]
        assert said.keys() - metric.labels - OF_SCRAPES == set()
        wrong = [
            value for label, value in said.items() if not is_known(label, value, metric.values)
        ]
        assert wrong == []


@pytest.mark.parametrize("series", INPUTS)
def test_an_alert_is_tried_with_series_as_they_are_scraped(series: str) -> None:
    [(name, said)] = matchers_in(series)
    assert said.keys() == KNOWN[name].labels | OF_SCRAPES


@pytest.mark.parametrize("alert", ALERTS, ids=of_its_name)
def test_an_alert_says_how_bad_it_is_what_to_do_first_and_where_to_read_on(alert: Alert) -> None:
    assert alert.severity in {"critical", "warning"}
    assert alert.annotations.keys() == {"summary", "description", "runbook_url"}
    assert re.search(r"\b[Ff]irst ", alert.annotations["description"])
    assert alert.annotations["runbook_url"] == f"docs/operations.md#{alert.name.lower()}"


@pytest.mark.parametrize("alert", ALERTS, ids=of_its_name)
def test_an_alert_is_seen_to_stay_quiet_and_to_fire(alert: Alert) -> None:
    trial = TRIALS[alert.name]
    looks = re.findall(r"expr: 'ALERTS\{alertname=\"(\w+)\", alertstate=\"firing\"\}'", trial)
    assert set(looks) == {alert.name}
    assert re.search(r"exp_samples: \[\]", trial)
    [*fired] = re.findall(r"exp_samples: \[\{labels: 'ALERTS\{(.*?)\}'", trial)
    assert fired
    shown = set(re.findall(r"\$labels\.(\w+)", " ".join(alert.annotations.values())))
    assert shown - set(re.findall(r"(\w+)=", fired[0])) == set()


def test_nothing_is_tried_that_is_no_alert() -> None:
    assert TRIALS.keys() == {alert.name for alert in ALERTS}


@pytest.mark.parametrize("path", sorted(build.written()), ids=lambda path: path.stem)
def test_grafana_reads_what_the_toml_beside_it_says(path: object) -> None:
    [text] = [text for written, text in build.written().items() if written == path]
    again = "run python -m deploy.grafana.build"
    assert path.read_text("utf-8") == text, again  # type: ignore[attr-defined]


def test_dashboards_name_only_alerts_that_there_are() -> None:
    said = " ".join(text for text in build.written().values())
    named = set(re.findall(r"\b(?:Catalog|Snapshot|Consumer|Viewer|Invalidator)[A-Z]\w+", said))
    assert named
    assert named - {alert.name for alert in ALERTS} == set()
