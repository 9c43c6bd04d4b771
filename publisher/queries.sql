-- name: take_bell
SELECT pg_try_advisory_lock(hashtextextended('outbox.bell', 0));

-- name: release_bell
SELECT pg_advisory_unlock(hashtextextended('outbox.bell', 0));

-- name: prepared_transactions_allowed
SELECT current_setting('max_prepared_transactions')::int > 0;
