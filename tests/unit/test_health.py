"""Live and ready, from what is known."""

from dataclasses import replace

import pytest

from process.health import Condition, Health
from publisher.web.health import Known, health_of

FINE = Known(
    checked=True,
    leads=("catalog:events",),
    stands_by=True,
    oldest_unpublished_s=None,
    looked_s_ago=0.5,
)


def judged(**changes: object) -> Health:
    return health_of(replace(FINE, **changes), max_age_s=60)  # type: ignore[arg-type]


def unmet(health: Health) -> list[Condition]:
    return [condition for condition in (*health.live, *health.ready) if not condition.holds]


def test_one_that_leads_and_has_nothing_to_do_is_live_and_ready() -> None:
    assert unmet(judged()) == []


def test_one_that_stands_by_is_ready() -> None:
    assert unmet(judged(leads=())) == []


@pytest.mark.parametrize(
    ("changes", "name", "reason"),
    [
        ({"checked": False}, "checks", "not done yet"),
        (
            {"leads": (), "stands_by": False},
            "role",
            "holds no lease and does not stand by for one",
        ),
        ({"looked_s_ago": None}, "progress", "nobody has looked yet"),
        (
            {"oldest_unpublished_s": 60.0},
            "progress",
            "the oldest unpublished event has waited 60 s",
        ),
        (
            {"oldest_unpublished_s": 75.0, "back_pressure": {"b": "oom", "a": "oom", "c": "moved"}},
            "progress",
            "the oldest unpublished event has waited 76 s; back-pressure: moved, oom",
        ),
        ({"looked_s_ago": 60.0}, "progress", "what waits has not been known for 60 s"),
    ],
)
def test_each_unmet_condition_says_why(changes: dict[str, object], name: str, reason: str) -> None:
    health = judged(**changes)
    assert unmet(health) == [Condition(name, holds=False, reason=reason)]
    assert health.is_live
    assert not health.is_ready


def test_the_age_is_bounded_from_the_moment_of_the_look() -> None:
    assert judged(oldest_unpublished_s=40.0, looked_s_ago=19.9).is_ready
    assert not judged(oldest_unpublished_s=40.0, looked_s_ago=20.0).is_ready


def test_back_pressure_alone_does_not_make_it_unready() -> None:
    health = judged(oldest_unpublished_s=2.0, back_pressure={"catalog:events": "loading"})
    assert health.is_ready
    assert health.ready[-1].reason.endswith("back-pressure: loading")


def test_a_paused_publisher_is_ready_and_says_so_however_old_its_backlog() -> None:
    health = judged(paused="moving Redis", oldest_unpublished_s=86_400.0)
    assert health.is_ready
    assert health.also["paused"] == "moving Redis"
    assert health.ready[-1] == Condition("progress", holds=True, reason="paused: moving Redis")


def test_a_worker_that_has_ended_is_the_end_of_life() -> None:
    health = judged(ended=("retention", "leases"))
    assert not health.is_live
    assert health.is_ready
    assert unmet(health) == [Condition("workers", holds=False, reason="ended: retention, leases")]
