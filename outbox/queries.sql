-- name: make_tick
SELECT * FROM outbox.make_tick($1, $2, $3, $4, $5, $6, $7);

-- name: make_tick_to_see
-- Together with the snapshot of the newest tick, whether it was made now or before, for another transaction to import.
SELECT previous_ms, ms, events, exported FROM outbox.make_tick(settled_for => $1, export => true);

-- name: events_in_tick
SELECT events FROM outbox.tick WHERE ms = $1;

-- name: see
-- The only statement that takes no parameters: the name of a snapshot is PostgreSQL's own.
SET TRANSACTION SNAPSHOT '{snapshot}';

-- name: ticks_after
SELECT ms, since, since_floor, late, snapshot, id_top, first, events, total_before
  FROM outbox.tick
 WHERE ms > $1
 ORDER BY ms
 LIMIT $2;

-- name: tick_at
-- The tick whose IDs may include a position in millisecond $1.
SELECT ms, since, since_floor, late, snapshot, id_top, first, events, total_before
  FROM outbox.tick
 WHERE ms <= $1
 ORDER BY ms DESC
 LIMIT 1;

-- name: total_before_the_first
SELECT coalesce((SELECT total_before FROM outbox.tick ORDER BY ms LIMIT 1),
                (SELECT total_before FROM outbox.epoch ORDER BY number DESC LIMIT 1), 0);

-- name: events_of_ticks
-- Several small ticks at once, a row for each. Two ranges instead of one from the old snapshot's xmin: a transaction held
-- open for an hour must not make every tick read that hour again.
SELECT t.ms, count(*) AS events, NULL AS marked, max(octet_length(e.payload)) AS largest,
       string_agg(outbox.packed(e.entity, e.entity_id, e.operation, e.at, e.traceparent, e.payload), '' ORDER BY e.id) AS body
  FROM outbox.tick AS t
 CROSS JOIN LATERAL (
       SELECT n.id, n.entity, n.entity_id, n.operation, n.at, n.traceparent, n.payload
         FROM outbox.event AS n
        WHERE n.id > t.since_floor AND n.id <= t.id_top
          AND pg_visible_in_snapshot(n.xid, t.snapshot) AND NOT pg_visible_in_snapshot(n.xid, t.since)
       UNION ALL
       SELECT o.id, o.entity, o.entity_id, o.operation, o.at, o.traceparent, o.payload
         FROM unnest(t.late) AS x
        CROSS JOIN LATERAL (SELECT * FROM outbox.event AS w WHERE w.xid = x AND w.id <= t.since_floor OFFSET 0) AS o
       ) AS e
 WHERE t.ms >= $1 AND t.ms <= $2
 GROUP BY t.ms
 ORDER BY t.ms;

-- name: late_events
-- A page of a large tick, first part: what transactions wrote before the last tick and committed after it. Each
-- transaction's rows come in order from their index; a page ends where the first of them stops, so nothing is sorted
-- twice and nothing is skipped.
WITH ahead AS (
     SELECT e.*
       FROM unnest($1::xid8[]) AS x
      CROSS JOIN LATERAL (
            SELECT w.id, w.xid, w.entity, w.entity_id, w.operation, w.at, w.traceparent, w.payload
              FROM outbox.event AS w
             WHERE w.xid = x AND w.id > $2 AND w.id <= $3
             ORDER BY w.id
             LIMIT $4
            ) AS e
), reach AS (
     SELECT min(last) AS id FROM (SELECT max(id) AS last FROM ahead GROUP BY xid HAVING count(*) = $4) AS stopped
), page AS (
     SELECT * FROM ahead WHERE id <= coalesce((SELECT id FROM reach), $3) ORDER BY id LIMIT $5
)
SELECT count(*) AS events, max(id) AS last_id, NULL AS marked, max(octet_length(payload)) AS largest,
       string_agg(outbox.packed(entity, entity_id, operation, at, traceparent, payload), '') AS body
  FROM page;

-- name: new_events
-- The second part: what was written after the last tick.
SELECT count(*) AS events, max(id) AS last_id, NULL AS marked, max(octet_length(payload)) AS largest,
       string_agg(outbox.packed(entity, entity_id, operation, at, traceparent, payload), '') AS body
  FROM (SELECT *
          FROM outbox.event
         WHERE id > $1 AND id <= $2 AND pg_visible_in_snapshot(xid, $3) AND NOT pg_visible_in_snapshot(xid, $4)
         ORDER BY id
         LIMIT $5) AS page;

-- name: shared_events_of_ticks
-- As events_of_ticks, for several partitions at once, those in $3 of $4: a byte for each event says whose it is, and theirs
-- are packed one by one. (To put them together here, sorted by partition, costs more than to read the rows.)
SELECT t.ms, count(*) AS events, string_agg(set_byte('\x00', 0, e.number), '' ORDER BY e.id) AS marked,
       max(octet_length(e.payload)) FILTER (WHERE e.number = ANY($3::integer[])) AS largest,
       array_agg(CASE WHEN e.number = ANY($3)
                 THEN outbox.packed(e.entity, e.entity_id, e.operation, e.at, e.traceparent, e.payload) END ORDER BY e.id) AS packed
  FROM outbox.tick AS t
 CROSS JOIN LATERAL (
       SELECT u.*, outbox.partition_of(u.entity_id, $4) AS number
         FROM (
              SELECT n.id, n.entity, n.entity_id, n.operation, n.at, n.traceparent, n.payload
                FROM outbox.event AS n
               WHERE n.id > t.since_floor AND n.id <= t.id_top
                 AND pg_visible_in_snapshot(n.xid, t.snapshot) AND NOT pg_visible_in_snapshot(n.xid, t.since)
              UNION ALL
              SELECT o.id, o.entity, o.entity_id, o.operation, o.at, o.traceparent, o.payload
                FROM unnest(t.late) AS x
               CROSS JOIN LATERAL (SELECT * FROM outbox.event AS w WHERE w.xid = x AND w.id <= t.since_floor OFFSET 0) AS o
              ) AS u
       ) AS e
 WHERE t.ms >= $1 AND t.ms <= $2
 GROUP BY t.ms
 ORDER BY t.ms;

-- name: shared_late_events
-- As late_events, for the partitions in $6 of $7.
WITH ahead AS (
     SELECT e.*
       FROM unnest($1::xid8[]) AS x
      CROSS JOIN LATERAL (
            SELECT w.id, w.xid, w.entity, w.entity_id, w.operation, w.at, w.traceparent, w.payload
              FROM outbox.event AS w
             WHERE w.xid = x AND w.id > $2 AND w.id <= $3
             ORDER BY w.id
             LIMIT $4
            ) AS e
), reach AS (
     SELECT min(last) AS id FROM (SELECT max(id) AS last FROM ahead GROUP BY xid HAVING count(*) = $4) AS stopped
), page AS (
     SELECT *, outbox.partition_of(entity_id, $7) AS number
       FROM ahead WHERE id <= coalesce((SELECT id FROM reach), $3) ORDER BY id LIMIT $5
)
SELECT count(*) AS events, max(id) AS last_id, string_agg(set_byte('\x00', 0, number), '') AS marked,
       max(octet_length(payload)) FILTER (WHERE number = ANY($6::integer[])) AS largest,
       array_agg(CASE WHEN number = ANY($6) THEN outbox.packed(entity, entity_id, operation, at, traceparent, payload) END) AS packed
  FROM page;

-- name: shared_new_events
-- As new_events, for the partitions in $6 of $7.
SELECT count(*) AS events, max(id) AS last_id, string_agg(set_byte('\x00', 0, number), '') AS marked,
       max(octet_length(payload)) FILTER (WHERE number = ANY($6::integer[])) AS largest,
       array_agg(CASE WHEN number = ANY($6) THEN outbox.packed(entity, entity_id, operation, at, traceparent, payload) END) AS packed
  FROM (SELECT *, outbox.partition_of(entity_id, $7) AS number
          FROM outbox.event
         WHERE id > $1 AND id <= $2 AND pg_visible_in_snapshot(xid, $3) AND NOT pg_visible_in_snapshot(xid, $4)
         ORDER BY id
         LIMIT $5) AS page;

-- name: count_late_events
-- OFFSET 0, here and elsewhere: one way into the index for each transaction, whatever the planner believes.
SELECT count(*)
  FROM unnest($1::xid8[]) AS x
 CROSS JOIN LATERAL (SELECT w.id FROM outbox.event AS w WHERE w.xid = x AND w.id <= $2 OFFSET 0) AS e;

-- name: late_id_at
-- Where to go on inside a large tick. The only true OFFSET, once for a start and never for a page.
SELECT e.id
  FROM unnest($1::xid8[]) AS x
 CROSS JOIN LATERAL (SELECT w.id FROM outbox.event AS w WHERE w.xid = x AND w.id <= $2 OFFSET 0) AS e
 ORDER BY e.id
OFFSET $3 LIMIT 1;

-- name: new_id_at
SELECT id
  FROM outbox.event
 WHERE id > $1 AND id <= $2 AND pg_visible_in_snapshot(xid, $3) AND NOT pg_visible_in_snapshot(xid, $4)
 ORDER BY id
OFFSET $5 LIMIT 1;

-- name: renumber
SELECT outbox.renumber($1, $2, $3);

-- name: move_checkpoint
SELECT outbox.move_checkpoint($1, $2, $3, $4, $5, $6, $7);

-- name: remember_end
INSERT INTO outbox.checkpoint AS c (name, ms, seq, end_ms, end_seq) VALUES ($1, 0, 0, $2, $3)
    ON CONFLICT (name) DO UPDATE SET end_ms = excluded.end_ms, end_seq = excluded.end_seq
 WHERE (c.end_ms, c.end_seq) < (excluded.end_ms, excluded.end_seq);

-- name: load_checkpoint
SELECT ms, seq, end_ms, end_seq FROM outbox.checkpoint WHERE name = $1;

-- name: renew_leases
SELECT * FROM outbox.renew_leases($1, $2, $3, $4, $5, $6, $7);

-- name: leases_of
SELECT name FROM outbox.lease WHERE starts_with(name, $1) ORDER BY name;

-- name: now
SELECT extract(epoch FROM clock_timestamp())::float8;

-- name: release_lease
SELECT outbox.release_lease($1, $2);

-- name: raise_epoch
SELECT outbox.raise_epoch($1, $2, $3);

-- name: leave
DELETE FROM outbox.member WHERE kind = $1 AND holder = $2;

-- name: paused
SELECT paused_at, paused_by, paused_reason FROM outbox.control WHERE paused_at IS NOT NULL;

-- name: pause
INSERT INTO outbox.control AS c (paused_at, paused_by, paused_reason)
VALUES (clock_timestamp(), $1, $2)
    ON CONFLICT (single) DO UPDATE
   SET paused_at = coalesce(c.paused_at, excluded.paused_at), paused_by = excluded.paused_by, paused_reason = excluded.paused_reason;

-- name: resume
UPDATE outbox.control AS c SET paused_at = NULL, paused_by = NULL, paused_reason = NULL
  FROM outbox.control AS was
 WHERE c.paused_at IS NOT NULL AND was.single = c.single
RETURNING was.paused_at, was.paused_by, was.paused_reason;

-- name: identity
SELECT system_identifier, timeline, outbox.incarnation() FROM outbox.identity();

-- name: newest_epoch
SELECT number, system_identifier, timeline, after_ms, after_seq, until_ms, until_seq
  FROM outbox.epoch ORDER BY number DESC LIMIT 1;

-- name: open_epoch
SELECT outbox.open_epoch($1, $2, $3, $4, $5, $6);

-- name: rehome
SELECT outbox.open_epoch($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: count_start
INSERT INTO outbox.attempt AS a (stream, start, starts) VALUES ($1, $2, 1)
    ON CONFLICT (stream) DO UPDATE
   SET starts = CASE WHEN a.start = excluded.start THEN a.starts + 1 ELSE 1 END, start = excluded.start
RETURNING starts;

-- name: count_attempt
INSERT INTO outbox.attempt AS a (stream, event, attempts) VALUES ($1, $2, 1)
    ON CONFLICT (stream) DO UPDATE
   SET attempts = CASE WHEN a.event = excluded.event THEN a.attempts + 1 ELSE 1 END, event = excluded.event
RETURNING attempts;

-- name: forget_attempts
UPDATE outbox.attempt SET event = '', attempts = 0 WHERE stream = $1;

-- name: set_aside
-- Event number $4 of the tick at $3, found by what a tick is: it may not be possible to pack it.
INSERT INTO outbox.dead_letter (ms, seq, stream, at, entity, entity_id, operation, payload, traceparent, reason, attempts)
SELECT $5, $6, $1, e.at, e.entity, e.entity_id, e.operation, e.payload, e.traceparent, $2, $7
  FROM outbox.tick AS t
 CROSS JOIN LATERAL (
       SELECT * FROM (
              SELECT n.id, n.entity, n.entity_id, n.operation, n.at, n.traceparent, n.payload
                FROM outbox.event AS n
               WHERE n.id > t.since_floor AND n.id <= t.id_top
                 AND pg_visible_in_snapshot(n.xid, t.snapshot) AND NOT pg_visible_in_snapshot(n.xid, t.since)
              UNION ALL
              SELECT o.id, o.entity, o.entity_id, o.operation, o.at, o.traceparent, o.payload
                FROM unnest(t.late) AS x
               CROSS JOIN LATERAL (SELECT * FROM outbox.event AS w WHERE w.xid = x AND w.id <= t.since_floor OFFSET 0) AS o
              ) AS u
        ORDER BY u.id OFFSET t.first + $4 LIMIT 1
       ) AS e
 WHERE t.ms = $3 AND outbox.partition_of(e.entity_id, $9) = $8
    ON CONFLICT (ms, seq) DO NOTHING
RETURNING ms;

-- name: dead_letters_after
SELECT ms, seq FROM outbox.dead_letter WHERE stream = $1 AND (ms, seq) > ($2, $3) ORDER BY ms, seq;

-- name: dead_letters
SELECT ms, seq, stream, at, entity, entity_id, operation, octet_length(payload) AS bytes, reason, attempts, set_aside_at
  FROM outbox.dead_letter WHERE settled_at IS NULL ORDER BY ms, seq;

-- name: requeue
SELECT outbox.requeue($1, $2, $3);

-- name: discard
UPDATE outbox.dead_letter SET settled_at = clock_timestamp(), settled_by = 'discarded by ' || $3::text
 WHERE ms = $1 AND seq = $2 AND settled_at IS NULL
RETURNING ms;

-- name: oldest_tick
SELECT ms, total_before FROM outbox.tick ORDER BY ms LIMIT 1;

-- name: rotate
SELECT outbox.rotate($1);

-- name: retire
SELECT partition, dropped, reason, detail FROM outbox.retire($1, $2);
