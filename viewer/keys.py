"""Names: of pages, of what the cache keeps for them, and tags of what a page was made from."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX = "catalog"
OWN = f"{PREFIX}:cache:"
"""What the cache keeps beside the pages: never a page's key, as `cache` is no kind."""
STATE = f"{OWN}state"
PURGED = f"{OWN}purged"
TAG = f"{OWN}tag:"
LOCK = f"{OWN}lock:"

_MAX_SLUG = 200
_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


class Kind(StrEnum):
    """What there are pages of."""

    EPISODE = "episode"
    SERIES = "series"


class PageName(NamedTuple):
    """A page, by the id or by the slug of what it is about."""

    kind: Kind
    identifier: str

    @classmethod
    def parse(cls, kind: Kind, text: str) -> PageName | None:
        """None for what can be no id and no slug: nobody need be asked for that."""
        if _ID.fullmatch(text):
            return cls(kind, text.lower())
        if len(text) <= _MAX_SLUG and _SLUG.fullmatch(text):
            return cls(kind, text)
        return None

    @property
    def id(self) -> str | None:
        """The identifier, if it has the form of an id; it may be a slug all the same."""
        return self.identifier if _ID.fullmatch(self.identifier) else None

    @property
    def key(self) -> str:
        """Where its document is in Redis."""
        return f"{self.label}:{self.identifier}"

    @property
    def lock(self) -> str:
        """Who has this key loads the page for all others."""
        return f"{LOCK}{self.kind}:{self.identifier}"

    @property
    def label(self) -> str:
        """Its kind, as metrics say it."""
        return f"{PREFIX}:{self.kind}"

    @property
    def tags(self) -> frozenset[str]:
        """What the page depends on whatever it shows.

        A slug may look like an id: if something with that id is published, the page is another.
        """
        return frozenset((tag(self.kind, self.id),)) if self.id else frozenset()


def label_of(key: str) -> str:
    """The kind of the page at *key*, as metrics say it."""
    return key.rpartition(":")[0]


def is_page(key: str) -> bool:
    """Whether *key* is where a page may be."""
    return key.startswith(tuple(f"{PREFIX}:{kind}:" for kind in Kind))


def tag(entity: str, id_: str) -> str:
    """Of everything that shows something of this row."""
    return f"{entity}:{id_}"


def members(series_id: str) -> str:
    """Of the page that lists the seasons and episodes of a series."""
    return f"members:{series_id}"


class Changed(Protocol):
    """An event, as far as it is looked at here."""

    @property
    def entity(self) -> str: ...  # noqa: D102
    @property
    def entity_id(self) -> str: ...  # noqa: D102
    @property
    def payload(self) -> Mapping[str, Any]: ...  # noqa: D102


def tags_of(event: Changed) -> Iterator[str]:
    """What must be purged after *event*; nothing for an entity that is on no page.

    Whatever moves from one series to another is missing on one page and new on the other:
    `$previous` has where it was.
    """
    match event.entity:
        case "category" | "series":
            yield tag(event.entity, event.entity_id)
        case "season" | "episode":
            yield tag(event.entity, event.entity_id)
            for series_id in _now_and_before(event.payload, "seriesId"):
                yield members(series_id)
        case "mediaAsset":
            for episode_id in _now_and_before(event.payload, "episodeId"):
                yield tag(Kind.EPISODE, episode_id)
        case _:
            return


def _now_and_before(payload: Mapping[str, Any], name: str) -> Iterator[str]:
    previous = payload.get("$previous")
    for context in (payload, previous if isinstance(previous, dict) else {}):
        if isinstance(value := context.get(name), str):
            yield value
