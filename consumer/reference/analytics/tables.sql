CREATE SCHEMA IF NOT EXISTS analytics;

-- How many events there were of each kind of entity and operation, in each minute of their timestamps.
CREATE TABLE IF NOT EXISTS analytics.event_count (
    minute    timestamptz NOT NULL,
    entity    text        NOT NULL,
    operation text        NOT NULL,
    events    bigint      NOT NULL,
    PRIMARY KEY (minute, entity, operation)
);
