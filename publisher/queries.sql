-- name: take_bell
SELECT pg_try_advisory_lock(hashtextextended('outbox.bell', 0));

-- name: release_bell
SELECT pg_advisory_unlock(hashtextextended('outbox.bell', 0));

-- name: prepared_transactions_allowed
SELECT current_setting('max_prepared_transactions')::int > 0;

-- name: newest_tick
SELECT ms, total_before + events AS total FROM outbox.tick ORDER BY ms DESC LIMIT 1;

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
