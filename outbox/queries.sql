-- name: make_tick
SELECT * FROM outbox.make_tick($1, $2, $3, $4, $5, $6);

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

-- name: events_of_ticks
-- Several small ticks at once, a row for each. Two ranges instead of one from the old snapshot's xmin: a transaction held
-- open for an hour must not make every tick read that hour again.
SELECT t.ms, count(*) AS events,
       string_agg(outbox.packed(e.entity, e.entity_id, e.operation, e.at, e.traceparent, e.payload), '' ORDER BY e.id)
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
SELECT count(*) AS events, max(id) AS last_id,
       string_agg(outbox.packed(entity, entity_id, operation, at, traceparent, payload), '')
  FROM page;

-- name: new_events
-- The second part: what was written after the last tick.
SELECT count(*) AS events, max(id) AS last_id,
       string_agg(outbox.packed(entity, entity_id, operation, at, traceparent, payload), '')
  FROM (SELECT *
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

-- name: save_checkpoint
INSERT INTO outbox.checkpoint AS c (name, ms, seq)
VALUES ($1, $2, $3)
    ON CONFLICT (name) DO UPDATE SET ms = excluded.ms, seq = excluded.seq, updated_at = now()
 WHERE (c.ms, c.seq) < (excluded.ms, excluded.seq);

-- name: load_checkpoint
SELECT ms, seq FROM outbox.checkpoint WHERE name = $1;
