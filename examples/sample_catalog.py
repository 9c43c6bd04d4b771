"""A small catalog of invented titles, to have something to look at."""

import sys
from datetime import UTC, date, datetime, timedelta
from uuid import uuid5

import typer

from examples.command import run
from examples.plan import Category, Episode, Season, Status, Title, season_id, title_id
from examples.slugs import choices

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

NATURE = Category("nature", "Nature", "Slow pictures of patient animals.", 1)
CRIME = Category("crime", "Crime", "Somebody did it.", 2)
KITCHEN = Category("kitchen", "Kitchen", "Things to eat and the people who make them.", 3)
ORBIT = Category("orbit", "Orbit", "Far away and some time from now.", 4)

_MINUTE = 60
_WEEK = timedelta(weeks=1)
_ALWAYS = (None, None)


def _captions(episode: str, *languages: str) -> dict[str, str]:
    return {language: f"captions/{episode}/{language}.vtt" for language in languages}


def _title(  # noqa: PLR0913 - read it as a table, below
    name: str,
    category: Category,
    synopsis: str,
    tags: tuple[str, ...],
    released: date,
    *seasons: tuple[str, ...],
    film_minutes: int | None = None,
    languages: tuple[str, ...] = ("en",),
    available: tuple[datetime | None, datetime | None] = _ALWAYS,
    status: Status = Status.PUBLISHED,
) -> Title:
    own_id = title_id(f"sample {name}")
    premiere = datetime(released.year, released.month, released.day, 20, tzinfo=UTC)
    kept_seasons = tuple(
        Season(season_id(own_id, number), number, (premiere + (number - 1) * 52 * _WEEK).date())
        for number in range(1, len(seasons) + 1)
    )
    episodes = [
        Episode(
            id=uuid5(season.id, f"episode {number}"),
            season_id=season.id,
            slug_ending=f"s{season.number}e{number}",
            title=title,
            synopsis=f"{name}, season {season.number}, part {number} of {len(titles)}.",
            duration_seconds=(24 + 3 * number) * _MINUTE,
            published_at=premiere + ((season.number - 1) * 52 + number - 1) * _WEEK,
            tags=tags,
            captions=_captions(f"{own_id}/s{season.number}e{number}", *languages),
            available=available,
            status=status,
        )
        for season, titles in zip(kept_seasons, seasons, strict=True)
        for number, title in enumerate(titles, start=1)
    ]
    if film_minutes is not None:
        episodes.append(
            Episode(
                id=uuid5(own_id, "film"),
                season_id=None,
                slug_ending=None,
                title=name,
                synopsis=synopsis,
                duration_seconds=film_minutes * _MINUTE,
                published_at=premiere,
                tags=tags,
                captions=_captions(f"{own_id}/film", *languages),
                available=available,
                status=status,
            )
        )
    return Title(
        id=own_id,
        line=0,
        slugs=choices(name, name, released.year, own_id),
        title=name,
        synopsis=synopsis,
        category=category,
        tags=tags,
        release_date=released,
        seasons=kept_seasons,
        episodes=tuple(episodes),
        status=status,
    )


TITLES = (
    _title(
        "Tidewater",
        NATURE,
        "A year on a mudflat, from the point of view of those who live in it.",
        ("birds", "sea", "slow"),
        date(2023, 3, 4),
        ("Low Water", "The Godwits Arrive", "Storm Surge", "Ice"),
        ("Return", "Eelgrass", "The Long Ebb"),
        languages=("en", "de", "ja"),
    ),
    _title(
        "Hedgerow",
        NATURE,
        "Three hundred metres of hedge between two farms, and the traffic in it.",
        ("insects", "farms"),
        date(2024, 5, 11),
        ("Hawthorn", "Night Shift", "The Flail"),
        languages=("en", "cy"),
    ),
    _title(
        "The Quiet Ledger",
        CRIME,
        "An auditor finds a village that has paid no tax since 1911, and no funeral bills either.",
        ("mystery", "village", "accounting"),
        date(2022, 10, 1),
        ("Opening Balance", "Petty Cash", "Goodwill", "Write-Off"),
        ("Restated", "Material Doubt"),
        languages=("en", "fr", "pt-BR"),
    ),
    _title(
        "Inspector Moth",
        CRIME,
        "He only works at night, and only where somebody has left a light on.",
        ("detective", "night"),
        date(2024, 9, 13),
        ("The Lamp", "Dust", "A Hole in the Coat"),
        available=(datetime(2024, 9, 13, tzinfo=UTC), datetime(2031, 9, 13, tzinfo=UTC)),
    ),
    _title(
        "Salt, Fat & Forgiveness",
        KITCHEN,
        "Two sisters who do not speak run one restaurant, in shifts.",
        ("family", "restaurant"),
        date(2023, 11, 20),
        ("Stock", "Reduction", "Service"),
        languages=("en", "it"),
    ),
    _title(
        "Bread for Beginners",
        KITCHEN,
        "Flour, water, salt and the things that people say while they wait.",
        ("baking", "how-to"),
        date(2021, 1, 17),
        ("Starter", "Crumb", "Crust"),
        languages=("en", "es"),
        available=(datetime(2021, 1, 17, tzinfo=UTC), None),
    ),
    _title(
        "Eleven Minutes of Dark",
        ORBIT,
        "On each orbit, for as long as the station is in shadow, someone else is on board.",
        ("space", "thriller", "film"),
        date(2024, 2, 2),
        film_minutes=97,
        languages=("en", "de", "ko"),
        available=(None, datetime(2032, 1, 1, tzinfo=UTC)),
    ),
    _title(
        "Kepler's Orchard",
        ORBIT,
        "The first trees on another world, and the people who have to prune them.",
        ("space", "gardening"),
        date(2026, 4, 1),
        ("Grafting", "First Frost", "Windfall"),
        status=Status.DRAFT,
    ),
)


@app.command()
def sample_catalog() -> None:
    """Load the sample catalog into the database that DATABASE_URL names; again, it does nothing."""
    sys.exit(run(TITLES))


if __name__ == "__main__":
    app()
