"""Whether clients are sent to a server, and whether it is started anew."""

from dataclasses import replace

import pytest

from process.health import Health
from snapshot_server.serving.health import Known, health_of

FINE = Known(looked_s_ago=0.5, is_built=True, lag_s=0.0)


def health(**changes: object) -> Health:
    return health_of(replace(FINE, **changes), max_lag_s=60, max_silence_s=5)  # type: ignore[arg-type]


def test_a_server_with_a_database_and_a_level_feed_is_ready() -> None:
    assert (health().is_live, health().is_ready, health().reason) == (True, True, "")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"looked_s_ago": None}, "PostgreSQL has not answered yet"),
        ({"looked_s_ago": 5.1}, "PostgreSQL does not answer"),
        ({"is_built": False}, "the feed is not built yet"),
        ({"lag_s": 60.1}, "the feed is more than 60 s behind"),
        ({"draining": True}, "shutting down"),
    ],
)
def test_one_that_cannot_serve_is_live_and_says_why_it_is_not_ready(
    changes: dict[str, object], reason: str
) -> None:
    found = health(**changes)
    assert (found.is_live, found.is_ready, found.reason) == (True, False, reason)


@pytest.mark.parametrize("changes", [{"looked_s_ago": 4.9}, {"lag_s": 59.9}])
def test_a_short_silence_and_a_short_lag_send_nobody_away(changes: dict[str, object]) -> None:
    assert health(**changes).is_ready


def test_one_that_lost_a_part_is_not_live() -> None:
    found = health(ended=("projector",))
    assert not found.is_live
    assert found.live[0].reason == "ended: projector"
