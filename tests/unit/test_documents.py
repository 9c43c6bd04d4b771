"""What is on a page, and what it depends on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from viewer.documents import Document, Unplayable, episode_page, manifests_in, series_page
from viewer.manifest import Cdn, Verdict
from viewer.problems import Code, Issue, issue_of, unplayable
from viewer.rows import (
    Asset,
    Category,
    Episode,
    EpisodeRows,
    Playable,
    Season,
    Series,
    SeriesRows,
    Variant,
)

CDN = Cdn.parse("https://cdn.example.com")
URL = 'https://cdn.example.com/é"\\u0041/master.m3u8?a=1&b=2'.replace('"', "%22").replace("\\", "")
CATEGORY = Category("c", "nature", "Nature")
SERIES = Series("s", "frogs", "Frogs", tags=["a", None, ["b"]], category_id="c")
SEASON = Season("n", "s", 1, "One")
EPISODE = Episode("e", "frogs-1", "s", "n", "Rain", captions='{"en": "u", "de": {"label": "D"}}')
ASSET = Asset("READY", URL, "https://cdn.example.com/t.jpg")
VARIANTS = [Variant("720p", 1280, 720, 3000, "h264", 23.976), Variant("x", 1, 1, 1, "y", "NaN")]
PLAYABLE = Playable(EPISODE, ASSET, VARIANTS)
ROWS = EpisodeRows(PLAYABLE, SERIES, CATEGORY, SEASON)
OF_SERIES = SeriesRows(SERIES, CATEGORY, [SEASON], [PLAYABLE])


def made(page: Document | Unplayable) -> tuple[dict[str, Any], frozenset[str]]:
    assert isinstance(page, Document)
    return json.loads(page.body), page.tags


def test_an_episode_is_shown_with_what_is_played_and_where_it_belongs() -> None:
    page, tags = made(episode_page(ROWS, CDN))
    assert page["playback"] == {
        "manifestUrl": URL,
        "defaultThumbnailUrl": "https://cdn.example.com/t.jpg",
        "variants": [
            {"label": "720p", "width": 1280, "height": 720, "bitrateKbps": 3000}
            | {"codec": "h264", "frameRate": 23.976},
            {"label": "x", "width": 1, "height": 1, "bitrateKbps": 1}
            | {"codec": "y", "frameRate": None},
        ],
    }
    assert page["captions"] == [
        {"language": "de", "label": "D", "url": None},
        {"language": "en", "label": None, "url": "u"},
    ]
    assert page["defaultThumbnailUrl"] == "https://cdn.example.com/t.jpg"
    assert page["series"]["category"] == {"id": "c", "slug": "nature", "name": "Nature"}
    assert page["season"] == {"id": "n", "sequenceNumber": 1, "title": "One"}
    assert tags == {"episode:e", "series:s", "season:n", "category:c"}


@pytest.mark.parametrize(
    "rows",
    [
        ROWS._replace(season=SEASON._replace(is_deleted=True)),
        ROWS._replace(season=SEASON._replace(series_id="other")),
    ],
)
def test_a_season_that_is_not_shown_is_depended_on_all_the_same(rows: EpisodeRows) -> None:
    page, tags = made(episode_page(rows, CDN))
    assert page["season"] is None
    assert "season:n" in tags


def test_a_category_that_is_deleted_is_not_shown_and_depended_on_all_the_same() -> None:
    gone = CATEGORY._replace(is_deleted=True)
    for made_page in (
        episode_page(ROWS._replace(category=gone), CDN),
        series_page(OF_SERIES._replace(category=gone), CDN),
    ):
        page, tags = made(made_page)
        assert (page.get("series") or page)["category"] is None
        assert "category:c" in tags


def test_a_series_lists_its_seasons_and_their_episodes() -> None:
    film = Playable(EPISODE._replace(id="f", season_id=None), ASSET, [])
    stray = Playable(EPISODE._replace(id="g", season_id="of another series"), ASSET, [])
    draft = SEASON._replace(id="d", sequence_number=2, status="DRAFT")
    empty = SEASON._replace(id="m", sequence_number=3)
    in_draft = Playable(EPISODE._replace(id="h", season_id="d"), ASSET, [])
    unseen = SEASON._replace(id="u", sequence_number=4, status="DRAFT")
    rows = SeriesRows(
        SERIES, CATEGORY, [SEASON, draft, empty, unseen], [PLAYABLE, film, stray, in_draft]
    )
    page, tags = made(series_page(rows, CDN))
    listed = {season["id"]: [one["id"] for one in season["episodes"]] for season in page["seasons"]}
    assert listed == {"n": ["e"], "d": ["h"], "m": []}
    assert [episode["id"] for episode in page["episodes"]] == ["f", "g"]
    assert page["tags"] == ["a", "b"]
    assert tags == {
        *("series:s", "members:s", "category:c"),
        *("episode:e", "episode:f", "episode:g", "episode:h"),
    }


@pytest.mark.parametrize(
    ("asset", "verdict", "code", "issue"),
    [
        (None, Verdict.MISSING, Code.MANIFEST_MISSING, Issue.MISSING_MANIFEST),
        (
            ASSET._replace(manifest_url=None),
            *(Verdict.MISSING, Code.MANIFEST_MISSING, Issue.MISSING_MANIFEST),
        ),
        (
            ASSET._replace(is_deleted=True),
            *(Verdict.MISSING, Code.MANIFEST_MISSING, Issue.MISSING_MANIFEST),
        ),
        (
            ASSET._replace(status="PROCESSING"),
            *(Verdict.MISSING, Code.MANIFEST_MISSING, Issue.MISSING_MANIFEST),
        ),
        (
            ASSET._replace(manifest_url="http://cdn.example.com/a"),
            *(Verdict.NOT_HTTPS, Code.MANIFEST_INVALID, Issue.INVALID_MANIFEST),
        ),
        (
            ASSET._replace(manifest_url="https://evil.test/a"),
            *(Verdict.OFF_CDN, Code.MANIFEST_INVALID, Issue.INVALID_MANIFEST),
        ),
    ],
)
def test_a_page_with_an_episode_that_cannot_be_played_is_not_made(
    asset: Asset | None, verdict: Verdict, code: Code, issue: Issue
) -> None:
    broken = Playable(EPISODE._replace(id="b"), asset, [])
    for page in (
        episode_page(ROWS._replace(playable=broken), CDN),
        series_page(OF_SERIES._replace(episodes=[PLAYABLE, broken]), CDN),
    ):
        assert isinstance(page, Unplayable)
        assert [(one.episode_id, one.verdict) for one in page.episodes] == [("b", verdict)]
        problem = json.loads(unplayable(page).body)
        assert (problem["status"], problem["code"]) == (500, code)
        assert problem["episodeId"] == "b"
        assert issue_of(page.episodes[0]) is issue


def test_the_manifests_of_a_page_are_found_in_it_and_no_text_is_taken_for_one() -> None:
    title = 'not "manifestUrl":"https://evil.test/" and \\"manifestUrl\\":\\"x\\"'
    hostile = Playable(EPISODE._replace(title=title, id="h"), ASSET, [])
    page = series_page(OF_SERIES._replace(episodes=[PLAYABLE, hostile]), CDN)
    assert isinstance(page, Document)
    assert manifests_in(page.body) == [URL]


def test_captions_that_are_nested_too_deep_are_left_out() -> None:
    deep = '{"en": ' + "[" * 100_000 + "]" * 100_000 + "}"
    playable = PLAYABLE._replace(episode=EPISODE._replace(captions=deep))
    page, _ = made(episode_page(ROWS._replace(playable=playable), CDN))
    assert page["captions"] == []
