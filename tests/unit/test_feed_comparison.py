"""What a comparison of one item with the tables comes to."""

from uuid import UUID

import pytest

from content_proto.content_pb2 import (
    ITEM_KIND_EPISODE,
    CatalogFeedItem,
    CatalogSnapshotChunk,
    Playback,
    Season,
    Variant,
)
from snapshot_server.feed.comparison import (
    Difference,
    FeedItem,
    Outcome,
    What,
    compared,
    differing,
)
from snapshot_server.feed.writer import Key

KEY = Key(2, UUID(int=1))
TICK, ENCODING = 100, 3


def encoded(version: int, title: str = "a") -> bytes:
    item = CatalogFeedItem(kind=ITEM_KIND_EPISODE, version=version, title=title)
    return CatalogSnapshotChunk(items=[item]).SerializeToString()


def stored(version: int = 100, *, encoding: int = ENCODING, title: str = "a") -> FeedItem:
    return FeedItem(version, encoded(version, title), encoding)


REMOVED = FeedItem(100, None, ENCODING)


@pytest.mark.parametrize(
    ("has", "visible", "outcome"),
    [
        (stored(), True, Outcome.EQUAL),
        (stored(99), True, Outcome.EQUAL),
        (stored(title="b"), True, Difference(What.CONTENT, KEY, "title")),
        (stored(), False, Difference(What.SURPLUS, KEY)),
        (None, True, Difference(What.MISSING, KEY)),
        (REMOVED, True, Difference(What.MISSING, KEY)),
        (REMOVED, False, Outcome.ABSENT),
        (None, False, Outcome.ABSENT),
        (stored(101), True, Outcome.UNSETTLED),
        (stored(101), False, Outcome.UNSETTLED),
        (FeedItem(101, None, ENCODING), True, Outcome.UNSETTLED),
        (stored(encoding=2, title="b"), True, Outcome.OUTDATED),
        (stored(encoding=2), False, Difference(What.SURPLUS, KEY)),
    ],
)
def test_what_an_item_comes_to(
    has: FeedItem | None, *, visible: bool, outcome: Outcome | Difference
) -> None:
    made = encoded if visible else None
    assert compared(KEY, has, made, tick=TICK, encoding=ENCODING) == outcome


def test_bytes_that_differ_in_no_field_differ_all_the_same() -> None:
    # The same field twice: the last one counts.
    body = encoded(100)
    longer = body[:1] + bytes([body[1] + 2]) + b"\x08\x02" + body[2:]
    found = compared(KEY, FeedItem(100, longer, ENCODING), encoded, tick=TICK, encoding=ENCODING)
    assert found == Difference(What.CONTENT, KEY, "the bytes alone")


@pytest.mark.parametrize(
    ("ours", "theirs", "fields"),
    [
        (CatalogFeedItem(), CatalogFeedItem(synopsis=""), ["synopsis"]),
        (CatalogFeedItem(tags=["a"]), CatalogFeedItem(tags=["b"]), ["tags"]),
        (CatalogFeedItem(), CatalogFeedItem(season=Season()), ["season"]),
        (
            CatalogFeedItem(season=Season(title="a", id="x")),
            CatalogFeedItem(season=Season(title="b", id="y")),
            ["season.id", "season.title"],
        ),
        (
            CatalogFeedItem(playback=Playback(variants=[Variant(width=1)])),
            CatalogFeedItem(playback=Playback(variants=[Variant(width=2)])),
            ["playback.variants"],
        ),
        (CatalogFeedItem(title="a"), CatalogFeedItem(title="a"), []),
    ],
)
def test_fields_are_named_by_their_path(
    ours: CatalogFeedItem, theirs: CatalogFeedItem, fields: list[str]
) -> None:
    assert list(differing(ours, theirs)) == fields
    assert list(differing(theirs, ours)) == fields
