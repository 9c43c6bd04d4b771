-- Statements of the snapshot server, in the order in which an event becomes an item and an item is sent.

-- name: feed_state
SELECT epoch, version, purged, series, episodes, digest, encoding FROM feed.state;

-- name: items_known
-- One by one (OFFSET 0), or the planner reads the whole feed to find a few.
SELECT i.*
  FROM unnest($1::smallint[], $2::uuid[]) AS k (kind, id)
 CROSS JOIN LATERAL (SELECT o.kind, o.id, o.version, o.ordinal, o.body IS NOT NULL AS is_live
                       FROM feed.item AS o WHERE o.kind = k.kind AND o.id = k.id OFFSET 0) AS i;

-- name: item_bodies
SELECT i.*
  FROM unnest($1::smallint[], $2::uuid[]) AS k (kind, id)
 CROSS JOIN LATERAL (SELECT o.kind, o.id, o.body FROM feed.item AS o WHERE o.kind = k.kind AND o.id = k.id OFFSET 0) AS i;

-- name: items_live_after
SELECT kind, id, version, ordinal
  FROM feed.item
 WHERE (kind, id) > ($1, $2) AND body IS NOT NULL
 ORDER BY kind, id
 LIMIT $3;

-- name: clear_feed
DELETE FROM feed.item;

-- name: write_items
INSERT INTO feed.item (kind, id, version, ordinal, body, encoding)
SELECT kind, id, version, ordinal, body, $6
  FROM unnest($1::smallint[], $2::uuid[], $3::bigint[], $4::integer[], $5::bytea[]) AS w (kind, id, version, ordinal, body)
    ON CONFLICT (kind, id) DO UPDATE
   SET version = excluded.version, ordinal = excluded.ordinal, body = excluded.body, encoding = excluded.encoding;

-- name: write_feed_state
INSERT INTO feed.state (epoch, version, purged, series, episodes, digest, encoding)
VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (single) DO UPDATE
   SET epoch = excluded.epoch, version = excluded.version, purged = excluded.purged, series = excluded.series,
       episodes = excluded.episodes, digest = excluded.digest, encoding = excluded.encoding, moved_at = clock_timestamp();

-- name: move_projector
SELECT outbox.move_checkpoint($1, $2, $3, $4, $5, 0, 0);

-- name: make_touched
-- Of a session, and emptied by each transaction: a large fan-out needs no memory of ours, and a small one no new table.
CREATE TEMPORARY TABLE IF NOT EXISTS touched (
    kind smallint NOT NULL, id uuid NOT NULL, version bigint NOT NULL, was_shown boolean NOT NULL, PRIMARY KEY (kind, id)
) ON COMMIT DELETE ROWS;

-- name: touch
-- The numbers are those of Scope in affected.py. An item that several events touch stands at the last of them.
INSERT INTO pg_temp.touched AS o (kind, id, version, was_shown)
  WITH touch AS MATERIALIZED (
       SELECT scope, id, version, was_shown
         FROM unnest($1::smallint[], $2::uuid[], $3::bigint[], $4::boolean[]) AS t (scope, id, version, was_shown)
  )
SELECT kind, id, max(version), bool_or(was_shown)
  FROM (
       SELECT scope AS kind, id, version, was_shown FROM touch WHERE scope IN (1, 2)
        UNION ALL
       SELECT 2, e.id, t.version, t.was_shown FROM touch AS t JOIN catalog.episode AS e ON e.series_id = t.id WHERE t.scope = 1
        UNION ALL
       SELECT 2, e.id, t.version, t.was_shown FROM touch AS t JOIN catalog.episode AS e ON e.season_id = t.id WHERE t.scope = 3
        UNION ALL
       SELECT 1, s.id, t.version, t.was_shown FROM touch AS t JOIN catalog.series AS s ON s.category_id = t.id WHERE t.scope = 4
        UNION ALL
       SELECT 2, e.id, t.version, t.was_shown
         FROM touch AS t JOIN catalog.series AS s ON s.category_id = t.id JOIN catalog.episode AS e ON e.series_id = s.id
        WHERE t.scope = 4
       ) AS item (kind, id, version, was_shown)
 GROUP BY kind, id
    ON CONFLICT (kind, id) DO UPDATE
   SET version = greatest(o.version, excluded.version), was_shown = o.was_shown OR excluded.was_shown;

-- name: index_touched
CREATE INDEX IF NOT EXISTS touched_in_order ON pg_temp.touched (version, kind, id);

-- name: touched_after
SELECT kind, id, version, was_shown
  FROM pg_temp.touched
 WHERE (version, kind, id) > ($1, $2, $3)
 ORDER BY version, kind, id
 LIMIT $4;

-- name: series_after
SELECT NULL::uuid AS series_id, id FROM catalog.series WHERE id > $2 AND $1::uuid IS NOT NULL ORDER BY id LIMIT $3;

-- name: episodes_after
-- Those of a series together, so that it is read and encoded once for many of them.
SELECT series_id, id FROM catalog.episode WHERE (series_id, id) > ($1, $2) ORDER BY series_id, id LIMIT $3;

-- name: outdated_after
-- Items that an earlier version of the encoder made.
SELECT kind, id, version, ordinal
  FROM feed.item
 WHERE (kind, id) > ($1, $2) AND body IS NOT NULL AND encoding <> $3
 ORDER BY kind, id
 LIMIT $4;

-- name: purge
-- The newest removals stay: only those older than so many seconds go, the oldest first, some at a time.
WITH gone AS (
     DELETE FROM feed.item
      WHERE (kind, id) IN (SELECT kind, id FROM feed.item
                            WHERE body IS NULL AND version < (extract(epoch FROM clock_timestamp() - $1::interval) * 1000)::bigint << 20
                            ORDER BY version LIMIT $2)
  RETURNING version
)
UPDATE feed.state SET purged = greatest(purged, (SELECT max(version) FROM gone))
 WHERE EXISTS (SELECT FROM gone)
RETURNING (SELECT count(*) FROM gone);

-- name: holds_lease
SELECT true FROM outbox.lease WHERE name = $1 AND holder = $2 AND epoch = $3 FOR UPDATE;

-- name: feed_place
-- How far the feed is behind the newest tick; one row, whatever there is.
WITH state AS MATERIALIZED (
     SELECT version, version >> 20 AS ms, series, episodes FROM feed.state
)
SELECT s.version, coalesce(s.series, 0) AS series, coalesce(s.episodes, 0) AS episodes,
       (n.ms + ((n.events - 1) >> 20)) << 20 | ((n.events - 1) & 1048575) AS newest,
       coalesce(n.total_before + n.events - coalesce(r.total, first.total_before), 0) AS lag_events,
       greatest(extract(epoch FROM clock_timestamp())::float8 - next.ms / 1000.0::float8, 0) AS lag_s
  FROM (SELECT) AS one
  LEFT JOIN state AS s ON true
  LEFT JOIN LATERAL (SELECT ms, events, total_before FROM outbox.tick ORDER BY ms DESC LIMIT 1) AS n ON true
  LEFT JOIN LATERAL (SELECT total_before FROM outbox.tick ORDER BY ms LIMIT 1) AS first ON true
  LEFT JOIN LATERAL (SELECT total_before + events AS total FROM outbox.tick WHERE ms <= s.ms ORDER BY ms DESC LIMIT 1) AS r ON true
  LEFT JOIN LATERAL (SELECT ms FROM outbox.tick WHERE ms > coalesce(s.ms, -1) ORDER BY ms LIMIT 1) AS next ON true;

-- name: feed_overview
-- For people: the index of removals is small, and leases are two rows.
SELECT (SELECT count(*) FROM feed.item WHERE body IS NULL) AS removals,
       s.purged, s.encoding, extract(epoch FROM clock_timestamp() - s.moved_at)::float8 AS moved_s
  FROM (SELECT) AS one LEFT JOIN feed.state AS s ON true;

-- name: projector_lease
SELECT l.holder, extract(epoch FROM l.expires_at - clock_timestamp())::float8 AS expires_in_s,
       (SELECT count(*) FROM outbox.member AS m WHERE m.kind = $2 AND m.expires_at > clock_timestamp()) AS members
  FROM outbox.lease AS l
 WHERE l.name = $1;

-- name: series_rows
-- Columns in the order of Series and Category in catalog.py. Whoever may see a series is said here and in episode_rows.
SELECT s.id, s.slug, s.title, s.synopsis, s.hero_image_url, s.banner_image_url, s.tags,
       feed.representable(s.release_date),
       c.id AS category_id, c.slug, c.name, feed.representable(c.deleted_at)
  FROM unnest($1::uuid[]) AS k (id)
  JOIN catalog.series AS s ON s.id = k.id
  LEFT JOIN catalog.category AS c ON c.id = s.category_id
 WHERE s.status = 'PUBLISHED' AND s.visibility = 'PUBLIC' AND s.deleted_at IS NULL;

-- name: episode_rows
-- Columns in the order of Episode, Season and Asset in catalog.py.
SELECT e.id, e.slug, e.series_id, e.season_id, e.title, e.synopsis, e.duration_seconds,
       feed.representable(e.published_at), feed.representable(e.availability_start), feed.representable(e.availability_end),
       e.hero_image_url, e.default_thumbnail_url, e.captions, e.tags,
       n.id AS season_key, n.series_id AS season_series_id, n.sequence_number, n.title, feed.representable(n.deleted_at),
       a.id AS asset_id, a.status, a.manifest_url, a.default_thumbnail_url, feed.representable(a.deleted_at)
  FROM unnest($1::uuid[]) AS k (id)
  JOIN catalog.episode AS e ON e.id = k.id
  JOIN catalog.series AS s ON s.id = e.series_id
  LEFT JOIN catalog.season AS n ON n.id = e.season_id
  LEFT JOIN catalog.media_asset AS a ON a.episode_id = e.id
 WHERE e.status = 'PUBLISHED' AND e.visibility = 'PUBLIC' AND e.deleted_at IS NULL
   AND s.status = 'PUBLISHED' AND s.visibility = 'PUBLIC' AND s.deleted_at IS NULL;

-- name: variant_rows
-- Columns in the order of Variant in catalog.py, as one text for each asset: few ladders of variants serve many assets,
-- and each is read once then.
SELECT k.id, v.ladder
  FROM unnest($1::uuid[]) AS k (id)
 CROSS JOIN LATERAL (SELECT json_agg(json_build_array(label, width, height, bitrate_kbps, codec, frame_rate))::text AS ladder
                       FROM catalog.media_asset_variant WHERE media_asset_id = k.id) AS v
 WHERE v.ladder IS NOT NULL;

-- name: feed_page
-- State and page in one statement, so that they are of one position. $1: what the cursor has seen; $2, $3: where it is;
-- $4: its start. What does not fit into $6 bytes is left for the next page; a larger item travels alone, unless it has more
-- than $7. Bodies are put together here, because a row for each costs its reader more; and in parts of about 48 KiB,
-- because for larger values both sides ask the kernel for memory each time, which costs as much as all the rest.
SELECT s.version, s.purged, s.series, s.episodes, s.digest,
       EXISTS (SELECT FROM outbox.epoch AS e
                WHERE e.number > s.epoch AND (s.version >> 20, s.version & 1048575) > (e.after_ms, e.after_seq)
                  AND (s.version >> 20, s.version & 1048575) <= (e.until_ms, e.until_seq)) AS is_stale,
       EXISTS (SELECT FROM outbox.epoch AS e
                WHERE ($1::bigint >> 20, $1 & 1048575) > (e.after_ms, e.after_seq)
                  AND ($1 >> 20, $1 & 1048575) <= (e.until_ms, e.until_seq)) AS is_abandoned,
       p.*
  FROM feed.state AS s
  LEFT JOIN LATERAL (
       SELECT (running - size) / 49152 AS part,
              count(*) AS found,
              count(*) FILTER (WHERE fits) AS taken,
              count(body) FILTER (WHERE fits) AS items,
              max(n.version) FILTER (WHERE fits) AS last_version,
              (array_agg(n.ordinal) FILTER (WHERE fits))[count(*) FILTER (WHERE fits)] AS last_ordinal,
              string_agg(body, '') FILTER (WHERE fits AND size <= $7::bigint) AS bodies,
              max(CASE WHEN fits AND size > $7 THEN format('%s %s', kind, id) END) AS too_large,
              array_agg(kind) FILTER (WHERE fits AND body IS NULL) AS removed_kinds,
              array_agg(id) FILTER (WHERE fits AND body IS NULL) AS removed_ids,
              array_agg(n.version) FILTER (WHERE fits AND body IS NULL) AS removed_versions
         FROM (SELECT m.*, running <= $6::bigint OR running = size AS fits
                 FROM (SELECT i.*, sum(size) OVER (ORDER BY i.version, i.ordinal ROWS UNBOUNDED PRECEDING) AS running
                         FROM (SELECT f.kind, f.id, f.version, f.ordinal, f.body,
                                      -- A removal takes about 80 bytes.
                                      CASE WHEN f.body IS NULL THEN 80 ELSE octet_length(f.body) END AS size
                                 FROM feed.item AS f
                                WHERE (f.version, f.ordinal) > ($2::bigint, $3::integer)
                                  AND (f.body IS NOT NULL OR f.version > coalesce($4::bigint, s.version))
                                ORDER BY f.version, f.ordinal
                                LIMIT $5::bigint) AS i) AS m) AS n
        GROUP BY part
       ) AS p ON true
 WHERE s.single;

-- name: feed_version
-- Null where the feed is of a history that was abandoned.
SELECT CASE WHEN NOT EXISTS (
                SELECT FROM outbox.epoch AS e
                 WHERE e.number > s.epoch AND (s.version >> 20, s.version & 1048575) > (e.after_ms, e.after_seq)
                   AND (s.version >> 20, s.version & 1048575) <= (e.until_ms, e.until_seq)) THEN s.version END AS version
  FROM feed.state AS s
 WHERE s.single;

-- name: standing
-- Of a position: whether it was abandoned, and between which others it should lie.
SELECT (SELECT s.purged FROM feed.state AS s WHERE s.single) AS purged,
       greatest((SELECT s.version FROM feed.state AS s WHERE s.single),
                (SELECT (t.ms << 20) + t.events - 1 FROM outbox.tick AS t ORDER BY t.ms DESC LIMIT 1), 0) AS newest,
       EXISTS (SELECT FROM outbox.epoch AS e
                WHERE ($1::bigint >> 20, $1 & 1048575) > (e.after_ms, e.after_seq)
                  AND ($1 >> 20, $1 & 1048575) <= (e.until_ms, e.until_seq)) AS is_abandoned;

-- name: video
SELECT e.id, e.title, e.synopsis, e.duration_seconds, s.owner_id, feed.representable(e.published_at) AS published_at, e.visibility::text, e.tags,
       e.default_thumbnail_url, a.default_thumbnail_url AS asset_thumbnail_url
  FROM catalog.episode AS e
  JOIN catalog.series AS s ON s.id = e.series_id
  LEFT JOIN catalog.media_asset AS a ON a.episode_id = e.id AND a.deleted_at IS NULL
 WHERE e.id = $1 AND e.deleted_at IS NULL;

-- name: compared_after
SELECT kind, id, version, body, encoding
  FROM feed.item
 WHERE kind = $1 AND id > $2
 ORDER BY id
 LIMIT $3;

-- name: compared_items
SELECT i.*
  FROM unnest($1::smallint[], $2::uuid[]) AS k (kind, id)
 CROSS JOIN LATERAL (SELECT o.kind, o.id, o.version, o.body, o.encoding
                       FROM feed.item AS o WHERE o.kind = k.kind AND o.id = k.id OFFSET 0) AS i;

-- name: series_ids_after
SELECT id FROM catalog.series WHERE id > $1 ORDER BY id LIMIT $2;

-- name: episode_ids_after
SELECT id FROM catalog.episode WHERE id > $1 ORDER BY id LIMIT $2;
