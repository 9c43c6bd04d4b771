"""Whether an item of the feed is what the tables say, and where it differs."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from content_proto.content_pb2 import CatalogSnapshotChunk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.message import Message

    from snapshot_server.feed.writer import Key


class What(StrEnum):
    """Ways in which the feed may differ from the tables."""

    MISSING = "missing"
    """Viewers may see it, and the feed does not have it."""
    SURPLUS = "surplus"
    """The feed has it, and viewers may not see it."""
    CONTENT = "content"
    """Its fields are not those of the tables."""
    AHEAD = "ahead"
    """It is newer than the feed says that it is as a whole."""
    TOTALS = "totals"
    """Counts or digest of the whole feed are not those of its items."""


class Difference(NamedTuple):
    """One item that differs; or all of them, where there is no key."""

    what: What
    key: Key | None
    detail: str = ""
    """Which fields, or which figures."""


class FeedItem(NamedTuple):
    """What the feed has of an item."""

    version: int
    body: bytes | None
    """None: it was removed."""
    encoding: int


class Outcome(StrEnum):
    """What can be said of an item that does not differ."""

    EQUAL = "equal"
    ABSENT = "absent"
    """On both sides."""
    UNSETTLED = "unsettled"
    """It was touched after the tick at which the tables are seen."""
    OUTDATED = "outdated"
    """An earlier version of the encoder made it; the projector is to make it anew."""


def compared(
    key: Key,
    stored: FeedItem | None,
    encoded: Callable[[int], bytes] | None,
    *,
    tick: int,
    encoding: int,
) -> Difference | Outcome:
    """Compare what the feed has *stored* with what the tables, seen at *tick*, make of it.

    *encoded* makes the bytes at a version; None where viewers may not see the item. *tick* is a
    version too.
    """
    if stored and stored.version > tick:
        return Outcome.UNSETTLED
    body = stored.body if stored else None
    if stored is None or body is None:
        return Difference(What.MISSING, key) if encoded else Outcome.ABSENT
    if encoded is None:
        return Difference(What.SURPLUS, key)
    if stored.encoding != encoding:
        return Outcome.OUTDATED
    expected = encoded(stored.version)
    if expected == body:
        return Outcome.EQUAL
    fields = ", ".join(differing(_item(body), _item(expected))) or "the bytes alone"
    return Difference(What.CONTENT, key, fields)


def differing(ours: Message, theirs: Message, path: str = "") -> Iterator[str]:
    """The fields in which two messages differ, such as ``series.title``."""
    for field in ours.DESCRIPTOR.fields:
        name = f"{path}{field.name}"
        one, other = getattr(ours, field.name), getattr(theirs, field.name)
        if field.is_repeated or not field.message_type:
            absent = field.has_presence and (
                ours.HasField(field.name) != theirs.HasField(field.name)
            )
            if absent or one != other:
                yield name
        elif ours.HasField(field.name) != theirs.HasField(field.name):
            yield name
        elif one != other:
            yield from differing(one, other, f"{name}.")


def _item(body: bytes) -> Message:
    [item] = CatalogSnapshotChunk.FromString(body).items
    return item
