-- name: take_bell
SELECT pg_try_advisory_lock(hashtextextended('outbox.bell', 0));

-- name: release_bell
SELECT pg_advisory_unlock(hashtextextended('outbox.bell', 0));

-- name: prepared_transactions_allowed
SELECT current_setting('max_prepared_transactions')::int > 0;

-- name: newest_tick
SELECT ms, total_before + events AS total FROM outbox.tick ORDER BY ms DESC LIMIT 1;

-- name: ticks_at
-- For each of the milliseconds $1, the tick whose IDs may include it; before the oldest tick, no ms and what it counts from.
SELECT asked.ms AS asked_ms, t.ms, t.events,
       coalesce(t.total_before, (SELECT f.total_before FROM outbox.tick AS f ORDER BY f.ms LIMIT 1), 0) AS total_before
  FROM unnest($1::bigint[]) AS asked (ms)
  LEFT JOIN LATERAL (
       SELECT o.ms, o.events, o.total_before FROM outbox.tick AS o WHERE o.ms <= asked.ms ORDER BY o.ms DESC LIMIT 1
       ) AS t ON true;

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

-- name: row_of_tick
-- Event number $2 of the tick at $1, as it was written.
WITH t AS (
     SELECT *, first + $2::bigint AS number FROM outbox.tick WHERE ms = $1
), late AS MATERIALIZED (
     SELECT o.id FROM t CROSS JOIN LATERAL unnest(t.late) AS x
      CROSS JOIN LATERAL (SELECT w.id FROM outbox.event AS w WHERE w.xid = x AND w.id <= t.since_floor OFFSET 0) AS o
), place AS MATERIALIZED (
     SELECT t.*, t.number - (SELECT count(*) FROM late) AS among_new FROM t
)
SELECT e.id, e.xid, e.at, e.entity, e.entity_id, e.operation, e.traceparent, octet_length(e.payload) AS payload_bytes
  FROM outbox.event AS e
 WHERE e.id = coalesce(
       (SELECT l.id FROM late AS l ORDER BY l.id OFFSET (SELECT number FROM place) LIMIT 1),
       (SELECT n.id FROM place AS p CROSS JOIN LATERAL (
               SELECT w.id FROM outbox.event AS w
                WHERE w.id > p.since_floor AND w.id <= p.id_top
                  AND pg_visible_in_snapshot(w.xid, p.snapshot) AND NOT pg_visible_in_snapshot(w.xid, p.since)
                ORDER BY w.id OFFSET greatest(p.among_new, 0) LIMIT 1) AS n));

-- name: rest_of_row
SELECT (date_part('epoch', at) * 1000)::bigint AS at_ms, payload FROM outbox.event WHERE id = $1;

-- name: number_in_tick
-- How many events of the tick at $1, as it was before any renumbering, have an id below $2.
SELECT (SELECT count(*) FROM outbox.tick AS t CROSS JOIN LATERAL (
               SELECT FROM outbox.event AS n
                WHERE n.id > t.since_floor AND n.id < $2
                  AND pg_visible_in_snapshot(n.xid, t.snapshot) AND NOT pg_visible_in_snapshot(n.xid, t.since) OFFSET 0) AS e
         WHERE t.ms = $1)
     + (SELECT count(*) FROM outbox.tick AS t CROSS JOIN LATERAL unnest(t.late) AS x CROSS JOIN LATERAL (
               SELECT FROM outbox.event AS w WHERE w.xid = x AND w.id <= t.since_floor AND w.id < $2 OFFSET 0) AS e
         WHERE t.ms = $1);

-- name: tick_of_transactions
-- The first tick whose snapshot sees each transaction; null where none does yet, 0 where that tick is kept no longer. Once
-- a snapshot sees a transaction, so do all later ones, so it is found by halves.
SELECT x.xid,
       CASE WHEN NOT pg_visible_in_snapshot(x.xid, newest.snapshot) THEN NULL
            WHEN pg_visible_in_snapshot(x.xid, oldest.since) THEN 0
            ELSE (WITH RECURSIVE search (unseen, seen) AS (
                       SELECT oldest.ms - 1, newest.ms
                        UNION ALL
                       SELECT CASE WHEN m.sees THEN s.unseen ELSE m.ms END, CASE WHEN m.sees THEN m.ms ELSE s.seen END
                         FROM search AS s
                        CROSS JOIN LATERAL (
                              SELECT half.ms, coalesce((SELECT pg_visible_in_snapshot(x.xid, t.snapshot) FROM outbox.tick AS t
                                                         WHERE t.ms <= half.ms ORDER BY t.ms DESC LIMIT 1), false) AS sees
                                FROM (SELECT s.unseen + (s.seen - s.unseen) / 2 AS ms) AS half) AS m
                        WHERE s.seen - s.unseen > 1)
                  SELECT min(seen) FROM search)
       END AS ms
  FROM unnest($1::xid8[]) AS x (xid)
 CROSS JOIN (SELECT ms, since FROM outbox.tick ORDER BY ms LIMIT 1) AS oldest
 CROSS JOIN (SELECT ms, snapshot FROM outbox.tick ORDER BY ms DESC LIMIT 1) AS newest;

-- name: ids_of_rows
SELECT coalesce((SELECT id FROM outbox.event ORDER BY id LIMIT 1), 0) AS oldest,
       coalesce((SELECT id FROM outbox.event ORDER BY id DESC LIMIT 1), 0) AS newest;

-- name: rows_of_entity
-- The newest rows of entity $1 (of kind $2, or any) with an id above $3, up to $4. There is no index by entity, which each
-- writer would have to pay for; so the newest rows are read backwards, some at a time.
SELECT e.id, e.xid, e.at, e.entity, e.entity_id, e.operation, e.traceparent, octet_length(e.payload) AS payload_bytes
  FROM (SELECT * FROM outbox.event WHERE id > $3 AND id <= $4 ORDER BY id DESC OFFSET 0) AS e
 WHERE e.entity_id = $1 AND e.entity = coalesce($2, e.entity)
 ORDER BY e.id DESC
 LIMIT $5;

-- name: time_of_row
-- When the first row with an id of $1 or above was written.
SELECT at FROM outbox.event WHERE id >= $1 ORDER BY id LIMIT 1;

-- name: dead_letter_at
SELECT reason, attempts, set_aside_at, settled_at, settled_by FROM outbox.dead_letter WHERE ms = $1 AND seq = $2;

-- name: lease_on
SELECT l.expires_at > clock_timestamp() AS held, l.reason, l.since, m.host, m.pid
  FROM outbox.lease AS l LEFT JOIN outbox.member AS m ON m.holder = l.holder
 WHERE l.name = $1;

-- name: attempts_at
SELECT attempts FROM outbox.attempt WHERE stream = $1 AND event = $2;

-- name: publishers
SELECT (SELECT count(*) FROM outbox.member WHERE kind LIKE 'publisher of %' AND expires_at > clock_timestamp()) AS members,
       c.paused_by, c.paused_reason,
       (SELECT count(*) FROM outbox.dead_letter WHERE settled_at IS NULL) AS dead_letters
  FROM (SELECT) AS one LEFT JOIN outbox.control AS c ON c.paused_at IS NOT NULL;

-- name: leases
SELECT k.name AS stream, l.holder, coalesce(l.epoch, 0) AS epoch,
       CASE WHEN l.holder IS NOT NULL THEN extract(epoch FROM l.expires_at - clock_timestamp())::float8 END AS expires_in_s,
       l.reason, extract(epoch FROM clock_timestamp() - l.since)::float8 AS for_s
  FROM unnest($1::text[]) WITH ORDINALITY AS k (name, number) LEFT JOIN outbox.lease AS l USING (name)
 ORDER BY k.number;

-- name: watched_entities
SELECT DISTINCT entity FROM outbox.watched WHERE entity IS NOT NULL ORDER BY entity;

-- name: backfill_target
-- In the words of SQL: the table, its key, which of its rows are there, and which of them come after key $1.
SELECT w.source::text AS source, quote_ident(w.key) AS key,
       coalesce(quote_ident(w.soft_delete) || ' IS NULL', 'true') AS live, '$1::text IS NULL' AS from_start,
       format('%I > $1::text::%s', w.key, format_type(a.atttypid, a.atttypmod)) AS after
  FROM outbox.watched AS w JOIN pg_attribute AS a ON a.attrelid = w.source AND a.attname = w.key
 WHERE w.entity = $1
 ORDER BY w.source;

-- name: plan_freely
-- Not as for ticks: this may be any condition on any table.
SELECT set_config(name, 'on', true) FROM unnest('{enable_seqscan,enable_bitmapscan,enable_hashjoin,enable_mergejoin}'::text[]) AS name;

-- name: backfill_count
-- The condition on a line of its own, where it may end in a comment, and in a select of its own, so that nothing it says
-- can undo the rest.
SELECT count(*)
  FROM (SELECT * FROM {source} WHERE (
{condition}
       )) AS chosen
 WHERE {live} AND {beyond};

-- name: backfill_keys
SELECT {key}::text AS key
  FROM (SELECT * FROM {source} WHERE (
{condition}
       )) AS chosen
 WHERE {live} AND {beyond}
 ORDER BY {key}
 LIMIT $2;

-- name: begin_backfill
INSERT INTO outbox.backfill (entity, condition) VALUES ($1, $2) ON CONFLICT DO NOTHING;

-- name: unfinished_backfill
SELECT id, last_key, rows, events, started_at FROM outbox.backfill
 WHERE entity = $1 AND condition = $2 AND finished_at IS NULL;

-- name: take_backfill
-- Null if another process has moved it on since.
SELECT id FROM outbox.backfill WHERE id = $1 AND last_key IS NOT DISTINCT FROM $2 AND finished_at IS NULL FOR UPDATE;

-- name: emit
SELECT outbox.emit($1::text::regclass, $2);

-- name: advance_backfill
UPDATE outbox.backfill SET last_key = $2, rows = rows + $3, events = events + $4, updated_at = clock_timestamp()
 WHERE id = $1
RETURNING id, last_key, rows, events, started_at;

-- name: finish_backfill
UPDATE outbox.backfill SET finished_at = clock_timestamp(), updated_at = clock_timestamp()
 WHERE id = $1 AND last_key IS NOT DISTINCT FROM $2 AND finished_at IS NULL
RETURNING id;

-- name: give_up_backfill
UPDATE outbox.backfill SET finished_at = clock_timestamp() WHERE entity = $1 AND condition = $2 AND finished_at IS NULL;
