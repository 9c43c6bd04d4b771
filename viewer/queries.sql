-- Statements of the viewer. Each reads a page at one moment, as one JSON text: rows of several tables, whose columns are in
-- the order of the classes in rows.py. Tables are read by key; see the plan test.

-- name: episode
-- $1: the identifier as an id, or null; $2: the same as a slug. What has that id comes first, if viewers may see it.
SELECT json_build_array(
         json_build_array(
           e.id, e.slug, e.series_id, e.season_id, e.title, e.synopsis, e.duration_seconds,
           to_char(e.published_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
           to_char(e.availability_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
           to_char(e.availability_end AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
           e.hero_image_url, e.default_thumbnail_url, e.captions::text, e.tags),
         CASE WHEN a.id IS NOT NULL THEN
           json_build_array(a.status, a.manifest_url, a.default_thumbnail_url, a.deleted_at IS NOT NULL) END,
         v.variants,
         json_build_array(
           s.id, s.slug, s.title, s.synopsis, s.hero_image_url, s.banner_image_url, s.tags,
           CASE WHEN isfinite(s.release_date) THEN s.release_date::text END, s.category_id),
         CASE WHEN c.id IS NOT NULL THEN json_build_array(c.id, c.slug, c.name, c.deleted_at IS NOT NULL) END,
         CASE WHEN n.id IS NOT NULL THEN
           json_build_array(n.id, n.series_id, n.sequence_number, n.title, n.synopsis,
                            CASE WHEN isfinite(n.release_date) THEN n.release_date::text END,
                            n.status, n.deleted_at IS NOT NULL) END
       )::text AS found
  FROM (SELECT id, 1 AS choice FROM catalog.episode WHERE id = $1
         UNION ALL
        SELECT id, 2 FROM catalog.episode WHERE slug = $2) AS k
  JOIN catalog.episode AS e ON e.id = k.id
  JOIN catalog.series AS s ON s.id = e.series_id
  LEFT JOIN catalog.category AS c ON c.id = s.category_id
  LEFT JOIN catalog.season AS n ON n.id = e.season_id
  LEFT JOIN catalog.media_asset AS a ON a.episode_id = e.id
  LEFT JOIN LATERAL (
       SELECT json_agg(json_build_array(m.label, m.width, m.height, m.bitrate_kbps, m.codec, m.frame_rate)
                       ORDER BY m.height, m.bitrate_kbps, m.label) AS variants
         FROM catalog.media_asset_variant AS m WHERE m.media_asset_id = a.id) AS v ON true
 WHERE e.status = 'PUBLISHED' AND e.visibility = 'PUBLIC' AND e.deleted_at IS NULL
   AND s.status = 'PUBLISHED' AND s.visibility = 'PUBLIC' AND s.deleted_at IS NULL
 ORDER BY k.choice
 LIMIT 1;

-- name: series
-- As above. Of the season only the id matters to an episode here.
SELECT json_build_array(
         json_build_array(
           s.id, s.slug, s.title, s.synopsis, s.hero_image_url, s.banner_image_url, s.tags,
           CASE WHEN isfinite(s.release_date) THEN s.release_date::text END, s.category_id),
         CASE WHEN c.id IS NOT NULL THEN json_build_array(c.id, c.slug, c.name, c.deleted_at IS NOT NULL) END,
         (SELECT json_agg(json_build_array(
                   n.id, n.series_id, n.sequence_number, n.title, n.synopsis,
                   CASE WHEN isfinite(n.release_date) THEN n.release_date::text END,
                   n.status, false) ORDER BY n.sequence_number)
            FROM catalog.season AS n WHERE n.series_id = s.id AND n.deleted_at IS NULL),
         (SELECT json_agg(json_build_array(
                   json_build_array(
                     e.id, e.slug, e.series_id, e.season_id, e.title, e.synopsis, e.duration_seconds,
                     to_char(e.published_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
                     to_char(e.availability_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
                     to_char(e.availability_end AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
                     e.hero_image_url, e.default_thumbnail_url, e.captions::text, e.tags),
                   CASE WHEN a.id IS NOT NULL THEN
                     json_build_array(a.status, a.manifest_url, a.default_thumbnail_url, a.deleted_at IS NOT NULL) END,
                   v.variants) ORDER BY e.published_at, e.slug)
            FROM catalog.episode AS e
            LEFT JOIN catalog.media_asset AS a ON a.episode_id = e.id
            LEFT JOIN LATERAL (
                 SELECT json_agg(json_build_array(m.label, m.width, m.height, m.bitrate_kbps, m.codec, m.frame_rate)
                                 ORDER BY m.height, m.bitrate_kbps, m.label) AS variants
                   FROM catalog.media_asset_variant AS m WHERE m.media_asset_id = a.id) AS v ON true
           WHERE e.series_id = s.id
             AND e.status = 'PUBLISHED' AND e.visibility = 'PUBLIC' AND e.deleted_at IS NULL)
       )::text AS found
  FROM (SELECT id, 1 AS choice FROM catalog.series WHERE id = $1
         UNION ALL
        SELECT id, 2 FROM catalog.series WHERE slug = $2) AS k
  JOIN catalog.series AS s ON s.id = k.id
  LEFT JOIN catalog.category AS c ON c.id = s.category_id
 WHERE s.status = 'PUBLISHED' AND s.visibility = 'PUBLIC' AND s.deleted_at IS NULL
 ORDER BY k.choice
 LIMIT 1;

-- name: answers
-- Of a table that is read: without rights on it nothing can be served either.
SELECT EXISTS (SELECT FROM catalog.series);
