"""An event that was applied before, or that is older than what was, is applied no more."""

import pytest
from consumed import event

from consumer.keeping.applied import applied_before, still_to_apply


@pytest.mark.parametrize(("stored", "before"), [(None, False), (4, False), (5, True), (6, True)])
def test_a_store_at_the_same_or_a_later_version_has_applied_the_event(
    *, stored: int | None, before: bool
) -> None:
    version = None if stored is None else event(stored).version
    assert applied_before(event(5), version) is before


def test_of_a_batch_what_is_newer_than_before_is_left_in_order_and_once() -> None:
    events = [event(1), event(2), event(2, "b"), event(2), event(1, "c"), event(3), event(2)]
    left = still_to_apply(events, {("series", "a"): event(1).version, ("series", "b"): 0})
    assert [(one.entity_id, one.id) for one in left] == [
        (one.entity_id, one.id) for one in (event(2), event(2, "b"), event(1, "c"), event(3))
    ]


def test_kinds_of_entities_may_share_ids() -> None:
    events = [event(2), event(1, entity="episode")]
    assert still_to_apply(events, {("series", "a"): 0, ("episode", "a"): 0}) == events
