-- name: create_peers
-- The outbox that most applications write: sent_at tells what is done, and a partial index finds the rest.
CREATE SCHEMA benchmark;
CREATE TABLE benchmark.outbox (
    id           bigserial PRIMARY KEY,
    created_at   timestamptz NOT NULL DEFAULT now(),
    aggregate    text NOT NULL,
    aggregate_id uuid NOT NULL,
    type         text NOT NULL,
    payload      jsonb NOT NULL,
    sent_at      timestamptz
);
CREATE INDEX outbox_unsent ON benchmark.outbox (id) WHERE sent_at IS NULL;
CREATE TABLE benchmark.tick (LIKE outbox.tick);

-- Straight into the newest partition, where captures write. A commit and a tick for every per_tick events.
CREATE PROCEDURE benchmark.fill(events bigint, per_tick bigint) LANGUAGE plpgsql AS $$
DECLARE
    into_partition text := outbox.current_partition();
    filled         bigint := 0;
BEGIN
    WHILE filled < events LOOP
        EXECUTE format($sql$
            INSERT INTO %s (entity, entity_id, operation, payload)
            SELECT 'series', gen_random_uuid(), 'update',
                   '{"slug":"the-quiet-ledger-' || n || '","categoryId":"5f0c2a7e-9d43-4c1b-8a86-3f2d1e7b6c05",'
                   '"title":"The Quiet Ledger, revised and restated ' || n || '","status":"PUBLISHED",'
                   '"visibility":"PUBLIC"}'
              FROM generate_series($1, $2) AS n
        $sql$, into_partition) USING filled + 1, least(filled + per_tick, events);
        filled := filled + per_tick;
        COMMIT;
        PERFORM outbox.make_tick();
        COMMIT;
    END LOOP;
END $$;

-- name: create_series
-- Rows to be updated. Without events: they are no part of what is measured.
SET session_replication_role = replica;
INSERT INTO catalog.series (slug, title, synopsis, status, visibility)
SELECT 'series-' || n, 'Title ' || n, repeat('A village that has paid no tax since 1911. ', 5), 'PUBLISHED', 'PUBLIC'
  FROM generate_series(1, 100000) AS n;
RESET session_replication_role;
VACUUM ANALYZE catalog.series;

-- name: series_ids
SELECT id FROM catalog.series ORDER BY slug LIMIT $1;

-- name: fill
CALL benchmark.fill($1, $2);

-- name: clear
TRUNCATE outbox.event, outbox.tick, outbox.checkpoint, benchmark.outbox, benchmark.tick;

-- name: keep_ticks
INSERT INTO benchmark.tick SELECT * FROM outbox.tick;

-- name: remove_ticks
-- All that waits becomes one tick: the publisher makes it when it starts.
TRUNCATE outbox.tick;

-- name: restore_ticks
TRUNCATE outbox.tick;
INSERT INTO outbox.tick SELECT * FROM benchmark.tick;

-- name: write_and_wait
-- The event of a transaction that will not end while anything is measured.
INSERT INTO catalog.category (slug, name) VALUES ('held-open', 'Held open');

-- name: fill_peer
-- The same events, as many of them as the peer is given.
TRUNCATE benchmark.outbox;
INSERT INTO benchmark.outbox (created_at, aggregate, aggregate_id, type, payload)
SELECT at, entity, entity_id::uuid, operation, payload::jsonb FROM outbox.event ORDER BY id LIMIT {rows};

-- name: checkpoint
CHECKPOINT;

-- name: unsent
SELECT id, created_at, aggregate, aggregate_id, type, payload::text AS payload
  FROM benchmark.outbox
 WHERE sent_at IS NULL
 ORDER BY id
 LIMIT 1000
   FOR UPDATE SKIP LOCKED;

-- name: mark_sent
UPDATE benchmark.outbox SET sent_at = now() WHERE id = ANY($1::bigint[]);

-- name: redis_protocol
-- Each event as the bytes of an XADD, for redis-cli --pipe: nothing between the table and the stream but a pipe.
SELECT E'*15\r\n$4\r\nXADD\r\n$14\r\ncatalog:events\r\n'
       || '$' || octet_length(position) || E'\r\n' || position
       || E'\r\n$4\r\ntype\r\n$15\r\ncatalog.updated\r\n$6\r\nentity\r\n'
       || '$' || octet_length(entity) || E'\r\n' || entity
       || E'\r\n$8\r\nentityId\r\n$' || octet_length(entity_id) || E'\r\n' || entity_id
       || E'\r\n$9\r\noperation\r\n$' || octet_length(operation) || E'\r\n' || operation
       || E'\r\n$9\r\ntimestamp\r\n$' || octet_length(time) || E'\r\n' || time
       || E'\r\n$7\r\npayload\r\n$' || octet_length(payload) || E'\r\n' || payload || E'\r\n'
  FROM (SELECT *, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS time,
               1700000000000 + (id >> 10) || '-' || (id & 1023) AS position
          FROM outbox.event) AS e
 ORDER BY id;

-- name: retitle
UPDATE catalog.series SET title = $2 WHERE id = $1;

-- name: note_change
-- What the application itself writes where there is no capture.
INSERT INTO benchmark.outbox (aggregate, aggregate_id, type, payload) VALUES ('series', $1, 'update', $2::text::jsonb);

-- name: capture_off
ALTER TABLE catalog.series DISABLE TRIGGER USER;

-- name: capture_on
ALTER TABLE catalog.series ENABLE TRIGGER USER;

-- name: pgbench_update
-- For pgbench, one transaction; \set is its own.
\set n random(1, 10000)
\set title random(1, 1000000000)
BEGIN;
UPDATE catalog.series SET title = 'Title ' || :title WHERE slug = 'series-' || :n;
COMMIT;

-- name: pgbench_update_and_insert
\set n random(1, 10000)
\set title random(1, 1000000000)
BEGIN;
UPDATE catalog.series SET title = 'Title ' || :title WHERE slug = 'series-' || :n RETURNING id \gset
INSERT INTO benchmark.outbox (aggregate, aggregate_id, type, payload)
VALUES ('series', :id, 'update', ('{"slug":"series-' || :n || '","title":"Title ' || :title || '"}')::jsonb);
COMMIT;

-- name: update_all
UPDATE catalog.series SET title = 'Title ' || $1::text;

-- name: vacuum
VACUUM catalog.series;

-- name: dead_tuples
SELECT coalesce(sum(n_dead_tup), 0)::bigint
  FROM pg_stat_user_tables
 WHERE schemaname = 'outbox' AND (relname LIKE 'event\_%' OR relname LIKE 'tick\_%');

-- name: show_statistics_now
-- What other sessions have counted is visible once they have ended.
SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot();

-- name: forget_checkpoints
DELETE FROM outbox.checkpoint;
