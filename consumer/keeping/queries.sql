-- name: is_there
SELECT to_regclass($1) IS NOT NULL;

-- name: begin_to_prepare
-- Of two that make the same table at once one fails, IF NOT EXISTS or not. A lock of the session, and what follows in a
-- transaction of its own: only at the beginning of one does a session look again at what it knows not to be there.
SELECT pg_advisory_lock(hashtextextended('catalog_consumer', 0));

-- name: end_to_prepare
SELECT pg_advisory_unlock(hashtextextended('catalog_consumer', 0));

-- name: mark
-- No row when this version, or a newer one, was there already. Whoever comes second waits here until the first has
-- committed, and then compares with what that has written.
INSERT INTO catalog_consumer.inbox AS i (group_name, entity, entity_id, version)
VALUES ($1, $2, $3, $4)
ON CONFLICT (group_name, entity, entity_id) DO UPDATE
   SET before = i.version, version = excluded.version
 WHERE i.version < excluded.version
RETURNING version;

-- name: mark_all
-- The newest version of each entity, and what it was before. In order, so that two that mark the same entities wait for
-- each other and not in a circle; and every row is touched, because that is also what locks it.
INSERT INTO catalog_consumer.inbox AS i (group_name, entity, entity_id, version)
SELECT $1, entity, entity_id, max(version)
  FROM unnest($2::text[], $3::text[], $4::bigint[]) AS given (entity, entity_id, version)
 GROUP BY entity, entity_id
 ORDER BY entity, entity_id
ON CONFLICT (group_name, entity, entity_id) DO UPDATE
   SET before = i.version, version = greatest(i.version, excluded.version)
RETURNING entity, entity_id, before;

-- name: load_checkpoint
SELECT ms, seq FROM catalog_consumer.checkpoint WHERE group_name = $1 AND stream = $2;

-- name: save_checkpoint
INSERT INTO catalog_consumer.checkpoint AS c (group_name, stream, ms, seq)
VALUES ($1, $2, $3, $4)
ON CONFLICT (group_name, stream) DO UPDATE
   SET ms = excluded.ms, seq = excluded.seq, saved_at = now()
 WHERE (c.ms, c.seq) < (excluded.ms, excluded.seq);
