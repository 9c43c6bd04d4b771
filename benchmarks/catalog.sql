-- A catalog as it would be, for the benches of the snapshot server.

-- name: create_catalog
-- Rows without events: the first build reads the tables. A twentieth of the items are series, the rest episodes of theirs;
-- half of the episodes are in the first category.
CREATE PROCEDURE benchmark.fill_catalog(items bigint) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('session_replication_role', 'replica', true);
    TRUNCATE catalog.category, catalog.series, catalog.season, catalog.episode, catalog.media_asset, catalog.media_asset_variant;
    INSERT INTO catalog.category (slug, name, display_order)
    SELECT 'category-' || n, (ARRAY['Drama', 'Documentary', 'Comedy', 'Crime', 'Nature', 'History'])[1 + n % 6] || ' ' || n, n
      FROM generate_series(1, 12) AS n;
    INSERT INTO catalog.series (slug, title, synopsis, hero_image_url, banner_image_url, tags, status, visibility, release_date,
                                owner_id, category_id)
    SELECT 'the-quiet-ledger-' || n, 'The Quiet Ledger, part ' || n,
           'A village that has paid no tax since 1911 is found by an auditor who would rather not have found it, number ' || n,
           'https://img.example.com/series/' || left(md5(n::text), 12) || '/hero.jpg',
           'https://img.example.com/series/' || left(md5(n::text), 12) || '/banner.jpg',
           ARRAY['slow', 'village', 'tax-' || n % 40], 'PUBLISHED', 'PUBLIC', DATE '2020-01-01' + (n % 2000)::integer,
           gen_random_uuid(), c.id
      FROM generate_series(1, items / 20) AS n
      JOIN catalog.category AS c ON c.display_order = CASE WHEN n * 19 < items / 2 + 19 THEN 1 ELSE 2 + n % 11 END;
    INSERT INTO catalog.season (series_id, sequence_number, title, status)
    SELECT id, n, 'Season ' || n, 'PUBLISHED' FROM catalog.series CROSS JOIN generate_series(1, 2) AS n;
    INSERT INTO catalog.episode (slug, series_id, season_id, title, synopsis, duration_seconds, status, visibility, published_at,
                                 availability_start, availability_end, hero_image_url, captions, tags)
    SELECT s.slug || '-' || n, s.id, o.id, 'Chapter ' || n || ': what the books say',
           'Somebody has kept a second ledger, and in chapter ' || n || ' it is found under the floor of the school.',
           1200 + n * 60, 'PUBLISHED', 'PUBLIC', TIMESTAMPTZ '2024-03-01 18:00+00' + n * INTERVAL '7 days',
           TIMESTAMPTZ '2024-03-01 18:00+00', TIMESTAMPTZ '2034-03-01 18:00+00',
           'https://img.example.com/episodes/' || left(md5(s.slug || n), 12) || '/hero.jpg',
           jsonb_build_object(
               'de', jsonb_build_object('label', 'Deutsch', 'url', 'https://cdn.example.com/subs/' || left(md5(s.slug || n), 12) || '/de.vtt'),
               'en', jsonb_build_object('label', 'English', 'url', 'https://cdn.example.com/subs/' || left(md5(s.slug || n), 12) || '/en.vtt')),
           ARRAY['ledger', 'school', 'chapter-' || n]
      FROM catalog.series AS s
     CROSS JOIN generate_series(1, 19) AS n
      JOIN catalog.season AS o ON o.series_id = s.id AND o.sequence_number = 1 + n / 10;
    INSERT INTO catalog.media_asset (episode_id, source_upload_id, streaming_asset_id, manifest_url, default_thumbnail_url, status)
    SELECT id, gen_random_uuid(), md5(slug), 'https://cdn.example.com/vod/' || id || '/master.m3u8',
           'https://img.example.com/episodes/' || left(md5(slug), 12) || '/small.jpg', 'READY'
      FROM catalog.episode;
    INSERT INTO catalog.media_asset_variant (media_asset_id, label, width, height, bitrate_kbps, codec, frame_rate)
    SELECT a.id, v.*
      FROM catalog.media_asset AS a
     CROSS JOIN (VALUES ('1080p', 1920, 1080, 5200, 'avc1.640028', 25), ('720p', 1280, 720, 2800, 'avc1.64001f', 25),
                        ('480p', 854, 480, 1200, 'avc1.64001e', 25)) AS v;
    COMMIT;
END $$;

-- name: fill_catalog
CALL benchmark.fill_catalog($1);

-- name: settle_catalog
-- What autovacuum would come to do while something is measured.
VACUUM ANALYZE catalog.category, catalog.series, catalog.season, catalog.episode, catalog.media_asset, catalog.media_asset_variant;

-- name: settle_feed
VACUUM ANALYZE feed.item, feed.state, outbox.event;

-- name: forget_feed
TRUNCATE feed.item, feed.state;

-- name: retitle_episodes
-- Some by the order of their ids, which are random: they are from everywhere.
UPDATE catalog.episode SET title = $1 WHERE id IN (SELECT id FROM catalog.episode ORDER BY id LIMIT $2);

-- name: retitle_episode
UPDATE catalog.episode SET title = $2 WHERE id = $1;

-- name: rename_first_category
UPDATE catalog.category SET name = $1 WHERE display_order = 1;

-- name: episode_ids
SELECT id FROM catalog.episode ORDER BY id LIMIT $1;

-- name: feed_position
SELECT version >> 20 || '-' || (version & 1048575) FROM feed.state;

-- name: feed_version
SELECT version FROM feed.state;

-- name: items_after
-- How many were touched after a position.
SELECT count(*) FROM feed.item WHERE version > (SELECT (split_part($1, '-', 1)::bigint << 20) + split_part($1, '-', 2)::bigint);

-- name: versions_of
SELECT id, version FROM feed.item WHERE kind = 2 AND id = ANY($1::uuid[]);

-- name: item_size
SELECT avg(octet_length(body))::float8 FROM feed.item TABLESAMPLE SYSTEM (10) WHERE body IS NOT NULL;

-- name: all_series
SELECT id FROM catalog.series WHERE id > $1 ORDER BY id LIMIT $2;

-- name: all_episodes
SELECT series_id, id FROM catalog.episode WHERE (series_id, id) > ($1, $2) ORDER BY series_id, id LIMIT $3;
