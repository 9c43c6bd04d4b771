"""What a Redis server is like, and what that means for the publisher."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from publisher.store.keys import epoch_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

OLDEST = (6, 2)
"""The oldest version of Redis that the publisher works with."""
ABSENT = "UNKNOWN"
"""The reason of a command that the server does not have."""

_KEY_REFUSED = re.compile(r"permissions to access (a|one of the) key")


class Severity(StrEnum):
    """How much a finding matters."""

    INFO = "info"
    WARNING = "warning"
    UNFIT = "unfit"
    """The publisher does not start."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about the server that somebody should know."""

    severity: Severity
    name: str
    sentence: str
    """What it means and what to do."""


@dataclass(frozen=True, slots=True)
class Node:
    """What one server says of itself."""

    name: str
    """Empty where there is only one."""
    info: Mapping[str, Any] | None
    """Its INFO; None if it may not be asked."""
    save: str | None
    """When it saves a snapshot; None if that may not be asked."""


class Purpose(StrEnum):
    """What the publisher needs a command for."""

    APPEND = "append"
    LOOK = "look after the streams"
    """Trim them, and tell how far their groups are."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A command that was tried on a stream, in a way that changes nothing, and not carried out."""

    key: str
    purpose: Purpose
    command: str
    """As ACL rules name it: xinfo|groups."""
    reason: str
    answer: str


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of trying every command on the streams."""

    keys: Sequence[str]
    refused: Sequence[Refusal] = ()
    expiring: Sequence[str] = ()
    """Streams with an expiry."""


def judge(nodes: Sequence[Node], trial: Trial, *, as_cluster: bool) -> list[Finding]:
    """What there is to say; *as_cluster* is how the client takes the server."""
    found: dict[Finding, list[str]] = {}
    for node in nodes:
        for finding in _of_node(node, as_cluster=as_cluster):
            found.setdefault(finding, []).append(node.name)
    # The same is said once, of all the nodes together.
    findings = [
        replace(finding, sentence=f"{', '.join(names)}: {finding.sentence}")
        if any(names)
        else finding
        for finding, names in found.items()
    ]
    return findings + list(_of_trial(trial))


def _of_node(node: Node, *, as_cluster: bool) -> Iterator[Finding]:
    if node.info is None:
        yield Finding(
            Severity.INFO,
            "unseen",
            "its version, memory and persistence are not checked: the user may not run INFO"
            " (ACL: +info)",
        )
        return
    info = node.info
    version = str(info.get("redis_version", ""))
    if _numbers(version) < OLDEST:
        yield Finding(
            Severity.UNFIT,
            "version",
            f"Redis {version} is too old: {'.'.join(map(str, OLDEST))} is the oldest it works with",
        )
    if info.get("role") == "slave":
        yield Finding(
            Severity.WARNING,
            "replica",
            "it is a replica: nothing can be appended until it is promoted or REDIS_URL leads to"
            " the primary",
        )
    if info.get("cluster_enabled") and not as_cluster:
        yield Finding(
            Severity.WARNING,
            "cluster",
            "it is a node of a cluster, and answers MOVED for streams on another node: REDIS_URL"
            " should begin with redis+cluster://",
        )
    yield from _of_memory(info)
    yield from _of_persistence(node)


def _of_memory(info: Mapping[str, Any]) -> Iterator[Finding]:
    limited = bool(info.get("maxmemory"))
    policy = str(info.get("maxmemory_policy", ""))
    if policy.startswith("allkeys"):
        when = (
            "as soon as its memory is full" if limited else "once it has a maxmemory that is full"
        )
        yield Finding(
            Severity.UNFIT if limited else Severity.WARNING,
            "eviction",
            f"maxmemory-policy is {policy}: {when}, it drops whole streams; set it to noeviction"
            " or to one of the volatile-* (a stream has no expiry), or give the streams a server"
            " of their own",
        )
    if not limited:
        yield Finding(
            Severity.INFO,
            "memory",
            "maxmemory is not set: what fills it up takes the memory of the machine, and then it"
            " is killed rather than full",
        )


def _of_persistence(node: Node) -> Iterator[Finding]:
    info = node.info or {}
    if info.get("aof_enabled") or node.save:
        return
    if node.save is None:
        yield Finding(
            Severity.INFO,
            "persistence",
            "whether it saves snapshots may not be asked; without them and without an append-only"
            " file a restart empties it, and the streams are put back from the outbox",
        )
        return
    yield Finding(
        Severity.WARNING,
        "persistence",
        "it keeps nothing on disk: a restart empties it, and the streams are put back from the"
        " outbox as far as their retention reaches, but consumer groups are gone; set appendonly"
        " yes",
    )


def _of_trial(trial: Trial) -> Iterator[Finding]:
    for purpose in Purpose:
        severity = Severity.UNFIT if purpose is Purpose.APPEND else Severity.WARNING
        refused = [refusal for refusal in trial.refused if refusal.purpose is purpose]
        rules = {_rule(refusal, trial.keys) for refusal in refused if refusal.reason == "NOPERM"}
        if rules:
            yield Finding(
                severity,
                "rights",
                f"its user may not {purpose}: add to its ACL {' '.join(sorted(rules))}",
            )
        absent = {refusal.command for refusal in refused if refusal.reason == ABSENT}
        if absent:
            yield Finding(
                severity,
                "commands",
                f"it does not have what it takes to {purpose}: {', '.join(sorted(absent))}",
            )
    said = {
        refusal.reason: refusal.answer
        for refusal in trial.refused
        if refusal.reason not in ("NOPERM", ABSENT)
    }
    for reason, answer in said.items():
        yield Finding(
            Severity.WARNING,
            reason.lower(),
            f"it would not be written to now; the publisher waits until that ends: {answer}",
        )
    if trial.expiring:
        yield Finding(
            Severity.WARNING,
            "expiry",
            f"a stream is dropped when its expiry comes: PERSIST {' '.join(trial.expiring)}",
        )


def _rule(refusal: Refusal, keys: Sequence[str]) -> str:
    if not _KEY_REFUSED.search(refusal.answer):
        return f"+{refusal.command}"
    if len(keys) > 1:
        return f"~{refusal.key.rpartition('{')[0]}*"
    return f"~{refusal.key} ~{epoch_key(refusal.key)}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
