-- What a group keeps in its own database; Inbox.prepare() and PostgresCheckpoint.prepare() make it.
CREATE SCHEMA IF NOT EXISTS catalog_consumer;

-- The newest version of each entity whose effect is in this database, written in the same transaction as the effect. So an
-- effect and its mark are there together or not at all, and the row is the lock on which two that handle one entity wait.
-- A deleted entity keeps its row: it is what an old event of it is recognized by.
CREATE TABLE IF NOT EXISTS catalog_consumer.inbox (
    group_name text   NOT NULL,
    entity     text   NOT NULL,
    entity_id  text   NOT NULL,
    version    bigint NOT NULL,
    -- What it was before it was last touched: so that one statement can lock, compare and mark many.
    before     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (group_name, entity, entity_id)
) WITH (fillfactor = 70); -- Room for the new version on the same page: no index need change.

-- Up to where a group has handled a stream. It never goes back.
CREATE TABLE IF NOT EXISTS catalog_consumer.checkpoint (
    group_name text        NOT NULL,
    stream     text        NOT NULL,
    ms         bigint      NOT NULL,
    seq        bigint      NOT NULL,
    saved_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (group_name, stream)
) WITH (fillfactor = 50);
