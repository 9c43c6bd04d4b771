-- What viewers may see, as the tables say it: one row for each item. The names of tables are to be found on the search_path,
-- so that it can be asked of the catalog as it is, and of the catalog as it was (past.sql), where each is read only once.
--
-- Written from the contract in proto/content.proto, and not from the encoder. Absent is null and stripped in the end.
WITH category AS MATERIALIZED (TABLE category), series AS MATERIALIZED (TABLE series), season AS MATERIALIZED (TABLE season),
     episode AS MATERIALIZED (TABLE episode), media_asset AS MATERIALIZED (TABLE media_asset),
     media_asset_variant AS MATERIALIZED (TABLE media_asset_variant),
shown_series AS MATERIALIZED (
    SELECT s.id, s.tags,
           jsonb_build_object(
               'id', s.id, 'slug', s.slug, 'title', s.title, 'synopsis', s.synopsis,
               'hero_image_url', s.hero_image_url, 'banner_image_url', s.banner_image_url,
               'category', (SELECT jsonb_build_object('id', c.id, 'slug', c.slug, 'name', c.name)
                              FROM category AS c WHERE c.id = s.category_id AND c.deleted_at IS NULL),
               'release_date', CASE WHEN isfinite(s.release_date) THEN s.release_date::timestamp AT TIME ZONE 'UTC' END
           ) AS body
      FROM series AS s
     WHERE s.status = 'PUBLISHED' AND s.visibility = 'PUBLIC' AND s.deleted_at IS NULL
), shown_asset AS MATERIALIZED (
    SELECT a.episode_id, a.default_thumbnail_url,
           jsonb_build_object(
               'status', a.status, 'manifest_url', a.manifest_url, 'default_thumbnail_url', a.default_thumbnail_url,
               'variants', coalesce((
                   SELECT jsonb_agg(jsonb_build_object('label', v.label, 'width', v.width, 'height', v.height,
                                                       'bitrate_kbps', v.bitrate_kbps, 'codec', v.codec,
                                                       'frame_rate', v.frame_rate::double precision)
                                    ORDER BY v.height, v.bitrate_kbps, v.label COLLATE "C")
                     FROM media_asset_variant AS v WHERE v.media_asset_id = a.id), '[]')
           ) AS body
      FROM media_asset AS a
     WHERE a.deleted_at IS NULL
)
SELECT 1 AS kind, s.id, jsonb_strip_nulls(jsonb_build_object(
           'kind', 'ITEM_KIND_SERIES', 'id', s.id, 'slug', s.body->'slug', 'title', s.body->'title',
           'tags', to_jsonb(array_remove(s.tags, NULL)), 'synopsis', s.body->'synopsis',
           'hero_image_url', s.body->'hero_image_url', 'series', s.body)) AS item
  FROM shown_series AS s
UNION ALL
SELECT 2, e.id, jsonb_strip_nulls(jsonb_build_object(
           'kind', 'ITEM_KIND_EPISODE', 'id', e.id, 'slug', e.slug, 'title', e.title,
           'tags', to_jsonb(array_remove(e.tags, NULL)), 'synopsis', e.synopsis, 'hero_image_url', e.hero_image_url,
           'default_thumbnail_url', coalesce(e.default_thumbnail_url, a.default_thumbnail_url),
           'duration_seconds', e.duration_seconds,
           'published_at', CASE WHEN isfinite(e.published_at) THEN e.published_at END,
           'availability', CASE WHEN isfinite(e.availability_start) OR isfinite(e.availability_end) THEN
               jsonb_build_object('start', CASE WHEN isfinite(e.availability_start) THEN e.availability_start END,
                                  'end', CASE WHEN isfinite(e.availability_end) THEN e.availability_end END) END,
           'season', (SELECT jsonb_build_object('id', n.id, 'sequence_number', n.sequence_number, 'title', n.title)
                        FROM season AS n WHERE n.id = e.season_id AND n.series_id = e.series_id AND n.deleted_at IS NULL),
           'series', s.body,
           'playback', a.body,
           'localization', (
               SELECT jsonb_build_object(
                          'captions', jsonb_agg(jsonb_build_object(
                              'language', c.key,
                              'label', CASE jsonb_typeof(c.value->'label') WHEN 'string' THEN c.value->'label' END,
                              'url', CASE WHEN jsonb_typeof(c.value) = 'string' THEN c.value
                                          WHEN jsonb_typeof(c.value->'url') = 'string' THEN c.value->'url' END)
                              ORDER BY c.key COLLATE "C"),
                          'available_languages', jsonb_agg(c.key ORDER BY c.key COLLATE "C"))
                 FROM jsonb_each(e.captions) AS c
               HAVING count(*) > 0)))
  FROM episode AS e
  JOIN shown_series AS s ON s.id = e.series_id
  LEFT JOIN shown_asset AS a ON a.episode_id = e.id
 WHERE e.status = 'PUBLISHED' AND e.visibility = 'PUBLIC' AND e.deleted_at IS NULL
