"""What is replayed where, and how fast."""

from __future__ import annotations

import pytest

from publisher.audit.replay import batch_size, due, is_live


@pytest.mark.parametrize(
    ("key", "live"),
    [
        ("catalog:events", True),
        ("catalog:events:{0}", True),
        ("catalog:events:{63}", True),
        ("catalog:events:replay:1-0", False),
        ("catalog-events", False),
        ("catalog:events:{x}", False),
    ],
)
def test_the_live_stream_and_its_partitions_are_known(key: str, live: bool) -> None:  # noqa: FBT001
    assert is_live(key, "catalog:events") is live


@pytest.mark.parametrize(
    ("rate", "size"), [(1, 1), (19, 1), (1000, 50), (20_000, 1000), (10**6, 1000)]
)
def test_a_batch_is_a_twentieth_of_a_second(rate: int, size: int) -> None:
    assert batch_size(rate) == size


def test_batches_are_due_one_after_the_other() -> None:
    first = due(0.0, 100.0, 50, 1000)
    assert first == pytest.approx(100.05)
    assert due(first, 100.02, 50, 1000) == pytest.approx(100.10)


def test_time_that_was_lost_is_not_made_up_for() -> None:
    assert due(100.05, 160.0, 50, 1000) == pytest.approx(160.05)
