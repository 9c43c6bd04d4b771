"""What a list of titles is to become: slugs, ids, seasons, episodes, and the lines left out."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.errors import SettingRefused
from examples.sample_catalog import TITLES
from examples.settings import Settings, read_settings
from examples.slugs import MAX_LENGTH, choices, choose, extended, slugify
from examples.title_list import COLUMNS, FileRefused, Skipped, TitleList, read_title_list

HEADER = ",".join(COLUMNS)
FILM = "f1,Movie,Low Tide,,,,25-Sep-21,2020,PG,90 min,Dramas,Wet."
SHOW = 's1,TV Show,High & Dry,,,,,2019,PG,2 Seasons,"Crime, Dramas",Dry.'
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
SOMEBODY = UUID(int=7)


def read(*lines: str) -> TitleList:
    return read_title_list("\n".join([HEADER, *lines]).encode())


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("Blood & Water", "blood-and-water"),
        ("Darwin’s Game", "darwins-game"),  # noqa: RUF001
        ("  --Naruto Shippûden: Bonds!", "naruto-shippuden-bonds"),
        ("Legend\xa0of\xa0Exorcism", "legend-of-exorcism"),
        ("İstanbul Kırmızısı", "istanbul-kirmizisi"),  # noqa: RUF001
        ("Straße nach Łódź", "strasse-nach-lodz"),
        ("PK (피케이) ２", "pk-2"),  # noqa: RUF001
        ("반드시 잡는다", ""),
        ("…", ""),
        ("a" * 199 + " b", "a" * 199),
    ],
)
def test_a_title_becomes_words_of_latin_letters_and_digits(title: str, slug: str) -> None:
    assert slugify(title) == slug


def test_the_year_tells_two_of_a_name_apart_and_the_id_more_than_two() -> None:
    wanted = [
        (UUID(int=number), choices("Dune", f"s{number}", 2021, UUID(int=number)))
        for number in (1, 2, 3)
    ]

    assert list(choose(wanted, {}).values()) == ["dune", "dune-2021", f"dune-{UUID(int=3).hex}"]


def test_a_slug_in_other_hands_is_left_there() -> None:
    own_id = UUID(int=1)

    chosen = choose([(own_id, choices("Dune", "s1", 2021, own_id))], {"dune": SOMEBODY})

    assert chosen[own_id] == "dune-2021"


def test_a_row_keeps_the_slug_it_has_whatever_its_title_is_now() -> None:
    own_id = UUID(int=1)

    chosen = choose([(own_id, choices("Dune", "s1", 2021, own_id))], {"arrakis": own_id})

    assert chosen[own_id] == "arrakis"


def test_a_title_without_latin_letters_is_called_by_its_key() -> None:
    assert choices("마녀사냥", "s42", 2016, SOMEBODY)[0] == "title-s42"


TITLED = st.lists(
    st.tuples(
        st.one_of(st.text(), st.sampled_from(["Dune", "dune!", "Dune 2021", "a" * 300])),
        st.text(),
        st.one_of(st.none(), st.integers(1000, 9999)),
    ),
    max_size=12,
)


@given(TITLED, st.dictionaries(st.sampled_from(["dune", "dune-2021", "a" * 200]), st.uuids()))
def test_slugs_are_well_formed_unique_and_the_same_again(
    titles: list[tuple[str, str, int | None]], held: Mapping[str, UUID]
) -> None:
    wanted = []
    for number, (title, key, year) in enumerate(titles):
        own_id = uuid5(SOMEBODY, str(number))
        wanted.append((own_id, choices(title, key, year, own_id)))

    chosen = choose(wanted, held)

    ours = [chosen[own_id] for own_id, _ in wanted]
    assert all(SLUG.fullmatch(slug) and len(slug) <= MAX_LENGTH for slug in ours)
    assert len({*ours, *held}) == len(ours) + len(held)
    assert choose(wanted, held) == chosen
    # An import that ended half-way and one that runs again see their own rows in the table.
    for done in range(len(wanted) + 1):
        written = {chosen[own_id]: own_id for own_id, _ in wanted[:done]}
        assert choose(wanted, {**held, **written}) == chosen


@given(st.text(), st.integers(1, 999), st.integers(1, 99))
def test_an_ending_is_never_cut_off(title: str, season: int, episode: int) -> None:
    slug = extended(slugify(title) or "title", f"s{season}e{episode}")

    assert SLUG.fullmatch(slug)
    assert len(slug) <= MAX_LENGTH
    assert slug.endswith(f"-s{season}e{episode}")


def test_a_film_is_a_series_with_one_episode_of_no_season() -> None:
    (film,) = read(FILM).titles

    assert (film.title, film.synopsis, film.seasons) == ("Low Tide", "Wet.", ())
    (episode,) = film.episodes
    assert (episode.season_id, episode.duration_seconds) == (None, 5400)
    assert episode.published_at == datetime(2021, 9, 25, tzinfo=UTC)


def test_a_show_has_eight_episodes_in_each_season() -> None:
    (show,) = read(SHOW).titles

    assert [season.number for season in show.seasons] == [1, 2]
    assert [episode.slug_ending for episode in show.episodes] == [
        f"s{season}e{number}" for season in (1, 2) for number in range(1, 9)
    ]
    assert {episode.season_id for episode in show.episodes} == {s.id for s in show.seasons}
    assert show.release_date == date(2019, 1, 1)


def test_the_first_genre_is_the_category_and_all_are_tags() -> None:
    (show,) = read(SHOW).titles

    assert show.category is not None
    assert (show.category.slug, show.category.name) == ("crime", "Crime")
    assert show.tags == ("Crime", "Dramas")


def test_without_a_date_it_was_published_on_new_years_day() -> None:
    (show,) = read(SHOW).titles

    assert show.episodes[0].published_at == datetime(2019, 1, 1, tzinfo=UTC)


def test_ids_come_from_the_key_alone() -> None:
    (first,) = read(FILM).titles
    (again,) = read("", FILM.replace("Low Tide", "Ebb").replace("90 min", "91 min")).titles

    assert (first.id, first.episodes[0].id) == (again.id, again.episodes[0].id)
    assert first.episodes[0].asset_id == again.episodes[0].asset_id


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (FILM.replace("25-Sep-21", "31-Feb-21"), "date_added '31-Feb-21' is not like 25-Sep-21"),
        (FILM.replace("25-Sep-21", "soon"), "date_added 'soon' is not like 25-Sep-21"),
        (FILM.replace("Low Tide", "  "), "title is missing"),
        (FILM.replace("f1", ""), "show_id is missing"),
        (FILM.replace("90 min", ""), "duration '' is not like '90 min'"),
        (FILM.replace("90 min", "2 Seasons"), "duration '2 Seasons' is not like '90 min'"),
        (SHOW.replace("2 Seasons", "0 Seasons"), "duration '0 Seasons' is not like '2 Seasons'"),
        (FILM.replace("2020", "MMXX"), "release_year 'MMXX' is not like 2021"),
        (FILM.replace("Movie", "Opera"), "type 'Opera' is neither Movie nor TV Show"),
        (FILM.replace("Low Tide", "Low\0Tide"), "a NUL character, which PostgreSQL cannot store"),
        (FILM + ",more", "13 fields instead of 12"),
        ("f1,Movie", "2 fields instead of 12"),
        (FILM.replace("Low Tide", '"Low" Tide'), "not CSV: ',' expected after '\"'"),
        (FILM.replace("Low Tide", '"Low Tide'), "not CSV: unexpected end of data"),
    ],
)
def test_a_broken_line_is_named_and_the_rest_goes_on(line: str, reason: str) -> None:
    result = read(FILM.replace("f1", "f0"), "", line, FILM.replace("f1", "f2"))

    assert [skipped.reason for skipped in result.skipped] == [reason]
    assert [skipped.line for skipped in result.skipped] == [4]
    assert [title.line for title in result.titles] == [2, 5]


def test_a_key_that_was_there_before_is_refused() -> None:
    assert read(FILM, SHOW, FILM).skipped == (Skipped(4, "show_id f1 is already that of line 2"),)


def test_a_broken_line_does_not_take_the_key_of_a_good_one() -> None:
    result = read(FILM.replace("25-Sep-21", "soon"), FILM)

    assert [title.line for title in result.titles] == [3]


def test_line_numbers_count_the_line_ends_inside_of_quotes() -> None:
    result = read(FILM.replace("Wet.", '"Wet.\nVery wet."'), FILM)

    assert result.titles[0].synopsis == "Wet.\nVery wet."
    assert result.skipped == (Skipped(4, "show_id f1 is already that of line 2"),)


def test_byte_order_mark_crlf_and_the_long_form_of_dates_are_fine() -> None:
    lines = [HEADER, FILM.replace("25-Sep-21", '" August 4, 2017"'), SHOW, ""]

    result = read_title_list("\r\n".join(lines).encode("utf-8-sig"))

    assert result.skipped == ()
    assert [title.title for title in result.titles] == ["Low Tide", "High & Dry"]
    assert result.titles[0].episodes[0].published_at == datetime(2017, 8, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "It is empty."),
        (b"\n\n", "It is empty."),
        (f"{HEADER}\n{FILM}".encode("utf-16"), "Byte 1 is not UTF-8."),
        (f"{HEADER}\n{FILM}".encode().replace(b"Low", b"L\xf6w"), "is not UTF-8."),
        (b"show_id,title\n1,Dune\n", "It has no column type, director,"),
        (b"\x7fELF\x00\x01", "It has no column show_id,"),
        (b'"show_id\n', "Its first line is not CSV"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_what_was_expected(
    content: bytes, reason: str
) -> None:
    with pytest.raises(FileRefused) as refused:
        read_title_list(content)

    assert reason in str(refused.value)
    assert HEADER in str(refused.value)


@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        ({}, "DATABASE_URL"),
        ({"DATABASE_URL": ""}, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://", "CDN_BASE_URL": "http://cdn"}, "CDN_BASE_URL"),
    ],
)
def test_a_setting_is_refused_by_its_name(environment: Mapping[str, str], variable: str) -> None:
    with pytest.raises(SettingRefused, match=variable):
        read_settings(environment)


def test_a_slash_after_the_cdn_does_no_harm() -> None:
    settings = read_settings({"DATABASE_URL": "postgresql://", "CDN_BASE_URL": "https://cdn.test/"})

    assert settings == Settings("postgresql://", "https://cdn.test")


def test_the_sample_shows_every_kind_of_thing() -> None:
    episodes = [episode for title in TITLES for episode in title.episodes]

    assert len({title.category for title in TITLES}) == 4
    assert [title.title for title in TITLES if title.status == "DRAFT"] == ["Kepler's Orchard"]
    assert any(episode.season_id is None for episode in episodes)
    assert any(None not in episode.available for episode in episodes)
    assert all(episode.captions for episode in episodes)
