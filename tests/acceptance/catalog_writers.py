"""Admin tools that do to every table of the catalog whatever can be done to it.

The statements are for `chaos_writers.Writer`. Each placeholder is a random number: $1 picks a row,
the others are what is written.
"""

# ruff: noqa: S608 - statements are put together out of constants

CATEGORIES, SERIES, SEASONS, EPISODES = 6, 20, 3, 200


def _id(letter: str, number: str) -> str:
    """Always the same row, also when it is created again."""
    return f"md5('{letter}' || {number})::uuid"


def _one(letter: str, count: int, by: int = 1) -> str:
    return _id(letter, f"${by}::int % {count}")


def _any(table: str, by: int = 1) -> str:
    return f"(SELECT id FROM catalog.{table} ORDER BY md5(id::text || ${by}::int) LIMIT 1)"


_CATEGORY, _OTHER_CATEGORY = _one("c", CATEGORIES), _one("c", CATEGORIES, 2)
_ONE_SERIES, _OTHER_SERIES = _one("s", SERIES), _one("s", SERIES, 2)
_EPISODE, _OTHER_EPISODE = _one("e", EPISODES), _one("e", EPISODES, 2)
_SOME_EPISODES = "hashtext(slug) % 23 = $1::int % 23"
_SEASON, _ASSET, _VARIANT = (
    _any(table) for table in ("season", "media_asset", "media_asset_variant")
)
_OTHER_ASSET = _any("media_asset", 2)
_BARE_EPISODE = (
    "(SELECT id FROM catalog.episode AS e WHERE NOT EXISTS"
    " (SELECT FROM catalog.media_asset AS a WHERE a.episode_id = e.id)"
    " ORDER BY md5(id::text || $2::int) LIMIT 1)"
)
_TOGGLED = "deleted_at = CASE WHEN deleted_at IS NULL THEN now() END"
_MOSTLY_SHOWN = "CASE WHEN $2::int % 3 = 0 THEN 'DRAFT' ELSE 'PUBLISHED' END"
_MOSTLY_PUBLIC = "CASE WHEN $2::int % 3 = 0 THEN 'UNLISTED' ELSE 'PUBLIC' END"
_TIME = "('2026-01-01Z'::timestamptz + $2::int * interval '7 minutes 1.000013 seconds')"
_MANIFEST = "'https://cdn.example.com/' || $2::int || '/m.m3u8'"
_CAPTIONS = (
    "CASE $2::int % 4 WHEN 0 THEN '{}'"
    " WHEN 1 THEN jsonb_build_object('en', 'https://c/' || $2::int)"
    " WHEN 2 THEN jsonb_build_object('pt-BR', jsonb_build_object('label', 'Português ' || $2::int,"
    " 'url', 'https://c/pt'), 'en', 'https://c/en', 'de', jsonb_build_object('label', 'Deutsch'))"
    """ ELSE '{"fr": {}, "it": null, "ja": {"url": 7, "label": "日本語"}}' END"""
)

_CREATED_CATEGORY = (
    "INSERT INTO catalog.category (id, slug, name)"
    f" SELECT {_id('c', 'n')}, 'c-' || n, 'Category ' || n"
    " FROM generate_series({0}, {1}) AS n ON CONFLICT DO NOTHING"
)
_CREATED_SERIES = (
    "INSERT INTO catalog.series (id, slug, title, synopsis, status, visibility, category_id)"
    f" SELECT {_id('s', 'n')}, 's-' || n, 'Series ' || n, 'Of ' || n, 'PUBLISHED', 'PUBLIC', c.id"
    " FROM generate_series({0}, {1}) AS n"
    f" LEFT JOIN catalog.category AS c ON c.id = {_id('c', f'n % {CATEGORIES}')}"
    " ON CONFLICT DO NOTHING"
)
_CREATED_SEASONS = (
    "INSERT INTO catalog.season (id, series_id, sequence_number, title)"
    " SELECT md5(s.id::text || n)::uuid, s.id, n, 'Season ' || n"
    f" FROM catalog.series AS s, generate_series(1, {SEASONS}) AS n"
    " WHERE {0} ON CONFLICT DO NOTHING"
)
_CREATED_EPISODES = (
    "INSERT INTO catalog.episode (id, slug, series_id, season_id, title, status, visibility)"
    f" SELECT {_id('e', 'n')}, 'e-' || n, s.id, t.id, 'Episode ' || n, 'PUBLISHED', 'PUBLIC'"
    " FROM generate_series({0}, {1}) AS n"
    f" JOIN catalog.series AS s ON s.id = {_id('s', f'n % {SERIES}')}"
    f" LEFT JOIN catalog.season AS t ON t.series_id = s.id AND t.sequence_number = 1 + n % 4"
    " ON CONFLICT DO NOTHING"
)
_CREATED_ASSETS = (
    "INSERT INTO catalog.media_asset (episode_id, status, manifest_url, default_thumbnail_url)"
    " SELECT id, 'READY', 'https://cdn.example.com/' || slug || '/m.m3u8', 'https://i/' || slug"
    " FROM catalog.episode WHERE {0} ON CONFLICT DO NOTHING"
)
_CREATED_VARIANTS = (
    "INSERT INTO catalog.media_asset_variant"
    " (media_asset_id, label, width, height, bitrate_kbps, codec, frame_rate)"
    " SELECT a.id, v.label, v.height * 2, v.height, 100 + v.height, 'avc1.640028', 23.976"
    " FROM catalog.media_asset AS a, (VALUES ('480p', 480), ('1080p', 1080)) AS v (label, height)"
    " WHERE {0} ON CONFLICT DO NOTHING"
)

# Deleted and there again in one transaction, with the same id and nothing else.
_REPLACING = """
CREATE SCHEMA writers;
CREATE FUNCTION writers.replace_episode(which uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    was catalog.episode;
BEGIN
    DELETE FROM catalog.episode WHERE id = which RETURNING * INTO was;
    IF FOUND THEN
        INSERT INTO catalog.episode (id, slug, series_id, title, status, visibility)
        VALUES (was.id, was.slug, was.series_id, 'Again', 'PUBLISHED', 'PUBLIC');
    END IF;
END $$
"""

FILLED = [
    _REPLACING,
    _CREATED_CATEGORY.format(0, CATEGORIES - 1),
    _CREATED_SERIES.format(0, SERIES - 1),
    _CREATED_SEASONS.format("true"),
    _CREATED_EPISODES.format(0, EPISODES - 1),
    _CREATED_ASSETS.format("true"),
    _CREATED_VARIANTS.format("true"),
]
"""The catalog that the writers begin with."""

# What undoes what others do comes up more than once, or little would be left to be seen.
_CREATES = [
    _CREATED_CATEGORY.format("$1::int % 6", "$1::int % 6 + 1"),
    _CREATED_SERIES.format(f"$1::int % {SERIES}", f"$1::int % {SERIES} + 3"),
    _CREATED_SEASONS.format(f"s.id = {_ONE_SERIES}"),
    _CREATED_EPISODES.format(f"$1::int % {EPISODES}", f"$1::int % {EPISODES} + 5"),
    _CREATED_EPISODES.format(f"$1::int % {EPISODES}", f"$1::int % {EPISODES} + 40"),
    _CREATED_ASSETS.format(f"id = {_EPISODE}"),
    _CREATED_ASSETS.format("hashtext(slug) % 7 = $1::int % 7"),
    _CREATED_VARIANTS.format(f"a.id = {_ASSET}"),
    _CREATED_VARIANTS.format("hashtext(a.id::text) % 7 = $1::int % 7"),
]
_CATEGORY_CHANGES = [
    f"UPDATE catalog.category SET name = 'Ñ ' || $2::int WHERE id = {_CATEGORY}",
    f"UPDATE catalog.category SET slug = 'c-x-' || $2::int WHERE id = {_CATEGORY}",
    f"UPDATE catalog.category SET description = 'of ' || $2::int WHERE id = {_CATEGORY}",
    f"UPDATE catalog.category SET updated_at = now() WHERE id = {_CATEGORY}",
    f"UPDATE catalog.category SET {_TOGGLED} WHERE id = {_CATEGORY}",
    (
        "WITH loose AS"
        f" (UPDATE catalog.series SET category_id = NULL WHERE category_id = {_CATEGORY})"
        f" DELETE FROM catalog.category WHERE id = {_CATEGORY} AND $2::int % 2 = 0"
    ),
]
_SERIES_CHANGES = [
    f"UPDATE catalog.series SET title = 'Séries 語 ' || $2::int WHERE id = {_ONE_SERIES}",
    (
        "UPDATE catalog.series SET synopsis = nullif('Long ' || $2::int % 3, 'Long 0'),"
        " hero_image_url = nullif('https://h/' || $2::int % 3, 'https://h/1'),"
        " banner_image_url = nullif('https://b/' || $2::int % 3, 'https://b/2'),"
        " release_date = CASE $2::int % 5 WHEN 0 THEN NULL WHEN 1 THEN 'infinity'::date"
        " ELSE '1960-02-29'::date + $2::int % 40000 END,"
        f" tags = ARRAY['a', NULL, 'b\"' || $2::int] WHERE id = {_ONE_SERIES}"
    ),
    f"UPDATE catalog.series SET slug = 's-x-' || $2::int WHERE id = {_ONE_SERIES}",
    (
        f"UPDATE catalog.series SET status = ({_MOSTLY_SHOWN})::catalog.publication_status"
        f" WHERE id = {_ONE_SERIES}"
    ),
    (
        f"UPDATE catalog.series SET visibility = ({_MOSTLY_PUBLIC})::catalog.visibility"
        f" WHERE id = {_ONE_SERIES}"
    ),
    (
        "UPDATE catalog.series SET status = 'PUBLISHED', visibility = 'PUBLIC', deleted_at = NULL"
        " WHERE hashtext(id::text) % 4 = $1::int % 4"
    ),
    f"UPDATE catalog.series SET {_TOGGLED} WHERE id = {_ONE_SERIES}",
    f"UPDATE catalog.series SET {_TOGGLED}, title = 'T ' || $2::int WHERE id = {_ONE_SERIES}",
    f"UPDATE catalog.series SET updated_by_admin_id = {_EPISODE} WHERE id = {_ONE_SERIES}",
    f"UPDATE catalog.series SET category_id = {_OTHER_CATEGORY} WHERE id = {_ONE_SERIES}",
    f"UPDATE catalog.series SET category_id = {_OTHER_CATEGORY} WHERE category_id = {_CATEGORY}",
    f"DELETE FROM catalog.series WHERE id = {_ONE_SERIES} AND $2::int % 3 = 0",
]
_SEASON_CHANGES = [
    f"UPDATE catalog.season SET title = 'Season ' || $2::int WHERE id = {_SEASON}",
    f"UPDATE catalog.season SET title = NULL, synopsis = 'S ' || $2::int WHERE id = {_SEASON}",
    f"UPDATE catalog.season SET sequence_number = 1 + $2::int % 9 WHERE id = {_SEASON}",
    f"UPDATE catalog.season SET {_TOGGLED} WHERE id = {_SEASON}",
    f"UPDATE catalog.season SET {_TOGGLED}, sequence_number = 1 + $2::int % 9 WHERE id = {_SEASON}",
    # Its episodes stay where they are, and are in the season of another series then.
    (
        f"UPDATE catalog.season SET series_id = {_OTHER_SERIES}, sequence_number = $2::int"
        f" WHERE id = {_SEASON}"
    ),
    f"DELETE FROM catalog.season WHERE id = {_SEASON} AND $2::int % 2 = 0",
]
_EPISODE_CHANGES = [
    f"UPDATE catalog.episode SET title = 'Épisode ' || $2::int WHERE id = {_EPISODE}",
    f"UPDATE catalog.episode SET title = 'E ' || $2::int WHERE {_SOME_EPISODES}",
    (
        "UPDATE catalog.episode SET synopsis = nullif('E ' || $2::int % 3, 'E 0'),"
        " duration_seconds = nullif($2::int % 3, 1), tags = ARRAY['t' || $2::int, NULL, 'ü'],"
        " hero_image_url = nullif('https://h/' || $2::int % 3, 'https://h/1'),"
        " default_thumbnail_url = nullif('https://t/' || $2::int % 2, 'https://t/1'),"
        f" published_at = CASE $2::int % 4 WHEN 0 THEN NULL ELSE {_TIME} END"
        f" WHERE id = {_EPISODE}"
    ),
    (
        "UPDATE catalog.episode SET"
        f" availability_start = CASE $2::int % 4 WHEN 0 THEN NULL ELSE {_TIME} END,"
        " availability_end = CASE $2::int % 3 WHEN 0 THEN NULL WHEN 1 THEN 'infinity'"
        f" ELSE {_TIME} + interval '1 day' END WHERE id = {_EPISODE}"
    ),
    f"UPDATE catalog.episode SET captions = ({_CAPTIONS})::jsonb WHERE id = {_EPISODE}",
    f"UPDATE catalog.episode SET slug = 'e-x-' || $2::int WHERE id = {_EPISODE}",
    (
        f"UPDATE catalog.episode SET status = ({_MOSTLY_SHOWN})::catalog.publication_status"
        f" WHERE id = {_EPISODE}"
    ),
    (
        f"UPDATE catalog.episode SET visibility = ({_MOSTLY_PUBLIC})::catalog.visibility"
        f" WHERE {_SOME_EPISODES}"
    ),
    (
        "UPDATE catalog.episode SET status = 'PUBLISHED', visibility = 'PUBLIC', deleted_at = NULL"
        " WHERE hashtext(id::text) % 6 = $1::int % 6"
    ),
    f"UPDATE catalog.episode SET {_TOGGLED} WHERE id = {_EPISODE}",
    f"UPDATE catalog.episode SET {_TOGGLED}, title = 'D ' || $2::int WHERE {_SOME_EPISODES}",
    f"UPDATE catalog.episode SET updated_at = now() WHERE id = {_EPISODE}",
    f"UPDATE catalog.episode SET series_id = {_OTHER_SERIES} WHERE id = {_EPISODE}",
    (
        "UPDATE catalog.episode AS e SET series_id = t.series_id, season_id = t.id"
        f" FROM catalog.season AS t WHERE t.id = {_SEASON} AND e.id = {_OTHER_EPISODE}"
    ),
    f"UPDATE catalog.episode SET season_id = NULL WHERE id = {_EPISODE}",
    f"DELETE FROM catalog.episode WHERE id IN ({_EPISODE}, {_OTHER_EPISODE})",
    f"SELECT writers.replace_episode({_EPISODE})",
]
_ASSET_CHANGES = [
    (
        "UPDATE catalog.media_asset SET status = 'READY', manifest_url = "
        f"{_MANIFEST} WHERE id = {_ASSET}"
    ),
    (
        "UPDATE catalog.media_asset SET status = 'PROCESSING',"
        f" manifest_url = CASE WHEN $2::int % 2 = 0 THEN {_MANIFEST} END WHERE id = {_ASSET}"
    ),
    (
        "UPDATE catalog.media_asset SET default_thumbnail_url ="
        f" nullif('https://i/' || $2::int % 3, 'https://i/0') WHERE id = {_ASSET}"
    ),
    f"UPDATE catalog.media_asset SET {_TOGGLED} WHERE id = {_ASSET}",
    f"UPDATE catalog.media_asset SET {_TOGGLED}, episode_id = {_BARE_EPISODE} WHERE id = {_ASSET}",
    f"UPDATE catalog.media_asset SET episode_id = {_BARE_EPISODE} WHERE id = {_ASSET}",
    f"DELETE FROM catalog.media_asset WHERE id = {_ASSET}",
]
_VARIANT_CHANGES = [
    (
        "UPDATE catalog.media_asset_variant SET bitrate_kbps = 1 + $2::int % 4,"
        " frame_rate = nullif(20 + $2::int % 7, 23) + 0.970"
        f" WHERE media_asset_id = {_ASSET}"
    ),
    f"UPDATE catalog.media_asset_variant SET label = 'v' || $2::int % 9 WHERE id = {_VARIANT}",
    (
        f"UPDATE catalog.media_asset_variant SET media_asset_id = {_OTHER_ASSET},"
        f" label = 'v' || $2::int WHERE id = {_VARIANT}"
    ),
    f"DELETE FROM catalog.media_asset_variant WHERE id = {_VARIANT}",
    f"DELETE FROM catalog.media_asset_variant WHERE media_asset_id = {_ASSET}",
]

STATEMENTS = [
    *_CREATES,
    *_CREATES,
    *_CATEGORY_CHANGES,
    *_SERIES_CHANGES,
    *_SEASON_CHANGES,
    *_EPISODE_CHANGES,
    *_ASSET_CHANGES,
    *_VARIANT_CHANGES,
]
