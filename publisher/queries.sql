-- name: take_bell
SELECT pg_try_advisory_lock(hashtextextended('outbox.bell', 0));

-- name: release_bell
SELECT pg_advisory_unlock(hashtextextended('outbox.bell', 0));

-- name: prepared_transactions_allowed
SELECT current_setting('max_prepared_transactions')::int > 0;

-- name: newest_tick
SELECT ms, total_before + events AS total FROM outbox.tick ORDER BY ms DESC LIMIT 1;

-- name: ticks_at
-- For each of the milliseconds $1, the tick whose IDs may include it.
SELECT asked.ms AS asked_ms, t.ms, t.events, t.total_before
  FROM unnest($1::bigint[]) AS asked (ms)
 CROSS JOIN LATERAL (
       SELECT o.ms, o.events, o.total_before FROM outbox.tick AS o WHERE o.ms <= asked.ms ORDER BY o.ms DESC LIMIT 1
       ) AS t;

-- name: checkpoints
SELECT name, ms, seq, end_ms, end_seq FROM outbox.checkpoint WHERE name = ANY ($1::text[]);

-- name: count_dead_letters_between
-- In the stream $1: they have numbers, but were never appended.
SELECT count(*) FROM outbox.dead_letter WHERE stream = $1 AND (ms, seq) > ($2, $3) AND (ms, seq) < ($4, $5);

-- name: not_in_a_tick
-- Committed since the last tick: written after it, or by transactions that were under way then.
WITH last AS (
     SELECT snapshot, next_xid, id_floor FROM outbox.tick ORDER BY ms DESC LIMIT 1
), waiting AS (
     SELECT n.at FROM outbox.event AS n
      WHERE n.id > coalesce((SELECT id_floor FROM last), -1)
        AND NOT pg_visible_in_snapshot(n.xid, coalesce((SELECT snapshot FROM last), '1:1:'))
      UNION ALL
     SELECT o.at FROM last CROSS JOIN pg_snapshot_xip(last.snapshot) AS x
      CROSS JOIN LATERAL (SELECT e.at FROM outbox.event AS e WHERE e.xid = x AND e.id <= last.id_floor OFFSET 0) AS o
      UNION ALL
     SELECT e.at FROM last JOIN outbox.event AS e
         ON e.xid >= pg_snapshot_xmax(last.snapshot) AND e.xid < last.next_xid AND e.id <= last.id_floor
)
SELECT count(*) AS events, extract(epoch FROM clock_timestamp() - min(at))::float8 AS oldest_age_s FROM waiting;

-- name: xmin_holders
-- What keeps old row versions, in the catalog's tables, from being cleaned away. It does not slow the publisher.
SELECT 'session' AS kind, pid::text AS name, coalesce(application_name, '') AS detail,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS age_s
  FROM pg_stat_activity
 WHERE (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND pid <> pg_backend_pid()
   AND xact_start < clock_timestamp() - interval '10 seconds'
 UNION ALL
SELECT 'prepared transaction', gid, owner::text, extract(epoch FROM clock_timestamp() - prepared)::float8
  FROM pg_prepared_xacts WHERE database = current_database()
 UNION ALL
SELECT 'replication slot', slot_name::text, coalesce(plugin::text, slot_type), NULL
  FROM pg_replication_slots WHERE xmin IS NOT NULL OR catalog_xmin IS NOT NULL
 ORDER BY age_s DESC NULLS LAST
 LIMIT 5;

-- name: abandoned_stretches
SELECT after_ms, after_seq, until_ms, until_seq FROM outbox.epoch WHERE (until_ms, until_seq) > (after_ms, after_seq);

-- name: partitions_of
SELECT outbox.partition_of(e.id, $2) FROM unnest($1::text[]) WITH ORDINALITY AS e (id, number) ORDER BY e.number;

-- name: dead_letters_between
-- Whatever became of them: their numbers stay unused.
SELECT ms, seq FROM outbox.dead_letter WHERE (ms, seq) > ($1, $2) AND (ms, seq) <= ($3, $4) ORDER BY ms, seq;

-- name: rows_between_snapshots
-- All rows that the ticks after one snapshot, up to another, must account for, found without the ticks: $1, $2 what is
-- before them and the highest id that was drawn then, $3 what they end with.
SELECT count(*)
  FROM (SELECT n.xid FROM outbox.event AS n WHERE n.id > $2
         UNION ALL
        SELECT o.xid FROM outbox.event AS o WHERE $2 > 0 AND o.id <= $2 AND o.xid >= pg_snapshot_xmin($1)) AS e
 WHERE pg_visible_in_snapshot(e.xid, $3) AND NOT pg_visible_in_snapshot(e.xid, $1);

-- name: disorder_in_ticks
-- Changes (ms, id) in the ticks from $1 to $2 that stand after a later one of the same entity (later_id). Within a tick the order is that of id, so it is enough that no higher id of the entity is in an earlier tick. A
-- tick that was renumbered in its middle is several rows with one next_xid.
WITH these AS MATERIALIZED (
     SELECT DISTINCT ON (t.next_xid) t.ms, t.since, t.since_floor, t.late, t.snapshot, t.id_top, t.id_floor
       FROM outbox.tick AS t WHERE t.ms >= $1 AND t.ms <= $2 ORDER BY t.next_xid, t.ms
), start AS MATERIALIZED (
     SELECT since, id_floor FROM these ORDER BY ms LIMIT 1
), mine AS MATERIALIZED (
     SELECT t.ms, e.id, e.entity, e.entity_id
       FROM these AS t
      CROSS JOIN LATERAL (
            SELECT n.id, n.entity, n.entity_id
              FROM outbox.event AS n
             WHERE n.id > t.since_floor AND n.id <= t.id_top
               AND pg_visible_in_snapshot(n.xid, t.snapshot) AND NOT pg_visible_in_snapshot(n.xid, t.since)
            UNION ALL
            SELECT o.id, o.entity, o.entity_id
              FROM unnest(t.late) AS x
             CROSS JOIN LATERAL (SELECT * FROM outbox.event AS w WHERE w.xid = x AND w.id <= t.since_floor OFFSET 0) AS o
            ) AS e
), earlier AS (
     SELECT 0::bigint, b.id, b.entity, b.entity_id
       FROM outbox.event AS b
      WHERE b.id > (SELECT min(id) FROM mine) AND b.id <= (SELECT id_floor FROM start)
        AND pg_visible_in_snapshot(b.xid, (SELECT since FROM start))
)
SELECT ms_before AS ms, id_before AS id, id AS later_id, entity, entity_id
  FROM (SELECT ms, id, entity, entity_id, lag(ms) OVER same AS ms_before, lag(id) OVER same AS id_before
          FROM (SELECT * FROM mine UNION ALL SELECT * FROM earlier) AS e (ms, id, entity, entity_id)
        WINDOW same AS (PARTITION BY entity COLLATE "C", entity_id COLLATE "C" ORDER BY id)) AS e
 WHERE ms < ms_before
 ORDER BY 1, 2;

-- name: count_dead_letters
SELECT count(*) FROM outbox.dead_letter WHERE settled_at IS NULL;
