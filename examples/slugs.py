"""Slugs: what a title is called in a URL."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from uuid import UUID

MAX_LENGTH = 200

# Letters that Unicode does not take apart, apostrophes, which join, and what is read as a word.
_SPELLED = str.maketrans(
    {
        "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i",  # noqa: RUF001
        "'": "", "‘": "", "’": "", "ʼ": "", "&": " and ",  # noqa: RUF001
    }
)  # fmt: skip


def slugify(text: str) -> str:
    """The words of *text* in a-z, 0-9 and hyphens; empty if it has no Latin letter or digit."""
    # Taken apart before and after: folding needs plain letters, and leaves some with marks.
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    letters = "".join(letter for letter in apart if not unicodedata.combining(letter))
    words = re.sub(r"[^a-z0-9]+", "-", letters.translate(_SPELLED)).strip("-")
    return words[:MAX_LENGTH].rstrip("-")


def extended(slug: str, ending: str) -> str:
    """*slug*-*ending*, the slug cut where both together are too long."""
    return f"{slug[: MAX_LENGTH - len(ending) - 1].rstrip('-')}-{ending}"


def choices(title: str, key: str, year: int | None, own_id: UUID) -> tuple[str, ...]:
    """What the title with this *key* may be called, best first; nobody else has the last one."""
    slug = slugify(title) or slugify(f"title {key}")
    return (
        slug,
        *([extended(slug, str(year))] if year is not None else []),
        extended(slug, own_id.hex),
    )


def choose(
    wanted: Iterable[tuple[UUID, tuple[str, ...]]], holders: Mapping[str, UUID]
) -> dict[UUID, str]:
    """The slug of each row of *wanted*, which are its id and its choices.

    *holders* says who has which slug already. A row that has one keeps it, whatever it is called
    now: a slug is an address, and running an import again must not move anything.
    """
    chosen = {own_id: slug for slug, own_id in holders.items()}
    taken = set(holders)
    for own_id, slugs in wanted:
        if own_id not in chosen:
            chosen[own_id] = next((slug for slug in slugs if slug not in taken), slugs[-1])
            taken.add(chosen[own_id])
    return chosen
