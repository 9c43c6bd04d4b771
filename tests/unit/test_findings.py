"""What a Redis server says of itself, and what that means for the publisher."""

from typing import Any

import pytest

from publisher.errors import ServerUnfit
from publisher.store.findings import ABSENT, Finding, Node, Purpose, Refusal, Severity, Trial, judge
from publisher.store.server_check import insist

KEY = "catalog:events"
GOOD: dict[str, Any] = {
    "redis_version": "7.0.15",
    "role": "master",
    "maxmemory": 1 << 30,
    "maxmemory_policy": "noeviction",
    "aof_enabled": 1,
    "cluster_enabled": 0,
}
FINE = Trial([KEY])


def judged(save: str | None = "", **info: object) -> list[tuple[str, str]]:
    found = judge([Node("", GOOD | info, save)], FINE, as_cluster=False)
    return [(finding.severity.value, finding.name) for finding in found]


def test_nothing_is_said_of_a_server_as_it_should_be() -> None:
    assert judged() == []


@pytest.mark.parametrize(
    ("info", "found"),
    [
        ({"redis_version": "6.0.16"}, [("unfit", "version")]),
        ({"redis_version": "5"}, [("unfit", "version")]),
        ({"redis_version": "6.2.0"}, []),
        ({"redis_version": "10.1.0"}, []),
        ({"redis_version": 7.4}, []),
        ({"role": "slave"}, [("warning", "replica")]),
        ({"cluster_enabled": 1}, [("warning", "cluster")]),
        ({"maxmemory_policy": "allkeys-lru"}, [("unfit", "eviction")]),
        ({"maxmemory_policy": "allkeys-random"}, [("unfit", "eviction")]),
        ({"maxmemory_policy": "volatile-lfu"}, []),
        ({"maxmemory": 0}, [("info", "memory")]),
        (
            {"maxmemory": 0, "maxmemory_policy": "allkeys-lru"},
            [("warning", "eviction"), ("info", "memory")],
        ),
        ({"aof_enabled": 0}, [("warning", "persistence")]),
    ],
)
def test_what_info_says_is_judged(info: dict[str, Any], found: list[tuple[str, str]]) -> None:
    assert judged(**info) == found


def test_snapshots_are_persistence_too() -> None:
    assert judged("3600 1", aof_enabled=0) == []


def test_a_server_that_keeps_its_settings_to_itself_is_no_worse_for_it() -> None:
    assert judged(None) == []
    assert judged(None, aof_enabled=0) == [("info", "persistence")]
    unseen = judge([Node("", None, None)], FINE, as_cluster=False)
    assert [(finding.severity.value, finding.name) for finding in unseen] == [("info", "unseen")]


def test_the_same_is_said_once_of_all_the_nodes_that_it_is_about() -> None:
    nodes = [
        Node("a:1", GOOD | {"cluster_enabled": 1, "aof_enabled": 0}, ""),
        Node("b:1", GOOD | {"cluster_enabled": 1}, ""),
        Node("c:1", GOOD | {"cluster_enabled": 1, "aof_enabled": 0}, ""),
    ]
    [finding] = judge(nodes, FINE, as_cluster=True)
    assert finding.name == "persistence"
    assert finding.sentence.startswith("a:1, c:1: it keeps nothing on disk")


def refused(
    command: str, reason: str, answer: str = "", purpose: Purpose = Purpose.APPEND
) -> Trial:
    return Trial([KEY], [Refusal(KEY, purpose, command, reason, f"{reason} {answer}")])


@pytest.mark.parametrize(
    ("trial", "severity", "name", "says"),
    [
        (refused("xadd", "NOPERM"), Severity.UNFIT, "rights", "add to its ACL +xadd"),
        (
            refused("evalsha", "NOPERM", "No permissions to access a key"),
            Severity.UNFIT,
            "rights",
            "add to its ACL ~catalog:events ~{catalog:events}:epoch",
        ),
        (
            refused("xtrim", "NOPERM", purpose=Purpose.LOOK),
            Severity.WARNING,
            "rights",
            "may not look after the streams: add to its ACL +xtrim",
        ),
        (refused("evalsha", ABSENT), Severity.UNFIT, "commands", "evalsha"),
        (refused("xadd", "OOM", "no memory."), Severity.WARNING, "oom", "OOM no memory."),
        (Trial([KEY], expiring=[KEY]), Severity.WARNING, "expiry", f"PERSIST {KEY}"),
    ],
)
def test_what_was_tried_is_judged(trial: Trial, severity: Severity, name: str, says: str) -> None:
    [finding] = judge([Node("", GOOD, "")], trial, as_cluster=False)
    assert (finding.severity, finding.name) == (severity, name)
    assert says in finding.sentence


def test_the_rules_that_are_missing_are_named_together() -> None:
    keys = [f"catalog:events:{{{number}}}" for number in range(2)]
    answer = "NOPERM this user has no permissions to access one of the keys used as arguments"
    trial = Trial(
        keys,
        [
            *[Refusal(key, Purpose.APPEND, "evalsha", "NOPERM", answer) for key in keys],
            *[Refusal(key, Purpose.APPEND, "script|load", "NOPERM", "NOPERM") for key in keys],
        ],
    )
    [finding] = judge([Node("", GOOD, "")], trial, as_cluster=False)
    assert finding.sentence.endswith("add to its ACL +script|load ~catalog:events:*")


def test_only_what_is_unfit_keeps_the_publisher_from_starting() -> None:
    insist([Finding(severity, "name", "") for severity in Severity if severity != "unfit"])
    with pytest.raises(ServerUnfit, match="Redis is unfit: first; second"):
        insist([Finding(Severity.UNFIT, "name", text) for text in ("first", "second")])
