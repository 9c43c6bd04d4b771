-- What the importer says to the database. Each write takes columns as arrays, so a statement carries as many rows as
-- there are; leaves alone what is there and the same, locking nothing; and returns how many rows it created and changed.
--
-- On a row that is there, only what the source speaks of is set. Its slug, status, visibility, availability, captions,
-- images and deletion belong to the editors.

-- name: series_slugs
SELECT slug, id FROM catalog.series WHERE slug = ANY($1::text[]) OR id = ANY($2::uuid[]);

-- name: episode_slugs
SELECT slug, id FROM catalog.episode WHERE slug = ANY($1::text[]) OR id = ANY($2::uuid[]);

-- name: category_ids
SELECT slug, id FROM catalog.category WHERE slug = ANY($1::text[]);

-- name: write_category
-- The slug is the identity, so that a shelf which an editor has made is used, and is not changed.
WITH written AS (
    INSERT INTO catalog.category (id, slug, name, description, display_order)
    SELECT w.id, w.slug, w.name, w.description, w.display_order
      FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::integer[])
           AS w (id, slug, name, description, display_order)
     WHERE NOT EXISTS (SELECT FROM catalog.category AS c WHERE c.slug = w.slug)
     ORDER BY w.slug
    ON CONFLICT (slug) DO NOTHING
    RETURNING id
)
SELECT count(*) AS created, 0::bigint AS changed FROM written;

-- name: write_series
-- xmax is 0 in a row that this statement has inserted, and set in one that it has updated.
-- Tags travel as one text each: unnest would flatten an array of arrays.
WITH written AS (
    INSERT INTO catalog.series AS s (id, slug, title, synopsis, tags, status, visibility, release_date, category_id,
                                     hero_image_url, banner_image_url)
    SELECT w.id, w.slug, w.title, w.synopsis, string_to_array(w.tags, ','), w.status, 'PUBLIC', w.release_date,
           w.category_id, w.hero_image_url, w.banner_image_url
      FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::catalog.publication_status[],
                  $7::date[], $8::uuid[], $9::text[], $10::text[])
           WITH ORDINALITY AS w (id, slug, title, synopsis, tags, status, release_date, category_id,
                                 hero_image_url, banner_image_url, place)
     WHERE NOT EXISTS (
           SELECT FROM catalog.series AS s
            WHERE s.id = w.id
              AND (s.title, s.synopsis, s.tags, s.release_date, s.category_id)
                  IS NOT DISTINCT FROM
                  (w.title, w.synopsis, string_to_array(w.tags, ','), w.release_date, w.category_id))
     ORDER BY w.place
    ON CONFLICT (id) DO UPDATE
       SET (title, synopsis, tags, release_date, category_id, updated_at)
         = (EXCLUDED.title, EXCLUDED.synopsis, EXCLUDED.tags, EXCLUDED.release_date, EXCLUDED.category_id, now())
    RETURNING s.xmax = 0 AS created
)
SELECT count(*) FILTER (WHERE created) AS created, count(*) FILTER (WHERE NOT created) AS changed FROM written;

-- name: write_season
WITH written AS (
    INSERT INTO catalog.season AS s (id, series_id, sequence_number, title, status, release_date)
    SELECT w.id, w.series_id, w.sequence_number, w.title, w.status, w.release_date
      FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::catalog.publication_status[], $6::date[])
           WITH ORDINALITY AS w (id, series_id, sequence_number, title, status, release_date, place)
     WHERE NOT EXISTS (
           SELECT FROM catalog.season AS s
            WHERE s.id = w.id
              AND (s.series_id, s.sequence_number, s.title, s.release_date)
                  IS NOT DISTINCT FROM (w.series_id, w.sequence_number, w.title, w.release_date))
     ORDER BY w.place
    ON CONFLICT (id) DO UPDATE
       SET (series_id, sequence_number, title, release_date, updated_at)
         = (EXCLUDED.series_id, EXCLUDED.sequence_number, EXCLUDED.title, EXCLUDED.release_date, now())
    RETURNING s.xmax = 0 AS created
)
SELECT count(*) FILTER (WHERE created) AS created, count(*) FILTER (WHERE NOT created) AS changed FROM written;

-- name: write_episode
WITH written AS (
    INSERT INTO catalog.episode AS e (id, slug, series_id, season_id, title, synopsis, duration_seconds, status,
                                      visibility, published_at, availability_start, availability_end, captions, tags,
                                      default_thumbnail_url)
    SELECT w.id, w.slug, w.series_id, w.season_id, w.title, w.synopsis, w.duration_seconds, w.status,
           'PUBLIC', w.published_at, w.availability_start, w.availability_end, w.captions,
           string_to_array(w.tags, ','), w.default_thumbnail_url
      FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::integer[],
                  $8::catalog.publication_status[], $9::timestamptz[], $10::timestamptz[], $11::timestamptz[],
                  $12::jsonb[], $13::text[], $14::text[])
           WITH ORDINALITY AS w (id, slug, series_id, season_id, title, synopsis, duration_seconds, status,
                                 published_at, availability_start, availability_end, captions, tags,
                                 default_thumbnail_url, place)
     WHERE NOT EXISTS (
           SELECT FROM catalog.episode AS e
            WHERE e.id = w.id
              AND (e.series_id, e.season_id, e.title, e.synopsis, e.duration_seconds, e.published_at, e.tags)
                  IS NOT DISTINCT FROM
                  (w.series_id, w.season_id, w.title, w.synopsis, w.duration_seconds, w.published_at,
                   string_to_array(w.tags, ',')))
     ORDER BY w.place
    ON CONFLICT (id) DO UPDATE
       SET (series_id, season_id, title, synopsis, duration_seconds, published_at, tags, updated_at)
         = (EXCLUDED.series_id, EXCLUDED.season_id, EXCLUDED.title, EXCLUDED.synopsis, EXCLUDED.duration_seconds,
            EXCLUDED.published_at, EXCLUDED.tags, now())
    RETURNING e.xmax = 0 AS created
)
SELECT count(*) FILTER (WHERE created) AS created, count(*) FILTER (WHERE NOT created) AS changed FROM written;

-- name: write_media_asset
-- Found by its episode, which has at most one: an asset that somebody else made is used.
WITH written AS (
    INSERT INTO catalog.media_asset AS a (id, episode_id, manifest_url, default_thumbnail_url, streaming_asset_id, status)
    SELECT w.id, w.episode_id, w.manifest_url, w.default_thumbnail_url, w.id::text, 'READY'
      FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[])
           WITH ORDINALITY AS w (id, episode_id, manifest_url, default_thumbnail_url, place)
     WHERE NOT EXISTS (
           SELECT FROM catalog.media_asset AS a
            WHERE a.episode_id = w.episode_id AND (a.id <> w.id OR a.manifest_url = w.manifest_url))
     ORDER BY w.place
    ON CONFLICT (id) DO UPDATE SET (manifest_url, updated_at) = (EXCLUDED.manifest_url, now())
    RETURNING a.xmax = 0 AS created
)
SELECT count(*) FILTER (WHERE created) AS created, count(*) FILTER (WHERE NOT created) AS changed FROM written;

-- name: write_variant
-- Only under assets of ours; the variants of somebody else's asset are theirs.
WITH written AS (
    INSERT INTO catalog.media_asset_variant AS v (id, media_asset_id, label, width, height, bitrate_kbps, codec, frame_rate)
    SELECT w.id, w.media_asset_id, w.label, w.width, w.height, w.bitrate_kbps, w.codec, w.frame_rate
      FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::integer[], $5::integer[], $6::integer[], $7::text[],
                  $8::numeric[])
           WITH ORDINALITY AS w (id, media_asset_id, label, width, height, bitrate_kbps, codec, frame_rate, place)
     WHERE EXISTS (SELECT FROM catalog.media_asset AS a WHERE a.id = w.media_asset_id)
       AND NOT EXISTS (
           SELECT FROM catalog.media_asset_variant AS v
            WHERE v.media_asset_id = w.media_asset_id AND v.label = w.label
              AND (v.width, v.height, v.bitrate_kbps, v.codec, v.frame_rate)
                  IS NOT DISTINCT FROM (w.width, w.height, w.bitrate_kbps, w.codec, w.frame_rate))
     ORDER BY w.place
    ON CONFLICT (media_asset_id, label) DO UPDATE
       SET (width, height, bitrate_kbps, codec, frame_rate)
         = (EXCLUDED.width, EXCLUDED.height, EXCLUDED.bitrate_kbps, EXCLUDED.codec, EXCLUDED.frame_rate)
    RETURNING v.xmax = 0 AS created
)
SELECT count(*) FILTER (WHERE created) AS created, count(*) FILTER (WHERE NOT created) AS changed FROM written;
