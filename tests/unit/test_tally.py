"""What a client holds: versions only grow, and the totals are those of what is there."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from content_proto.content_pb2 import (
    ITEM_KIND_EPISODE,
    ITEM_KIND_SERIES,
    CatalogFeedItem,
    CatalogSummary,
    ItemKind,
    RemovedItem,
)
from snapshot_server.client.chunk import Chunk
from snapshot_server.client.errors import SummaryMismatch
from snapshot_server.client.tally import Mirror, Totals
from snapshot_server.digest import item_digest

A, B = str(UUID(int=1)), str(UUID(int=2))


def items(*versions: tuple[str, int], kind: ItemKind = ITEM_KIND_EPISODE) -> Chunk:
    found = [CatalogFeedItem(kind=kind, id=id_, version=version) for id_, version in versions]
    return Chunk(found, [], "c", None, None)


def removed(id_: str, version: int) -> Chunk:
    return Chunk(
        [], [RemovedItem(kind=ITEM_KIND_EPISODE, id=id_, version=version)], "c", None, None
    )


def held(mirror: Mirror) -> dict[str, int]:
    return {id_: item.version for (_, id_), item in mirror.items.items()}


def test_a_lower_version_changes_nothing_and_an_equal_one_is_applied_again() -> None:
    mirror = Mirror()
    for version in (5, 4, 5):
        mirror.apply(items((A, version)))
    assert held(mirror) == {A: 5}
    assert mirror.totals == Totals(0, 1, item_digest(2, UUID(A), 5))


def test_a_removal_that_is_older_than_the_item_changes_nothing() -> None:
    mirror = Mirror()
    mirror.apply(items((A, 5)))
    mirror.apply(removed(A, 4))
    assert held(mirror) == {A: 5}


def test_an_item_that_is_older_than_its_removal_does_not_come_back_and_a_newer_one_does() -> None:
    mirror = Mirror()
    mirror.apply(removed(A, 5))
    mirror.apply(items((A, 4)))
    assert held(mirror) == {}
    mirror.apply(items((A, 6)))
    assert held(mirror) == {A: 6}


def test_removals_are_remembered_until_the_next_position_and_no_longer() -> None:
    mirror = Mirror()
    mirror.apply(removed(A, 5))
    assert mirror._removed == {(2, A): 5}  # noqa: SLF001
    mirror.apply(Chunk([], [], None, "9-0", None))
    assert mirror._removed == {}  # noqa: SLF001


def test_kinds_with_the_same_id_are_two_items() -> None:
    mirror = Mirror()
    mirror.apply(items((A, 5), kind=ITEM_KIND_SERIES))
    mirror.apply(items((A, 6)))
    mirror.apply(removed(A, 7))
    assert list(mirror.items) == [(1, A)]
    assert mirror.totals[:2] == (1, 0)


@given(
    st.permutations(range(1, 9)).flatmap(
        lambda versions: st.tuples(
            *(st.tuples(st.sampled_from([A, B]), st.just(v), st.booleans()) for v in versions)
        )
    )
)
def test_in_any_order_the_newest_word_on_an_item_holds(
    changes: tuple[tuple[str, int, bool], ...],
) -> None:
    mirror = Mirror()
    newest: dict[str, tuple[int, bool]] = {}
    for id_, version, there in changes:
        mirror.apply(items((id_, version)) if there else removed(id_, version))
        newest[id_] = max(newest.get(id_, (0, False)), (version, there))
    expected = {id_: version for id_, (version, there) in newest.items() if there}
    digest = sum(item_digest(2, UUID(id_), version) for id_, version in expected.items())
    assert held(mirror) == expected
    assert mirror.totals == Totals(0, len(expected), digest % 2**64)


def test_the_summary_is_looked_at_in_the_last_chunk_alone() -> None:
    mirror = Mirror()
    right = CatalogSummary(episodes=1, digest=item_digest(2, UUID(A), 5))
    wrong = CatalogSummary(episodes=1, digest=7)
    mirror.apply(items((A, 5))._replace(summary=wrong))
    mirror.apply(Chunk([], [], None, "9-0", right))
    assert mirror.position == "9-0"
    with pytest.raises(SummaryMismatch, match=r"at 9-1 the client holds digest \d+ instead of 7"):
        mirror.apply(Chunk([], [], None, "9-1", wrong))
