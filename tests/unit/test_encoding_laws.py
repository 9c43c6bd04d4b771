"""Whatever is in the rows: bodies joined are a chunk, and the same one for both runtimes."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st

from content_proto import content_pb2 as wire
from content_proto.content import v1
from snapshot_server.feed.catalog import Asset, Category, Episode, Season, Series, Variant
from snapshot_server.feed.encoding import encoded_episode, encoded_series, series_message

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

_T = TypeVar("_T")

# PostgreSQL's text holds any character but NUL, and its integers have a sign.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200)
COUNT = st.integers(0, 2**31 - 1)
POSITIVE = st.integers(1, 2**31 - 1)
MOMENT = st.datetimes(timezones=st.just(UTC))


def maybe(some: SearchStrategy[_T]) -> SearchStrategy[_T | None]:
    return st.none() | some


TAGS = st.lists(maybe(TEXT), max_size=4)
CAPTIONS = st.sampled_from(
    [
        "{}",
        '{"en": "https://cdn/en.vtt"}',
        '{"": {"label": "?"}, "de": {"label": "Deutsch", "url": "https://cdn/de.vtt"}, "zh": null}',
    ]
)
CATEGORIES = st.builds(Category, st.uuids(), TEXT, TEXT, maybe(MOMENT))
SERIES = st.builds(
    Series, st.uuids(), TEXT, TEXT, maybe(TEXT), maybe(TEXT), maybe(TEXT), TAGS, maybe(st.dates())
)
SEASONS = st.builds(Season, st.uuids(), st.uuids(), POSITIVE, maybe(TEXT), maybe(MOMENT))
EPISODES = st.builds(
    Episode,
    *(st.uuids(), TEXT, st.uuids(), maybe(st.uuids()), TEXT, maybe(TEXT), maybe(COUNT)),
    *(maybe(MOMENT), maybe(MOMENT), maybe(MOMENT), maybe(TEXT), maybe(TEXT), CAPTIONS, TAGS),
)
ASSETS = st.builds(Asset, st.uuids(), TEXT, maybe(TEXT), maybe(TEXT), maybe(MOMENT))
RATES = st.decimals("0.001", "999.999", places=3)
VARIANTS = st.builds(Variant, TEXT, POSITIVE, POSITIVE, POSITIVE, TEXT, maybe(RATES))
LADDERS = st.lists(VARIANTS, max_size=3, unique_by=lambda variant: variant.label)
VERSIONS = st.integers(0, 2**63 - 1)


@st.composite
def series_bodies(draw: st.DrawFn) -> bytes:
    return encoded_series(draw(SERIES), draw(maybe(CATEGORIES)), version=draw(VERSIONS))


@st.composite
def episode_bodies(draw: st.DrawFn) -> bytes:
    episode, season, asset = draw(EPISODES), draw(maybe(SEASONS)), draw(maybe(ASSETS))
    if season and draw(st.booleans()):
        season = season._replace(series_id=episode.series_id)
    series = series_message(draw(SERIES), draw(maybe(CATEGORIES)))
    variants = draw(LADDERS)
    return encoded_episode(episode, series, season, asset, variants, version=draw(VERSIONS))


BODIES = st.lists(series_bodies() | episode_bodies(), max_size=4)


@settings(deadline=None)
@given(BODIES)
def test_bodies_joined_are_the_chunk_that_protobuf_would_make(bodies: list[bytes]) -> None:
    joined = b"".join(bodies)
    chunk = wire.CatalogSnapshotChunk.FromString(joined)
    assert len(chunk.items) == len(bodies)
    assert chunk.SerializeToString() == joined


@settings(deadline=None)
@given(BODIES)
def test_betterproto2_reads_and_writes_the_same(bodies: list[bytes]) -> None:
    joined = b"".join(bodies)
    chunk = v1.CatalogSnapshotChunk.parse(joined)
    assert bytes(chunk) == joined
    assert chunk.to_dict() == MessageToDict(wire.CatalogSnapshotChunk.FromString(joined))


@settings(deadline=None)
@given(EPISODES, ASSETS, LADDERS)
def test_the_order_in_which_variants_are_read_does_not_matter(
    episode: Episode, asset: Asset, variants: list[Variant]
) -> None:
    series = wire.Series()
    made = [
        encoded_episode(episode, series, None, asset, read, version=7)
        for read in (variants, variants[::-1])
    ]
    assert made[0] == made[1]
