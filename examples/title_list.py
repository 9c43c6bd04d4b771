"""A list of titles in CSV, read into what the catalog is to hold. Broken lines are set aside."""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import uuid5

from examples.plan import Category, Episode, Season, Title, season_id, title_id
from examples.slugs import choices, slugify

COLUMNS = (
    "show_id", "type", "title", "director", "casts", "country",
    "date_added", "release_year", "rating", "duration", "listed_in", "description",
)  # fmt: skip
EPISODES_PER_SEASON = 8

_EPISODE_SECONDS = 45 * 60  # the list does not say
_DATE_FORMS = ("%d-%b-%y", "%B %d, %Y")
_EXPECTED = f"Expected: CSV in UTF-8 whose first line is {','.join(COLUMNS)}"


class FileRefused(Exception):
    """The file is not a list of titles."""

    def __init__(self, reason: str) -> None:
        """Say why, and what was expected."""
        super().__init__(f"{self.__doc__} {reason}\n{_EXPECTED}")


@dataclass(frozen=True)
class Skipped:
    """A line that was left out, and why."""

    line: int
    reason: str


@dataclass(frozen=True)
class TitleList:
    """A whole file: its titles, in its order, and the lines that are none."""

    titles: tuple[Title, ...]
    skipped: tuple[Skipped, ...]


class _Broken(Exception):
    """The reason, for `Skipped`."""


def read_title_list(content: bytes) -> TitleList:
    """The titles in *content*; `FileRefused` if it is something else altogether."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileRefused(f"Byte {error.start + 1:,} is not UTF-8.") from error
    # Not splitlines(), which also ends a line at characters that CSV knows nothing of.
    lines = list(io.StringIO(text, newline=""))
    records = _records(lines)
    titles: list[Title] = []
    skipped: list[Skipped] = []
    lines_by_key: dict[str, int] = {}
    columns = _header(next(records, (1, [])))
    for line, fields in records:
        try:
            if isinstance(fields, _Broken):
                raise fields
            row = _row(columns, fields, seen=lines_by_key)
            titles.append(_title(line, row))
            lines_by_key[row["show_id"]] = line
        except _Broken as broken:
            skipped.append(Skipped(line, str(broken)))
    return TitleList(tuple(titles), tuple(skipped))


def _records(lines: Sequence[str]) -> Iterator[tuple[int, list[str] | _Broken]]:
    """Every record with the number of its first line; blank lines are none."""
    start, width = 0, 0
    while start < len(lines):
        rest = (lines[number] for number in range(start, len(lines)))
        reader = csv.reader(rest, strict=True)
        record: list[str] | _Broken
        try:
            record = next(reader)
        except csv.Error as error:
            record = _Broken(f"not CSV: {error}")
        else:
            width = width or len(record)
            if record and len(record) != width:
                record = _Broken(f"{len(record)} fields instead of {width}")
        if record:
            yield start + 1, record
        # A quote that is never closed swallows the lines after it: only its own line is given up.
        start += 1 if isinstance(record, _Broken) else reader.line_num


def _header(record: tuple[int, list[str] | _Broken]) -> Mapping[str, int]:
    _, fields = record
    if isinstance(fields, _Broken):
        raise FileRefused(f"Its first line is {fields}.")
    if not fields:
        raise FileRefused("It is empty.")
    columns = {name.strip(): place for place, name in enumerate(fields)}
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise FileRefused(f"It has no column {', '.join(missing)}.")
    return columns


def _row(
    columns: Mapping[str, int], fields: Sequence[str], *, seen: Mapping[str, int]
) -> Mapping[str, str]:
    row = {name: fields[columns[name]].strip() for name in COLUMNS}
    if any("\0" in value for value in row.values()):
        raise _Broken("a NUL character, which PostgreSQL cannot store")
    for name in ("show_id", "title"):
        if not row[name]:
            raise _Broken(f"{name} is missing")
    if row["show_id"] in seen:
        raise _Broken(f"show_id {row['show_id']} is already that of line {seen[row['show_id']]}")
    return row


def _title(line: int, row: Mapping[str, str]) -> Title:
    own_id = title_id(row["show_id"])
    released = _release_date(row["release_year"])
    published_at = _published_at(row["date_added"], released)
    genres = tuple(dict.fromkeys(filter(None, map(str.strip, row["listed_in"].split(",")))))
    synopsis = row["description"] or None
    seasons: tuple[Season, ...] = ()
    episodes: tuple[Episode, ...]
    match row["type"]:
        case "Movie":
            minutes = _number(row["duration"], r"([1-9][0-9]{0,3}) min", "90 min")
            film = Episode(
                id=uuid5(own_id, "film"),
                season_id=None,
                slug_ending=None,
                title=row["title"],
                synopsis=synopsis,
                duration_seconds=minutes * 60,
                published_at=published_at,
                tags=genres,
            )
            episodes = (film,)
        case "TV Show":
            count = _number(row["duration"], r"([1-9][0-9]{0,2}) Seasons?", "2 Seasons")
            seasons = tuple(
                Season(season_id(own_id, number), number, released)
                for number in range(1, count + 1)
            )
            episodes = tuple(
                Episode(
                    id=uuid5(season.id, f"episode {number}"),
                    season_id=season.id,
                    slug_ending=f"s{season.number}e{number}",
                    title=f"Episode {number}",
                    duration_seconds=_EPISODE_SECONDS,
                    published_at=published_at,
                    tags=genres,
                )
                for season in seasons
                for number in range(1, EPISODES_PER_SEASON + 1)
            )
        case other:
            raise _Broken(f"type {other!r} is neither Movie nor TV Show")
    return Title(
        id=own_id,
        line=line,
        slugs=choices(row["title"], row["show_id"], released.year, own_id),
        title=row["title"],
        synopsis=synopsis,
        category=_category(genres[0]) if genres else None,
        tags=genres,
        release_date=released,
        seasons=seasons,
        episodes=episodes,
    )


def _category(genre: str) -> Category:
    # A genre in another script has no Latin letter; its id is as good a name as any.
    slug = slugify(genre) or f"genre-{title_id(genre).hex}"
    return Category(slug, genre)


def _release_date(year: str) -> date:
    if not re.fullmatch(r"[1-9][0-9]{3}", year):
        raise _Broken(f"release_year {year!r} is not like 2021")
    return date(int(year), 1, 1)


def _published_at(added: str, released: date) -> datetime:
    if not added:
        return datetime(released.year, released.month, released.day, tzinfo=UTC)
    for form in _DATE_FORMS:
        try:
            return datetime.strptime(added, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise _Broken(f"date_added {added!r} is not like 25-Sep-21")


def _number(duration: str, form: str, example: str) -> int:
    found = re.fullmatch(form, duration)
    if found is None:
        raise _Broken(f"duration {duration!r} is not like {example!r}")
    return int(found[1])
