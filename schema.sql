-- The catalog, its transactional outbox, and the capture that connects them.
--
--   1 catalog tables   2 outbox: events, ticks, checkpoints   3 watch() and its triggers, what is watched   4 feed   5 roles
--
-- Apply with `make schema`, or `psql --file schema.sql`, as the owner of both schemas. PostgreSQL 15 or newer.
-- Applying it again, or over earlier tables with data in them, keeps every row. An earlier table that lacks a column is
-- refused, and nothing changed: bring it to this shape first.

BEGIN;

-- A busy table makes this file fail and change nothing, rather than queue every writer behind it.
SET LOCAL lock_timeout = '10s';
SET LOCAL client_min_messages = warning;
SET LOCAL check_function_bodies = on;
DO $$ BEGIN PERFORM pg_advisory_xact_lock(hashtextextended('catalog-outbound schema', 0)); END $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- 1  Catalog: what admin tools write. A row is deleted by setting deleted_at (it can come back) or by DELETE.
-- ---------------------------------------------------------------------------------------------------------------------

CREATE SCHEMA IF NOT EXISTS catalog;

DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN VALUES
        ('publication_status', ARRAY['DRAFT', 'REVIEW', 'PUBLISHED', 'ARCHIVED']),
        ('visibility', ARRAY['PUBLIC', 'UNLISTED', 'PRIVATE']),
        ('asset_status', ARRAY['PENDING', 'PROCESSING', 'READY', 'FAILED'])
    LOOP
        IF to_regtype('catalog.' || wanted.column1) IS NULL THEN
            EXECUTE format('CREATE TYPE catalog.%I AS ENUM (%s)', wanted.column1,
                           (SELECT string_agg(quote_literal(label), ', ') FROM unnest(wanted.column2) AS label));
        END IF;
    END LOOP;
END $$;

CREATE TABLE IF NOT EXISTS catalog.category (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug                text NOT NULL CONSTRAINT category_slug_unique UNIQUE
                        CONSTRAINT category_slug_form CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(slug) <= 200),
    name                text NOT NULL,
    description         text,
    display_order       integer NOT NULL DEFAULT 0,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    deleted_at          timestamptz,
    created_by_admin_id uuid,
    updated_by_admin_id uuid
);

CREATE TABLE IF NOT EXISTS catalog.series (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug                text NOT NULL CONSTRAINT series_slug_unique UNIQUE
                        CONSTRAINT series_slug_form CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(slug) <= 200),
    title               text NOT NULL,
    synopsis            text,
    hero_image_url      text,
    banner_image_url    text,
    tags                text[] NOT NULL DEFAULT '{}',
    status              catalog.publication_status NOT NULL DEFAULT 'DRAFT',
    visibility          catalog.visibility NOT NULL DEFAULT 'PRIVATE',
    release_date        date,
    owner_id            uuid,
    category_id         uuid REFERENCES catalog.category (id),
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    deleted_at          timestamptz,
    created_by_admin_id uuid,
    updated_by_admin_id uuid
);
CREATE INDEX IF NOT EXISTS series_by_category ON catalog.series (category_id);

CREATE TABLE IF NOT EXISTS catalog.season (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    series_id           uuid NOT NULL REFERENCES catalog.series (id) ON DELETE CASCADE,
    sequence_number     integer NOT NULL CONSTRAINT season_sequence_number_positive CHECK (sequence_number > 0),
    title               text,
    synopsis            text,
    status              catalog.publication_status NOT NULL DEFAULT 'DRAFT',
    release_date        date,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    deleted_at          timestamptz,
    created_by_admin_id uuid,
    updated_by_admin_id uuid,
    CONSTRAINT season_number_unique_in_series UNIQUE (series_id, sequence_number)
);

CREATE TABLE IF NOT EXISTS catalog.episode (
    id                    uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug                  text NOT NULL CONSTRAINT episode_slug_unique UNIQUE
                          CONSTRAINT episode_slug_form CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(slug) <= 200),
    series_id             uuid NOT NULL REFERENCES catalog.series (id) ON DELETE CASCADE,
    season_id             uuid REFERENCES catalog.season (id) ON DELETE CASCADE,
    title                 text NOT NULL,
    synopsis              text,
    duration_seconds      integer CONSTRAINT episode_duration_not_negative CHECK (duration_seconds >= 0),
    status                catalog.publication_status NOT NULL DEFAULT 'DRAFT',
    visibility            catalog.visibility NOT NULL DEFAULT 'PRIVATE',
    published_at          timestamptz,
    availability_start    timestamptz,
    availability_end      timestamptz,
    hero_image_url        text,
    default_thumbnail_url text,
    captions              jsonb NOT NULL DEFAULT '{}' CONSTRAINT episode_captions_by_language CHECK (jsonb_typeof(captions) = 'object'),
    tags                  text[] NOT NULL DEFAULT '{}',
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now(),
    deleted_at            timestamptz,
    created_by_admin_id   uuid,
    updated_by_admin_id   uuid,
    CONSTRAINT episode_availability_in_order CHECK (availability_start < availability_end)
);
CREATE INDEX IF NOT EXISTS episode_by_series ON catalog.episode (series_id);
CREATE INDEX IF NOT EXISTS episode_by_season ON catalog.episode (season_id);

CREATE TABLE IF NOT EXISTS catalog.media_asset (
    id                    uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    episode_id            uuid NOT NULL CONSTRAINT media_asset_one_per_episode UNIQUE
                          REFERENCES catalog.episode (id) ON DELETE CASCADE,
    source_upload_id      uuid,
    streaming_asset_id    text,
    manifest_url          text,
    default_thumbnail_url text,
    status                catalog.asset_status NOT NULL DEFAULT 'PENDING',
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now(),
    deleted_at            timestamptz,
    created_by_admin_id   uuid,
    updated_by_admin_id   uuid,
    CONSTRAINT media_asset_ready_has_manifest CHECK (status <> 'READY' OR manifest_url IS NOT NULL)
);

CREATE TABLE IF NOT EXISTS catalog.media_asset_variant (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    media_asset_id uuid NOT NULL REFERENCES catalog.media_asset (id) ON DELETE CASCADE,
    label          text NOT NULL,
    width          integer NOT NULL CONSTRAINT media_asset_variant_width_positive CHECK (width > 0),
    height         integer NOT NULL CONSTRAINT media_asset_variant_height_positive CHECK (height > 0),
    bitrate_kbps   integer NOT NULL CONSTRAINT media_asset_variant_bitrate_positive CHECK (bitrate_kbps > 0),
    codec          text NOT NULL,
    frame_rate     numeric(6, 3) CONSTRAINT media_asset_variant_frame_rate_positive CHECK (frame_rate > 0),
    CONSTRAINT media_asset_variant_label_unique_in_asset UNIQUE (media_asset_id, label)
);

-- A CHECK cannot look into another table, so the CDN's origin is written into the constraint itself: rows that are
-- there already are checked too, and a manifest elsewhere is refused whoever writes it.
CREATE OR REPLACE FUNCTION catalog.set_cdn_base_url(base_url text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    prefix text := rtrim(base_url, '/') || '/';
BEGIN
    IF (prefix ~ '^https://[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:[0-9]+)?/((?!\.{1,2}/)[A-Za-z0-9._~-]+/)*$') IS NOT TRUE THEN
        RAISE EXCEPTION 'CDN base URL % is not an HTTPS URL such as https://cdn.example.com', quote_nullable(base_url)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    ALTER TABLE catalog.media_asset DROP CONSTRAINT IF EXISTS media_asset_manifest_on_cdn;
    EXECUTE format(
        'ALTER TABLE catalog.media_asset ADD CONSTRAINT media_asset_manifest_on_cdn'
        ' CHECK (starts_with(manifest_url, %L) AND manifest_url !~ %L)', prefix, '[\s\\]|/(\.|%2[Ee]){2}([/?#]|$)');
END $$;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'media_asset_ready_has_manifest'
                   AND conrelid = 'catalog.media_asset'::regclass) THEN
        ALTER TABLE catalog.media_asset ADD CONSTRAINT media_asset_ready_has_manifest
            CHECK (status <> 'READY' OR manifest_url IS NOT NULL);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'media_asset_manifest_on_cdn'
                   AND conrelid = 'catalog.media_asset'::regclass) THEN
        PERFORM catalog.set_cdn_base_url('https://cdn.example.com');
    END IF;
END $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- 2  Outbox: what changed, in the writer's own transaction; and ticks, which give every change its place in the stream.
--    Rows are inserted and never updated, so there is nothing to vacuum; old ones leave with their whole partition.
-- ---------------------------------------------------------------------------------------------------------------------

CREATE SCHEMA IF NOT EXISTS outbox;

CREATE SEQUENCE IF NOT EXISTS outbox.event_id AS bigint CACHE 1;

-- One row for each change, in the order of id. xid stands before id because defaults are drawn in this order: a
-- transaction has its number before it draws an id, so one that starts after a tick has only ids above its id_floor.
-- payload is text because it is sent as it is stored. No column holds U+001E or U+001F, between which the publisher packs
-- events: JSON escapes them, and watch() sees to the keys. There is no CHECK, which would cost each writer more than its
-- insert does; the capture functions are the only writers.
CREATE TABLE IF NOT EXISTS outbox.event (
    stretch     integer NOT NULL,
    xid         xid8 NOT NULL DEFAULT pg_current_xact_id(),
    id          bigint NOT NULL DEFAULT nextval('outbox.event_id'),
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    entity      text NOT NULL,
    entity_id   text NOT NULL,
    operation   text NOT NULL,
    payload     text NOT NULL,
    -- SET LOCAL outbox.traceparent = '00-…' in the writer's transaction; anything else than the W3C form is left out.
    traceparent text DEFAULT substring(current_setting('outbox.traceparent', true)
                                       FROM '^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$'),
    -- With xid, so that a tick can be counted in this index alone.
    PRIMARY KEY (id, stretch) INCLUDE (xid)
) PARTITION BY LIST (stretch);

-- The events of a transaction that outlived a tick are found by its number, in order, without a sort.
CREATE INDEX IF NOT EXISTS event_by_transaction ON outbox.event (xid, id);

-- A partition, event_<number>, is a stretch of time. Captures write into the newest one, whose default says which it is; a
-- capture that still writes into one before, because it began before there was a newer one, does no harm.
CREATE TABLE IF NOT EXISTS outbox.stretch (
    number    integer PRIMARY KEY,
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    opened_by xid8 NOT NULL DEFAULT pg_current_xact_id(),
    id_floor  bigint NOT NULL,  -- ids up to this one were drawn before; of those above, some may still lie in the stretch before
    -- Which transactions were under way when a newer one had been opened, less those that were seen to have ended since:
    -- they may still write into this one. Null until somebody has looked.
    writers   text[]
);

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM outbox.stretch) THEN
        CREATE TABLE IF NOT EXISTS outbox.event_1 PARTITION OF outbox.event (stretch DEFAULT 1) FOR VALUES IN (1);
        INSERT INTO outbox.stretch (number, id_floor) SELECT 1, s.last_value - (NOT s.is_called)::int FROM outbox.event_id AS s;
    END IF;
END $$;

-- A tick is a stored snapshot. Its events are the rows visible in `snapshot` and not in `since`, the snapshot of the tick
-- before it, ordered by id. They lie in two places, and each row says where:
--   above since_floor   almost all of them, in the order of the primary key
--   at or below it      those of the transactions in `late`, which drew ids before the tick before and committed after it
CREATE TABLE IF NOT EXISTS outbox.tick (
    ms           bigint NOT NULL PRIMARY KEY,  -- milliseconds since 1970; strictly increasing; the first half of its IDs
    since        pg_snapshot NOT NULL,
    since_floor  bigint NOT NULL,              -- id_floor of the tick before
    late         xid8[] NOT NULL,
    snapshot     pg_snapshot NOT NULL,
    next_xid     xid8 NOT NULL,                -- transactions that were not yet under way have this number or a higher one,
    id_floor     bigint NOT NULL,              -- and draw ids above this
    id_top       bigint NOT NULL,              -- the highest id among its events
    first        bigint NOT NULL DEFAULT 0,    -- events at the front that belong to another tick; see renumber()
    events       bigint NOT NULL CONSTRAINT tick_not_empty CHECK (events > 0),
    total_before bigint NOT NULL               -- events of all ticks before it
) PARTITION BY RANGE (ms);

-- An event as the publisher hands it on: six MessagePack values, one after the other. Made here because PostgreSQL puts
-- the bytes of a row together faster than a client takes the row apart; the stream's script unpacks them natively.
-- (db: a string with four bytes of length; da: with two; cf: an unsigned integer; a0: an empty string.)
-- Planned into the statement that calls it, which is why it has no search_path of its own.
CREATE OR REPLACE FUNCTION outbox.packed(
    entity text, entity_id text, operation text, at timestamptz, traceparent text, payload text
) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT '\xda'::bytea || int2send(octet_length(entity)::int2) || textsend(entity)
        || '\xda'::bytea || int2send(octet_length(entity_id)::int2) || textsend(entity_id)
        || '\xda'::bytea || int2send(octet_length(operation)::int2) || textsend(operation)
        || '\xcf'::bytea || int8send((date_part('epoch', at) * 1000)::bigint)
        || coalesce('\xda'::bytea || int2send(octet_length(traceparent)::int2) || textsend(traceparent), '\xa0'::bytea)
        || '\xdb'::bytea || int4send(octet_length(payload)) || textsend(payload)
$$;

-- The partition of the stream that an entity is in, of so many; it must never change for the same number of them. This hash
-- is the one by which PostgreSQL places rows in hash partitions, so it stays what it is from version to version.
CREATE OR REPLACE FUNCTION outbox.partition_of(entity_id text, partitions integer) RETURNS integer
LANGUAGE sql IMMUTABLE AS $$
    SELECT ((hashtextextended(entity_id, 0) & 9223372036854775807) % partitions)::integer
$$;

-- How far a reader of the ticks has come: event seq of tick ms, and everything before it, is done. For a publisher also
-- the last ID that its stream had then: a stream that ends before it has lost entries.
CREATE TABLE IF NOT EXISTS outbox.checkpoint (
    name       text PRIMARY KEY,
    ms         bigint NOT NULL,
    seq        bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 10);
ALTER TABLE outbox.checkpoint ADD COLUMN IF NOT EXISTS end_ms bigint NOT NULL DEFAULT 0, ADD COLUMN IF NOT EXISTS end_seq bigint NOT NULL DEFAULT 0;
-- Checkpoints of publishers are named by their streams; one of an earlier version would hold retention up for ever.
DELETE FROM outbox.checkpoint WHERE name = 'publisher';

-- The name of the partition of the day that a tick is in.
CREATE OR REPLACE FUNCTION outbox.tick_partition(at_ms bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'tick_' || to_char(to_timestamp(at_ms / 86400000 * 86400) AT TIME ZONE 'UTC', 'YYYYMMDD')
$$;

CREATE OR REPLACE FUNCTION outbox.ensure_tick_partition(at_ms bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    day  bigint := at_ms / 86400000;
    name text := outbox.tick_partition(at_ms);
BEGIN
    IF to_regclass('outbox.' || name) IS NULL THEN
        -- Made first and attached then, because that waits for no reader of outbox.tick, a dump for example.
        EXECUTE format('CREATE TABLE outbox.%I (LIKE outbox.tick INCLUDING ALL)', name);
        EXECUTE format('ALTER TABLE outbox.tick ATTACH PARTITION outbox.%I FOR VALUES FROM (%s) TO (%s)',
                       name, day * 86400000, (day + 1) * 86400000);
    END IF;
END $$;

DO $$
BEGIN
    -- Earlier versions of this file took or returned something else, which REPLACE cannot change.
    DROP FUNCTION IF EXISTS outbox.make_tick(bigint, pg_snapshot, xid8, bigint, bigint, bigint);
    DROP FUNCTION IF EXISTS outbox.make_tick(bigint, pg_snapshot, xid8, bigint, bigint, bigint, text);
    DROP FUNCTION IF EXISTS outbox.open_epoch(integer, text, bigint, bigint, bigint, bigint, boolean);
END $$;

-- Changes when the server was restarted, or is another one, or when the tables were restored from a dump. Whoever has
-- looked at what this is, see `identity`, looks again then.
CREATE OR REPLACE FUNCTION outbox.incarnation() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT extract(epoch FROM pg_postmaster_start_time())::text || '/' || 'outbox.tick'::regclass::oid::text
$$;

-- Make a tick if anything has been committed since the last one, and return it. One round trip, one commit; the caller
-- may use its IDs when the call has returned. Where nothing is new no tick is made: ms is null, and the rest says how far
-- it has looked. Handing that back (after_ms, the ms of the last tick then; seen, seen_xid, seen_floor) saves the next call
-- from looking at the same again, however much an open transaction has written since.
--
-- above_ms: the tick's ms is above this too: the stream's last ID, when somebody else has written to the stream.
-- pack_up_to: a tick of at most so many events, of together 64 KiB, is returned with them, packed, and need not be read.
-- settled_for: no tick is made in another incarnation than this.
CREATE OR REPLACE FUNCTION outbox.make_tick(
    after_ms bigint DEFAULT NULL, seen pg_snapshot DEFAULT NULL, seen_xid xid8 DEFAULT NULL, seen_floor bigint DEFAULT NULL,
    above_ms bigint DEFAULT 0, pack_up_to bigint DEFAULT 0, settled_for text DEFAULT NULL, export boolean DEFAULT false
) RETURNS TABLE (
    previous_ms bigint, ms bigint, since pg_snapshot, since_floor bigint, late xid8[], snapshot pg_snapshot, next_xid xid8,
    id_floor bigint, id_top bigint, first bigint, events bigint, total_before bigint, body bytea, largest bigint, exported text
)
-- The planner cannot know how few rows lie above a floor; left alone, a cached plan reads the whole table. These settings,
-- and ORDER BY and OFFSET 0 in the statements, leave it one way: down the index, to what is new.
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_sort = off SET plan_cache_mode = force_generic_plan
-- Whoever waits longer than this for another one's tick says so, and tries again.
SET lock_timeout = '10s' AS $$
#variable_conflict use_column
DECLARE
    since_xid xid8;
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'ticks are made on the primary only: a standby does not know which transactions are in progress'
            USING ERRCODE = 'read_only_sql_transaction';
    ELSIF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'ticks are made at READ COMMITTED only: here the snapshot is older than the lock'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    ELSIF settled_for <> outbox.incarnation() THEN
        RAISE EXCEPTION 'this is not the server, or not the database, that was settled for' USING ERRCODE = 'OB001';
    ELSIF current_setting('synchronous_commit') = 'off' THEN
        -- The stream must never hold an ID that a crash of this server takes back.
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;

    -- The lock is taken in a statement before the snapshot, so snapshots are taken in the order of the ticks.
    PERFORM pg_advisory_xact_lock(hashtextextended('outbox.tick', 0));
    SELECT t.ms, t.ms + 1 + (t.events >> 20), t.snapshot, t.next_xid, t.id_floor, t.total_before + t.events
      INTO previous_ms, ms, since, since_xid, since_floor, total_before
      FROM outbox.tick AS t ORDER BY t.ms DESC LIMIT 1;
    IF previous_ms IS NULL THEN
        ms := 1; since := '1:1:'; since_xid := '1'; since_floor := -1;
        total_before := coalesce((SELECT e.total_before FROM outbox.epoch AS e ORDER BY e.number DESC LIMIT 1), 0);
    END IF;
    IF seen IS NOT NULL AND after_ms IS NOT DISTINCT FROM previous_ms THEN
        since := seen; since_xid := seen_xid; since_floor := seen_floor;
    END IF;

    -- In this order: the floor, the snapshot, then (below) a transaction number of our own. Whoever gets a higher number
    -- gets it later, and draws above the floor. The snapshot's xmax would not do: it is one above the last transaction that
    -- has ended, and transactions above it may be under way with ids below the floor.
    SELECT s.last_value - (NOT s.is_called)::int INTO id_floor FROM outbox.event_id AS s;
    SELECT pg_current_snapshot(), CASE WHEN export THEN pg_export_snapshot() END INTO snapshot, exported;
    late := ARRAY(
        SELECT x
          FROM (SELECT pg_snapshot_xip(since) AS x
                 UNION ALL
                SELECT n::text::xid8
                  FROM generate_series(pg_snapshot_xmax(since)::text::bigint, since_xid::text::bigint - 1) AS n) AS open
         WHERE pg_visible_in_snapshot(x, snapshot)
           AND EXISTS (SELECT FROM outbox.event AS e WHERE e.xid = x AND e.id <= since_floor OFFSET 0));
    SELECT sum(part.events), max(part.top) INTO events, id_top
      FROM (
          SELECT count(*) AS events, max(e.id) AS top
            FROM (SELECT n.id, n.xid FROM outbox.event AS n WHERE n.id > since_floor ORDER BY n.id OFFSET 0) AS e
           WHERE pg_visible_in_snapshot(e.xid, snapshot) AND NOT pg_visible_in_snapshot(e.xid, since)
          UNION ALL
          SELECT count(*), max(e.id)
            FROM unnest(late) AS x CROSS JOIN LATERAL
                 (SELECT o.id FROM outbox.event AS o WHERE o.xid = x AND o.id <= since_floor OFFSET 0) AS e
      ) AS part;

    first := 0;
    IF events > 0 THEN
        next_xid := pg_current_xact_id();
        ms := greatest(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint, ms, above_ms + 1,
                       (SELECT e.until_ms + 1 FROM outbox.epoch AS e ORDER BY e.number DESC LIMIT 1));
        PERFORM outbox.ensure_tick_partition(ms);
        INSERT INTO outbox.tick
        VALUES (ms, since, since_floor, late, snapshot, next_xid, id_floor, id_top, first, events, total_before);
        IF events <= least(pack_up_to, 200) THEN
            SELECT string_agg(outbox.packed(e.entity, e.entity_id, e.operation, e.at, e.traceparent, e.payload), '' ORDER BY e.id)
                       FILTER (WHERE octet_length(e.payload) <= 65536),
                   max(octet_length(e.payload))
              INTO body, largest
              FROM (
                  (SELECT n.* FROM outbox.event AS n WHERE n.id > since_floor AND n.id <= id_top ORDER BY n.id OFFSET 0)
                  UNION ALL
                  SELECT o.*
                    FROM unnest(late) AS x CROSS JOIN LATERAL
                         (SELECT * FROM outbox.event AS w WHERE w.xid = x AND w.id <= since_floor OFFSET 0) AS o
              ) AS e
             WHERE pg_visible_in_snapshot(e.xid, snapshot) AND NOT pg_visible_in_snapshot(e.xid, since);
            IF octet_length(body) > 65536 OR largest > 65536 THEN
                -- A caller that stopped reading in the middle of it would keep this transaction, and the lock, open.
                body := NULL;
            END IF;
        END IF;
    ELSE
        ms := NULL;
        IF id_floor - since_floor < 1000 THEN
            -- Not worth a transaction number: the next call may look at these few again.
            snapshot := since; next_xid := since_xid; id_floor := since_floor;
        ELSE
            next_xid := pg_current_xact_id();
            -- A number that nothing was written under is handed out again after a crash of the server.
            PERFORM pg_logical_emit_message(true, 'outbox', '');
        END IF;
    END IF;
    RETURN NEXT;
END $$;

-- Give new IDs, all above above_ms, to the events from number from_index of tick from_ms on. For IDs that can no longer
-- be appended because somebody else wrote a higher one to the stream; IDs at and below the stream's end stay as they are.
-- Returns the number of events that have a new ID.
CREATE OR REPLACE FUNCTION outbox.renumber(from_ms bigint, from_index bigint, above_ms bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t        outbox.tick;
    next_ms  bigint;
    moved    bigint := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('outbox.tick', 0));
    PERFORM FROM outbox.tick AS o WHERE o.ms = from_ms AND o.events > from_index;
    IF NOT FOUND THEN
        RETURN 0;  -- Another publisher saw the same and was first.
    END IF;
    SELECT greatest(max(o.ms + 1 + (o.events >> 20)), above_ms + 1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
      INTO next_ms FROM outbox.tick AS o WHERE o.ms >= from_ms;
    FOR t IN SELECT * FROM outbox.tick AS o WHERE o.ms >= from_ms ORDER BY o.ms LOOP
        IF t.ms = from_ms AND from_index > 0 THEN
            UPDATE outbox.tick AS o SET events = from_index WHERE o.ms = from_ms;
            t.first := t.first + from_index;
            t.events := t.events - from_index;
            t.total_before := t.total_before + from_index;
        ELSE
            DELETE FROM outbox.tick AS o WHERE o.ms = t.ms;
        END IF;
        t.ms := next_ms;
        next_ms := next_ms + 1 + (t.events >> 20);
        moved := moved + t.events;
        PERFORM outbox.ensure_tick_partition(t.ms);
        INSERT INTO outbox.tick VALUES (t.*);
    END LOOP;
    RETURN moved;
END $$;

-- ---------------------------------------------------------------------------------------------------------------------
--    Leases: who may move a checkpoint. A holder renews its leases before they expire; whoever takes one over raises its
--    epoch, so a holder that was frozen meanwhile finds that it is one no longer, here and, by the same number, in Redis.
-- ---------------------------------------------------------------------------------------------------------------------

-- The processes that would share the leases of a kind; how many there are decides how many leases each may hold.
CREATE TABLE IF NOT EXISTS outbox.member (
    kind       text NOT NULL,
    holder     text NOT NULL,
    host       text NOT NULL,
    pid        integer NOT NULL,
    joined_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (kind, holder)
) WITH (fillfactor = 10);

CREATE TABLE IF NOT EXISTS outbox.lease (
    name       text PRIMARY KEY,             -- of the checkpoint that it is for
    epoch      bigint NOT NULL DEFAULT 0,    -- grows with each holder
    holder     text,                         -- null: nobody; its last holder let go of it in good order
    expires_at timestamptz NOT NULL DEFAULT '-infinity',
    reason     text,                         -- what keeps its holder from getting on; null: nothing
    since      timestamptz                   -- how long that has been so
) WITH (fillfactor = 10);

-- Renew what `me` holds of `names`, take what is free up to a fair share, and say what it holds now. One round trip, about
-- every second. reasons, beside names: what keeps each of them from getting on. A lease that is `surplus` is to be
-- released, because another member has too few. taken_from: this lease was taken just now, from one that did not let go.
CREATE OR REPLACE FUNCTION outbox.renew_leases(
    kind text, me text, host text, pid integer, names text[], reasons text[], ttl interval
) RETURNS TABLE (name text, epoch bigint, surplus boolean, taken_from text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    my_rank    bigint;
    members    bigint;
    fair_share bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('outbox.lease', 0));
    INSERT INTO outbox.member AS m (kind, holder, host, pid, expires_at)
    VALUES (renew_leases.kind, me, renew_leases.host, renew_leases.pid, clock_timestamp() + ttl)
        ON CONFLICT ON CONSTRAINT member_pkey DO UPDATE SET expires_at = excluded.expires_at;
    DELETE FROM outbox.member AS m WHERE m.expires_at < clock_timestamp() AND m.holder <> me;
    INSERT INTO outbox.lease (name) SELECT unnest(names) ON CONFLICT DO NOTHING;

    -- In the order in which they joined, so that one that joins takes no more from the others than it must.
    SELECT count(*) FILTER (WHERE (m.joined_at, m.holder) < (mine.joined_at, mine.holder)), count(*) INTO my_rank, members
      FROM outbox.member AS m JOIN outbox.member AS mine ON mine.kind = m.kind AND mine.holder = me
     WHERE m.kind = renew_leases.kind;
    fair_share := cardinality(names) / members + (my_rank < cardinality(names) % members)::int;

    UPDATE outbox.lease AS l
       SET expires_at = clock_timestamp() + ttl, reason = r.reason,
           since = CASE WHEN l.reason IS NOT DISTINCT FROM r.reason THEN l.since WHEN r.reason IS NOT NULL THEN clock_timestamp() END
      FROM unnest(names, reasons) AS r (name, reason)
     WHERE l.name = r.name AND l.holder = me;

    RETURN QUERY
      WITH held AS (
           SELECT l.name, l.epoch FROM outbox.lease AS l WHERE l.holder = me AND l.name = ANY (names)
      ), free AS (
           SELECT l.name, l.holder FROM outbox.lease AS l
            WHERE l.name = ANY (names) AND l.holder IS DISTINCT FROM me AND (l.holder IS NULL OR l.expires_at < clock_timestamp())
            ORDER BY l.name
            LIMIT greatest(fair_share - (SELECT count(*) FROM held), 0)
      ), taken AS (
           UPDATE outbox.lease AS l
              SET holder = me, epoch = l.epoch + 1, expires_at = clock_timestamp() + ttl, reason = NULL, since = NULL
             FROM free AS f WHERE l.name = f.name
        RETURNING l.name, l.epoch, f.holder AS taken_from
      )
      SELECT h.name, h.epoch, row_number() OVER (ORDER BY h.name) > fair_share, NULL FROM held AS h
       UNION ALL
      SELECT t.name, t.epoch, false, t.taken_from FROM taken AS t;
END $$;

-- Let go of a lease in good order, so that nobody has to wait until it expires.
CREATE OR REPLACE FUNCTION outbox.release_lease(lease_name text, me text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    UPDATE outbox.lease SET holder = NULL, expires_at = '-infinity', reason = NULL, since = NULL
     WHERE name = lease_name AND holder = me
$$;

-- A higher epoch for a lease that `me` holds, when Redis knows a higher one than this database (which lost its end, or was
-- restored). Returns the new one; null when `me` does not hold it.
CREATE OR REPLACE FUNCTION outbox.raise_epoch(lease_name text, me text, above bigint) RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    UPDATE outbox.lease SET epoch = greatest(epoch, above) + 1
     WHERE name = lease_name AND holder = me
 RETURNING epoch
$$;

-- Note that everything up to (to_ms, to_seq) is done; the stream's own last ID then was (last_ms, last_seq). Refused, with
-- false, to whoever does not hold the lease in that epoch; the lease cannot be taken over before this has committed.
CREATE OR REPLACE FUNCTION outbox.move_checkpoint(
    lease_name text, me text, in_epoch bigint, to_ms bigint, to_seq bigint, last_ms bigint, last_seq bigint
) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM outbox.lease WHERE name = lease_name AND holder = me AND epoch = in_epoch FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO outbox.checkpoint AS c (name, ms, seq, end_ms, end_seq)
    VALUES (lease_name, to_ms, to_seq, last_ms, last_seq)
        ON CONFLICT (name) DO UPDATE
       SET ms = excluded.ms, seq = excluded.seq, end_ms = excluded.end_ms, end_seq = excluded.end_seq, updated_at = clock_timestamp();
    RETURN true;
END $$;

-- ---------------------------------------------------------------------------------------------------------------------
--    What cannot be published is set aside, after its attempts, so that the rest flows.
-- ---------------------------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS outbox.dead_letter (
    ms           bigint NOT NULL,
    seq          bigint NOT NULL,
    stream       text NOT NULL,
    at           timestamptz NOT NULL,
    entity       text NOT NULL,
    entity_id    text NOT NULL,
    operation    text NOT NULL,
    payload      text NOT NULL,
    traceparent  text,
    reason       text NOT NULL,
    attempts     integer NOT NULL,
    set_aside_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    settled_at   timestamptz,
    settled_by   text,  -- requeued or discarded, and by whom
    PRIMARY KEY (ms, seq)
);

-- Counted before an attempt is made, so that an event on which the process dies is counted too. One row for each stream.
CREATE TABLE IF NOT EXISTS outbox.attempt (
    stream   text PRIMARY KEY,
    start    text NOT NULL DEFAULT '',     -- the place from which it was begun after a holder that did not let go
    starts   integer NOT NULL DEFAULT 0,   -- how many times in a row
    event    text NOT NULL DEFAULT '',     -- the event that was tried alone
    attempts integer NOT NULL DEFAULT 0
) WITH (fillfactor = 10);

-- The event as it was written is put into the outbox once more, to get a new ID. Returns whether there was one to requeue.
CREATE OR REPLACE FUNCTION outbox.requeue(letter_ms bigint, letter_seq bigint, by_whom text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    letter outbox.dead_letter;
BEGIN
    UPDATE outbox.dead_letter AS d SET settled_at = clock_timestamp(), settled_by = 'requeued by ' || by_whom
     WHERE d.ms = letter_ms AND d.seq = letter_seq AND d.settled_at IS NULL
 RETURNING * INTO letter;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    EXECUTE format('INSERT INTO %s (at, entity, entity_id, operation, payload, traceparent) VALUES ($1, $2, $3, $4, $5, $6)',
                   outbox.current_partition())
      USING letter.at, letter.entity, letter.entity_id, letter.operation, letter.payload, letter.traceparent;
    IF NOT pg_try_advisory_xact_lock_shared(hashtextextended('outbox.bell', 0)) THEN
        PERFORM pg_notify('outbox.bell', '');
    END IF;
    RETURN true;
END $$;

-- ---------------------------------------------------------------------------------------------------------------------
--    Control: whether publishing is paused. Epochs: which history of which cluster the positions belong to.
-- ---------------------------------------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS outbox.control (
    single        boolean PRIMARY KEY DEFAULT true CONSTRAINT control_has_one_row CHECK (single),
    paused_at     timestamptz,
    paused_by     text,
    paused_reason text
);

-- The first epoch begins with the first publisher. Another begins when the database is not the one that it was: restored,
-- or promoted without its last transactions, while the streams kept what came after. Positions after (after_ms, after_seq)
-- and up to (until_ms, until_seq) belong to the history that was abandoned, and to none of ours.
CREATE TABLE IF NOT EXISTS outbox.epoch (
    number            integer PRIMARY KEY,
    system_identifier bigint NOT NULL,
    timeline          bigint NOT NULL,
    opened_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    opened_by         text NOT NULL,
    after_ms          bigint NOT NULL,
    after_seq         bigint NOT NULL,
    until_ms          bigint NOT NULL,
    until_seq         bigint NOT NULL,
    total_before      bigint NOT NULL  -- events of all ticks of the epochs before
);

-- Which cluster this is. The timeline is that of the write-ahead log: the control file learns of a promotion only with the
-- next checkpoint.
CREATE OR REPLACE FUNCTION outbox.identity(OUT system_identifier bigint, OUT timeline bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'this is a standby, which is nobody yet' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    SELECT c.system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint
      INTO identity.system_identifier, identity.timeline
      FROM pg_control_system() AS c;
END $$;

-- The events that stand behind the places of their streams, one for each partition, in order; from a database that was
-- restored into another cluster. Snapshots and transaction numbers of one cluster compare as they did, whatever they mean
-- here; but what was written here has ids that are higher than any that a tick has seen.
CREATE OR REPLACE FUNCTION outbox.unpublished(place_ms bigint[], place_seq bigint[]) RETURNS SETOF outbox.event
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH place AS MATERIALIZED (
         SELECT p.number - 1 AS partition, t.since, t.snapshot, t.top,
                -- The id of the last event that need not be published again.
                (SELECT w.id FROM outbox.event AS w
                  WHERE w.id <= t.top AND pg_visible_in_snapshot(w.xid, t.snapshot) AND NOT pg_visible_in_snapshot(w.xid, t.since)
                  ORDER BY w.id OFFSET t.first + least((p.ms - t.ms << 20) + p.seq, t.events - 1) LIMIT 1) AS last_id
           FROM unnest(place_ms, place_seq) WITH ORDINALITY AS p (ms, seq, number)
          CROSS JOIN LATERAL (
                SELECT o.ms, o.since, o.snapshot, o.first, o.events,
                       (SELECT max(greatest(a.id_floor, a.id_top)) FROM outbox.tick AS a WHERE a.ms <= o.ms) AS top
                  FROM outbox.tick AS o WHERE o.ms <= p.ms ORDER BY o.ms DESC LIMIT 1) AS t
    )
    SELECT e.*
      FROM outbox.event AS e
      LEFT JOIN place AS p ON p.partition = outbox.partition_of(e.entity_id, cardinality(place_ms))
     WHERE p.partition IS NULL OR e.id > p.top OR NOT pg_visible_in_snapshot(e.xid, p.snapshot)
        OR e.id > p.last_id AND NOT pg_visible_in_snapshot(e.xid, p.since)
     ORDER BY e.id
$$;

-- Begin a new epoch after number `known`; null when somebody else has begun one meanwhile, otherwise how many events were
-- written anew. What stands after (last_ms, last_seq), the last position that this database knows to be its own, up to
-- (top_ms, top_seq), where the streams have come, is abandoned; and, because nobody may know how far they had come, so is
-- all up to this moment. Not so with the first epoch.
--
-- streams, place_ms, place_seq: given where this is another cluster, in which the transaction numbers of the events, and
-- the snapshots, mean nothing. Events that stand behind the place of their stream, by partition, are written anew; the
-- others are dropped, and so are all ticks.
CREATE OR REPLACE FUNCTION outbox.open_epoch(
    known integer, by_whom text, last_ms bigint, last_seq bigint, top_ms bigint, top_seq bigint,
    streams text[] DEFAULT NULL, place_ms bigint[] DEFAULT NULL, place_seq bigint[] DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    moved    bigint := 0;
    total    bigint;
    old      regclass;
    olds     regclass[];
    now_ms   bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('outbox.tick', 0));
    IF (SELECT coalesce(max(e.number), 0) FROM outbox.epoch AS e) <> known THEN
        RETURN NULL;
    END IF;
    SELECT coalesce((SELECT t.total_before + least(t.events, (last_ms - t.ms << 20) + last_seq + 1)
                       FROM outbox.tick AS t WHERE t.ms <= last_ms ORDER BY t.ms DESC LIMIT 1),
                    (SELECT e.total_before FROM outbox.epoch AS e WHERE e.number = known), 0) INTO total;
    IF streams IS NOT NULL THEN
        olds := ARRAY(SELECT i.inhrelid::regclass FROM pg_inherits AS i WHERE i.inhparent = 'outbox.event'::regclass);
        PERFORM outbox.rotate(interval '0');
        FOREACH old IN ARRAY olds LOOP
            -- Before they are read, or what a writer commits meanwhile would go with the rest.
            EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', old);
        END LOOP;
        EXECUTE format('INSERT INTO %s (at, entity, entity_id, operation, payload, traceparent)'
                       ' SELECT u.at, u.entity, u.entity_id, u.operation, u.payload, u.traceparent FROM outbox.unpublished($1, $2) AS u',
                       outbox.current_partition())
          USING place_ms, place_seq;
        GET DIAGNOSTICS moved = ROW_COUNT;
        TRUNCATE outbox.tick;
        FOREACH old IN ARRAY olds LOOP
            -- Not dropped: a writer may stand in the queue of the lock, and retention drops it when all have gone.
            EXECUTE format('TRUNCATE %s', old);
        END LOOP;
        UPDATE outbox.checkpoint SET end_ms = 0, end_seq = 0 WHERE name = ANY (streams);
    END IF;
    IF known > 0 THEN
        now_ms := floor(extract(epoch FROM clock_timestamp()) * 1000);
        IF now_ms > top_ms THEN
            top_ms := now_ms;
            top_seq := (1 << 20) - 1;
        END IF;
    END IF;
    INSERT INTO outbox.epoch
    SELECT known + 1, i.system_identifier, i.timeline, clock_timestamp(), by_whom, last_ms, last_seq, top_ms, top_seq, total
      FROM outbox.identity() AS i;
    RETURN moved;
END $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- 3  Capture: outbox.watch(table, …) writes the trigger functions of a table, as plain SQL over its columns.
--    Statement triggers with transition tables: one INSERT into the outbox for each statement, however many rows.
-- ---------------------------------------------------------------------------------------------------------------------

-- What is watched, as it was asked for; `watch` fills it, `unwatch` removes from it.
CREATE TABLE IF NOT EXISTS outbox.watched (
    source      regclass PRIMARY KEY,
    entity      text,
    key         name NOT NULL,
    context     name[] NOT NULL,
    long        name[] NOT NULL,
    ignore      name[] NOT NULL,
    soft_delete name,
    part        text,
    part_of     regclass,
    definition  text NOT NULL,
    CONSTRAINT watched_entity_or_part CHECK ((entity IS NULL) = (part IS NOT NULL) AND (part IS NULL) = (part_of IS NULL))
);

-- duration_seconds -> durationSeconds; a name that is camelCase already stays as it is.
CREATE OR REPLACE FUNCTION outbox.camel_case(column_name name) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(CASE WHEN position = 1 THEN word ELSE upper(left(word, 1)) || substr(word, 2) END, '' ORDER BY position)
      FROM regexp_split_to_table(column_name, '(?<=[A-Za-z0-9])_+(?=[A-Za-z0-9])') WITH ORDINALITY AS w (word, position)
$$;

-- Whether values of a type that are equal are the same to the byte, where that matters to a reader of JSON.
CREATE OR REPLACE FUNCTION outbox.compares_exactly(type oid, collation_of_it oid) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT typtype = 'e' OR oid = ANY (ARRAY['boolean', 'smallint', 'integer', 'bigint', 'real', 'double precision', 'numeric', 'uuid',
                                             'date', 'time', 'timestamp', 'timestamptz', 'bytea', 'jsonb']::regtype[])
        OR oid IN ('text'::regtype, 'varchar'::regtype)
           AND (SELECT c.collisdeterministic FROM pg_collation AS c WHERE c.oid = collation_of_it)
      FROM pg_type WHERE oid = type
$$;

-- The SQL of each column of a watched table, from which `capture_sql` puts its statements together. @ stands for the
-- row: o before the statement, n after it.
CREATE OR REPLACE FUNCTION outbox.column_sql(source regclass, long name[])
RETURNS TABLE (
    name       name,
    json_key   text,  -- "key":
    comparable text,  -- what differs when the column has changed
    json_text  text,  -- its value as JSON text; null for null
    too_long   text   -- whether a payload leaves the value out; null where it never does
)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT a.attname,
           to_json(outbox.camel_case(a.attname))::text || ':',
           CASE
               WHEN outbox.compares_exactly(coalesce(element.oid, t.oid), a.attcollation) THEN format(E'\x01.%I', a.attname)
               -- By its text, which is what travels: an equality may be looser than that, or there may be none.
               ELSE format(E'\x01.%I::text COLLATE "C"', a.attname)
           END,
           CASE
               WHEN t.typname = 'jsonb' THEN format(E'\x01.%I::text', a.attname)
               -- Through jsonb, which keeps no line breaks between its values.
               WHEN t.typname = 'json' OR t.typtype = 'c' OR element.oid IS NOT NULL
               THEN format(E'to_jsonb(\x01.%I)::text', a.attname)
               ELSE format(E'to_json(\x01.%I)::text', a.attname)
           END,
           CASE
               WHEN a.attname = ANY (long) THEN format(E'\x01.%I IS DISTINCT FROM NULL', a.attname)
               WHEN t.typlen <> -1 THEN NULL
               WHEN t.typcategory = 'S' THEN format(E'octet_length(\x01.%I) > 1024', a.attname)
               ELSE format(E'octet_length(\x01.%I::text) > 1024', a.attname)
           END
      FROM pg_attribute AS a
      JOIN pg_type AS declared ON declared.oid = a.atttypid
      JOIN pg_type AS t ON t.oid = CASE declared.typtype WHEN 'd' THEN declared.typbasetype ELSE declared.oid END
      LEFT JOIN pg_type AS element ON element.oid = t.typelem AND t.typcategory = 'A'
     WHERE a.attrelid = source AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v'
     ORDER BY a.attnum
$$;

-- Where captures write: straight into the newest partition. Going through outbox.event would cost a single-row write
-- more than all the rest of its capture.
CREATE OR REPLACE FUNCTION outbox.current_partition() RETURNS regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('outbox.event_%s', max(number))::regclass FROM outbox.stretch
$$;

CREATE OR REPLACE FUNCTION outbox.checked_key(value text, source regclass) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF value COLLATE "C" ~ '[\x1e\x1f]' THEN
        RAISE EXCEPTION 'the key % of % holds a control character (U+001E or U+001F), which an event cannot carry',
            to_json(value), source USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN value;
END $$;

-- SQL of the entityId. UUIDs and numbers cannot hold the separators; other keys are looked at.
CREATE OR REPLACE FUNCTION outbox.entity_id_sql(source regclass, key name, row_alias text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format(CASE WHEN atttypid IN ('uuid'::regtype, 'bigint'::regtype, 'integer'::regtype) THEN '%s.%I::text'
                       ELSE 'outbox.checked_key(%s.%I::text, %L)' END, row_alias, key, source)
      FROM pg_attribute WHERE attrelid = source AND attname = key
$$;

-- SQL of whether rows o and n have the same entityId. Equal numbers may be written differently, as 1 and 1.0 are.
CREATE OR REPLACE FUNCTION outbox.same_key_sql(source regclass, key name) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format(CASE WHEN outbox.compares_exactly(atttypid, attcollation)
                            AND atttypid <> ALL (ARRAY['numeric', 'real', 'double precision']::regtype[])
                       THEN 'n.%1$I = o.%1$I' ELSE 'n.%1$I::text COLLATE "C" = o.%1$I::text COLLATE "C"' END, key)
      FROM pg_attribute WHERE attrelid = source AND attname = key
$$;

-- Settings of the writer's session that would show in the JSON of some column's type; most tables have no such column.
CREATE OR REPLACE FUNCTION outbox.output_settings_sql(source regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN bool_and(coalesce(element.oid, t.oid) IN ('text'::regtype, 'varchar'::regtype)
                              OR outbox.compares_exactly(coalesce(element.oid, t.oid), a.attcollation)
                                 AND coalesce(element.oid, t.oid) NOT IN ('real'::regtype, 'double precision'::regtype, 'bytea'::regtype))
                THEN ''
                ELSE ' SET DateStyle = ''ISO'' SET IntervalStyle = ''postgres'' SET extra_float_digits = 1'
                     ' SET bytea_output = ''hex''' END
      FROM pg_attribute AS a
      JOIN pg_type AS t ON t.oid = a.atttypid
      LEFT JOIN pg_type AS element ON element.oid = t.typelem AND t.typcategory = 'A'
     WHERE a.attrelid = source AND a.attnum > 0 AND NOT a.attisdropped
$$;

-- The end of every capture: ring the publisher's bell, but only while it sleeps, because a NOTIFY in every commit would
-- make commits wait for each other. It goes to sleep by taking this lock for itself, which it cannot while a transaction
-- that came through here is open: a writer either keeps it awake until the commit, or wakes it with the commit.
CREATE OR REPLACE FUNCTION outbox.ring_sql() RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT $sql$IF FOUND AND NOT pg_try_advisory_xact_lock_shared(hashtextextended('outbox.bell', 0)) THEN
        PERFORM pg_notify('outbox.bell', '');
    END IF;
    RETURN NULL;$sql$
$$;

-- A payload out of its parts, each a list of members with commas between, empty or null where there is none. Planned
-- into the statement that calls it, which is why it has no search_path of its own.
CREATE OR REPLACE FUNCTION outbox.payload(context text, fields text, omitted text, previous text) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT '{' || concat_ws(',', nullif(context, ''), nullif(fields, ''), '"$omitted":[' || nullif(omitted, '') || ']',
                            '"$previous":{' || nullif(previous, '') || '}') || '}'
$$;

-- SQL that joins members, leaving out those that are null.
CREATE OR REPLACE FUNCTION outbox.list_sql(members text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format($sql$concat_ws(',', %s)$sql$, array_to_string('NULL'::text || members, ', '))
$$;

-- The body of the trigger function for each kind of statement on a watched table; and, as kind 'backfill', the statement
-- that emit() runs for rows that are there.
CREATE OR REPLACE FUNCTION outbox.capture_sql(w outbox.watched) RETURNS TABLE (kind text, body text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c         record;
    unwatched name[] := array_remove(w.ignore || w.key || w.soft_delete, NULL);
    live      text := format(CASE WHEN w.soft_delete IS NULL THEN E'\x01.%I IS NOT NULL'
                                  ELSE E'(\x01.%I IS NOT NULL AND \x01.%I IS NULL)' END, w.key, w.soft_delete);
    live_o    text := replace(live, E'\x01', 'o');
    live_n    text := replace(live, E'\x01', 'n');
    entity_id_o text := outbox.entity_id_sql(w.source, w.key, 'o');
    entity_id_n text := outbox.entity_id_sql(w.source, w.key, 'n');
    same_key    text := outbox.same_key_sql(w.source, w.key);
    destination text := outbox.current_partition();
    old_c     text;
    new_c     text;
    differs   text;
    member    text;
    label     text;
    context   text[] := '{}';  -- members of a payload, of row @
    created   text[] := '{}';
    updated   text[] := '{}';
    previous  text[] := '{}';
    created_too_long text[] := '{}';
    updated_too_long text[] := '{}';
    one_row     text := '';    -- the same for an update of one row, as statements
    context_sql text;
    context_o   text;
    context_n   text;
BEGIN
    FOR c IN SELECT * FROM outbox.column_sql(w.source, w.long) LOOP
        old_c := replace(c.comparable, E'\x01', 'o');
        new_c := replace(c.comparable, E'\x01', 'n');
        differs := format('%s IS DISTINCT FROM %s', new_c, old_c);
        IF c.name = ANY (w.context) THEN
            member := format($sql$%L || coalesce(%s, 'null')$sql$, c.json_key, c.json_text);
            context := context || member;
            previous := previous || format('CASE WHEN %s THEN %s END', differs, replace(member, E'\x01', 'o'));
            one_row := one_row || format($sql$
            IF %s THEN previous := concat_ws(',', previous, %s); END IF;$sql$, differs, replace(member, E'\x01', 'o'));
        ELSIF c.name <> ALL (unwatched) THEN
            member := format($sql$%L || coalesce(%s, 'null')$sql$, c.json_key, replace(
                CASE WHEN c.too_long IS NULL THEN c.json_text
                     ELSE format('CASE WHEN NOT (%s) THEN %s END', c.too_long, c.json_text) END, E'\x01', 'n'));
            created := created || format('CASE WHEN n.%I IS DISTINCT FROM NULL THEN %s END', c.name, member);
            -- A row that comes back has no old values to compare with: all that is not null is new.
            updated := updated || format('CASE WHEN %s IS DISTINCT FROM CASE WHEN %s THEN %s END THEN %s END',
                                         new_c, live_o, old_c, member);
            IF c.too_long IS NOT NULL THEN
                label := rtrim(c.json_key, ':');
                c.too_long := replace(c.too_long, E'\x01', 'n');
                created_too_long := created_too_long || format('CASE WHEN %s THEN %L END', c.too_long, label);
                updated_too_long := updated_too_long || format(
                    'CASE WHEN %s THEN CASE WHEN %s IS DISTINCT FROM CASE WHEN %s THEN %s END THEN %L END END',
                    c.too_long, new_c, live_o, old_c, label);
            END IF;
            one_row := one_row || format($sql$
            IF %s THEN
                fields := concat_ws(',', fields, %s);%s
            END IF;$sql$, differs, member, CASE WHEN c.too_long IS NOT NULL THEN format($sql$
                IF %s THEN omitted := concat_ws(',', omitted, %L); END IF;$sql$, c.too_long, label) END);
        END IF;
    END LOOP;

    context_sql := outbox.list_sql(context);
    context_o := replace(context_sql, E'\x01', 'o');
    context_n := replace(context_sql, E'\x01', 'n');

    RETURN QUERY SELECT 'insert', format($body$
BEGIN
    INSERT INTO %1$s (entity, entity_id, operation, payload)
    SELECT %2$L, change.entity_id, 'create', outbox.payload(change.context, change.fields, change.omitted, NULL)
      FROM (SELECT %3$s AS entity_id, %4$s AS context, %5$s AS fields, %6$s AS omitted
              FROM new_rows AS n WHERE %7$s OFFSET 0) AS change;
    %8$s
END $body$,
        destination, w.entity, entity_id_n, context_n, outbox.list_sql(created), outbox.list_sql(created_too_long),
        live_n, outbox.ring_sql());

    -- A row is locked before its event draws an id, and until the commit, as with every writer: so of two events of one
    -- entity the later has the higher id, and nobody sees it without the earlier. What the event says is what the row held
    -- when the lock was there. In the order of the key, so that two that run at once do not lock each other out.
    RETURN QUERY SELECT 'backfill', format($sql$
    INSERT INTO %1$s (entity, entity_id, operation, payload)
    SELECT %2$L, change.entity_id, 'update', outbox.payload(change.context, change.fields, change.omitted, NULL)
      FROM (SELECT %3$s AS entity_id, %4$s AS context, %5$s AS fields, %6$s AS omitted
              FROM (SELECT * FROM %7$s AS n WHERE n.%8$I = ANY ($1::%9$s[]) AND %10$s ORDER BY n.%8$I FOR NO KEY UPDATE) AS n
            OFFSET 0) AS change$sql$,
        destination, w.entity, entity_id_n, context_n, outbox.list_sql(created), outbox.list_sql(created_too_long),
        w.source, w.key, (SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = w.source AND attname = w.key),
        live_n);

    RETURN QUERY SELECT 'delete', format($body$
BEGIN
    INSERT INTO %1$s (entity, entity_id, operation, payload)
    SELECT %2$L, %3$s, 'delete', outbox.payload(%4$s, NULL, NULL, NULL)
      FROM old_rows AS o WHERE %5$s;
    %6$s
END $body$,
        destination, w.entity, entity_id_o, context_o, live_o, outbox.ring_sql());

    -- The common update, of one row that stays alive, has a way of its own: preparing the general statement, with an
    -- expression for every column and operation, costs several times what it then does for a single row.
    -- In the general one a row is the same row while its key is; one that changed its key has no partner, and is a
    -- delete and a create, in this order. A full join has no nested loop, so a plan cached for two rows serves millions.
    RETURN QUERY SELECT 'update', format($body$
#variable_conflict use_column
DECLARE
    o        record;
    n        record;
    fields   text;
    omitted  text;
    previous text;
BEGIN
    PERFORM FROM new_rows OFFSET 1;
    IF NOT FOUND THEN
        SELECT * INTO o FROM old_rows;
        SELECT * INTO n FROM new_rows;
        IF %15$s%16$s THEN%5$s
            IF fields IS NULL AND previous IS NULL THEN
                RETURN NULL;
            END IF;
            INSERT INTO %1$s (entity, entity_id, operation, payload)
            VALUES (%6$L, %7$s, 'update', outbox.payload(%8$s, fields, omitted, previous));
            %9$s
        ELSIF n.%2$I IS NULL THEN
            RETURN NULL;
        END IF;
    END IF;

    INSERT INTO %1$s (entity, entity_id, operation, payload)
    SELECT %6$L, CASE WHEN change.is_there THEN change.new_id ELSE change.old_id END, change.operation,
           outbox.payload(change.context, CASE WHEN change.operation <> 'delete' THEN change.fields END,
                          CASE WHEN change.operation <> 'delete' THEN change.omitted END,
                          CASE WHEN change.was_there AND change.is_there THEN change.previous END)
      FROM (SELECT o.%2$I IS NOT NULL AS was_there, n.%2$I IS NOT NULL AS is_there,
                   %10$s AS old_id, %7$s AS new_id,
                   CASE WHEN n.%2$I IS NULL THEN %11$s ELSE %8$s END AS context,
                   %12$s AS fields, %13$s AS omitted, %14$s AS previous,
                   CASE WHEN %3$s AND %4$s THEN 'update' WHEN %3$s THEN 'delete' WHEN %4$s THEN 'create' END AS operation
              FROM old_rows AS o FULL JOIN new_rows AS n ON %15$s OFFSET 0) AS change
     WHERE change.operation IN ('create', 'delete') OR change.operation = 'update' AND (change.fields <> '' OR change.previous <> '')
     ORDER BY change.was_there DESC;
    %9$s
END $body$,
        destination, w.key, live_o, live_n, one_row, w.entity, entity_id_n, context_n, outbox.ring_sql(),
        entity_id_o, context_o, outbox.list_sql(updated), outbox.list_sql(updated_too_long), outbox.list_sql(previous),
        same_key, CASE WHEN w.soft_delete IS NOT NULL THEN format(' AND o.%1$I IS NULL AND n.%1$I IS NULL', w.soft_delete) END);
END $$;

-- The same for a table whose rows are a part of another entity, as the variants are of a media asset: an update of
-- that entity. Its row is locked first, as every writer of it does, so that its events keep their order; an owner
-- that is deleted, or goes in the same statement, has nothing more to say. A soft-deleted one is locked too (OFFSET 0: the
-- condition stays behind the lock): it must not come back, as it was, before this transaction has ended.
CREATE OR REPLACE FUNCTION outbox.capture_part_sql(w outbox.watched) RETURNS TABLE (kind text, body text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owner    outbox.watched;
    context  text[];
    columns  text;
    affected text;
    omitted  text := to_json(w.part)::text;
BEGIN
    SELECT * INTO owner FROM outbox.watched WHERE source = w.part_of;
    SELECT array_agg(format($sql$%L || coalesce(%s, 'null')$sql$, c.json_key, replace(c.json_text, E'\x01', 'p'))) INTO context
      FROM outbox.column_sql(w.part_of, '{}') AS c WHERE c.name = ANY (owner.context);
    SELECT string_agg(replace(c.comparable, E'\x01.', ''), ', ') INTO columns
      FROM outbox.column_sql(w.source, '{}') AS c WHERE c.name <> ALL (w.ignore || w.key);
    FOREACH kind IN ARRAY ARRAY['insert', 'delete', 'update'] LOOP
        affected := CASE kind
            WHEN 'insert' THEN 'SELECT %1$I FROM new_rows'
            WHEN 'delete' THEN 'SELECT %1$I FROM old_rows'
            ELSE 'SELECT %1$I FROM (SELECT %1$I, %2$s FROM new_rows EXCEPT ALL SELECT %1$I, %2$s FROM old_rows) AS appeared'
                 ' UNION SELECT %1$I FROM (SELECT %1$I, %2$s FROM old_rows EXCEPT ALL SELECT %1$I, %2$s FROM new_rows) AS gone'
        END;
        body := format($body$
BEGIN
    INSERT INTO %1$s (entity, entity_id, operation, payload)
    SELECT %2$L, %3$s, 'update', outbox.payload(%4$s, %5$L, %6$L, NULL)
      FROM (SELECT * FROM %7$s AS p
             WHERE p.%8$I IN (%9$s)
             ORDER BY p.%8$I OFFSET 0 FOR NO KEY UPDATE) AS p%10$s;
    %11$s
END $body$,
            outbox.current_partition(), owner.entity, outbox.entity_id_sql(owner.source, owner.key, 'p'),
            outbox.list_sql(context), omitted || ':null', omitted, owner.source, owner.key, format(affected, w.key, columns),
            CASE WHEN owner.soft_delete IS NOT NULL THEN format(' WHERE p.%I IS NULL', owner.soft_delete) END, outbox.ring_sql());
        RETURN NEXT;
    END LOOP;
END $$;

-- The name that a table's capture functions share. Names in PostgreSQL end after 63 bytes.
CREATE OR REPLACE FUNCTION outbox.capture_name(source regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN octet_length(n.nspname || c.relname) <= 45 THEN format('capture_%s_%s', n.nspname, c.relname)
                ELSE format('capture_%s_%s', left(c.relname, 10), md5(format('%s.%s', n.nspname, c.relname))) END
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = source
$$;

CREATE OR REPLACE FUNCTION outbox.refuse_truncate() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'TRUNCATE of % would remove rows without an event for each', TG_RELID::regclass
        USING ERRCODE = 'feature_not_supported',
              HINT = format('DELETE the rows, or stop the capture first: SELECT outbox.unwatch(%L);', TG_RELID::regclass);
END $$;

-- Raise an error that says what is wrong with a request to watch a table, if anything is.
CREATE OR REPLACE FUNCTION outbox.check_watch(w outbox.watched) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    unknown name;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class WHERE oid = w.source AND relkind = 'r' AND relpersistence <> 't'
                                          AND NOT relispartition) THEN
        RAISE EXCEPTION 'cannot watch %: only ordinary tables can be watched, not views, partitions or temporary tables', w.source
            USING ERRCODE = 'wrong_object_type';
    END IF;
    SELECT asked INTO unknown
      FROM unnest(array_remove(w.key || w.context || w.long || w.ignore || w.soft_delete, NULL)) AS asked
     WHERE NOT EXISTS (SELECT FROM pg_attribute
                        WHERE attrelid = w.source AND attname = asked AND attnum > 0 AND NOT attisdropped);
    IF FOUND THEN
        RAISE EXCEPTION 'cannot watch %: it has no column %', w.source, quote_ident(unknown)
            USING ERRCODE = 'undefined_column';
    END IF;
    IF w.part_of IS NOT NULL THEN
        IF NOT EXISTS (SELECT FROM outbox.watched WHERE source = w.part_of AND part_of IS NULL) THEN
            RAISE EXCEPTION 'cannot watch % as a part of %: watch that table first', w.source, w.part_of
                USING ERRCODE = 'object_not_in_prerequisite_state';
        ELSIF w.part IS NULL THEN
            RAISE EXCEPTION 'cannot watch % as a part of %: give it a name with part => …', w.source, w.part_of
                USING ERRCODE = 'invalid_parameter_value';
        ELSIF w.entity IS NOT NULL THEN
            RAISE EXCEPTION 'cannot watch % as a part of % and as entity %: it is one or the other', w.source, w.part_of, quote_literal(w.entity)
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
    ELSIF NOT EXISTS (
        SELECT FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
         WHERE i.indrelid = w.source AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indnkeyatts = 1
           AND a.attname = w.key AND a.attnotnull) THEN
        RAISE EXCEPTION 'cannot watch %: key % is neither the primary key nor unique and not null', w.source, quote_ident(w.key)
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF w.entity IS NULL OR w.entity !~ '^[A-Za-z][A-Za-z0-9_.-]{0,99}$' THEN
        RAISE EXCEPTION 'cannot watch %: entity % is not a name such as mediaAsset', w.source, quote_nullable(w.entity)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
END $$;

-- Write the trigger functions of a watched table, for the partition that is the newest now; returns what defines them. No
-- lock on the table: its triggers call the functions by name.
CREATE OR REPLACE FUNCTION outbox.write_captures(w outbox.watched) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    captured   record;
    definition text := outbox.output_settings_sql(w.source);
BEGIN
    FOR captured IN SELECT * FROM outbox.capture_sql(w) WHERE w.part_of IS NULL AND kind <> 'backfill'
                    UNION ALL SELECT * FROM outbox.capture_part_sql(w) WHERE w.part_of IS NOT NULL
    LOOP
        -- The writer needs no right on the outbox, and its own settings do not show in the JSON.
        EXECUTE format('CREATE OR REPLACE FUNCTION outbox.%I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER'
                       ' SET search_path = pg_catalog, pg_temp SET TimeZone = ''UTC''%s AS %L',
                       outbox.capture_name(w.source) || '_' || captured.kind, outbox.output_settings_sql(w.source), captured.body);
        definition := definition || captured.body;
    END LOOP;
    RETURN definition;
END $$;

-- Capture every change of a table.
--
--   entity       what its events call it, in camelCase: 'mediaAsset'
--   key          the column whose value is the event's entityId; the primary key, or unique and not null
--   context      columns that every payload carries, whatever the operation
--   long         columns whose values never travel: null in the payload and named in $omitted
--   ignore       columns whose changes raise no event
--   soft_delete  the timestamp column that deletes the row when it is set
--   part_of, part   instead of entity: the rows are a part, called `part`, of the entity in table `part_of`, and `key`
--                is the column that refers to its key; every change is an update of that entity
--
-- Call it again after ALTER TABLE … ADD or DROP COLUMN, and with other arguments to change them; a call that changes
-- nothing takes no lock on the table.
CREATE OR REPLACE FUNCTION outbox.watch(
    source regclass, entity text DEFAULT NULL, key name DEFAULT 'id', context name[] DEFAULT '{}', long name[] DEFAULT '{}',
    ignore name[] DEFAULT '{}', soft_delete name DEFAULT NULL, part text DEFAULT NULL, part_of regclass DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    w        outbox.watched;
    captured record;
BEGIN
    -- A rotation meanwhile would leave this table writing into the partition that was the newest.
    PERFORM pg_advisory_xact_lock(hashtextextended('outbox.capture', 0));
    w := ROW(source, entity, key, context, long, ignore, soft_delete, part, part_of, '');
    PERFORM outbox.check_watch(w);
    w.definition := outbox.write_captures(w);

    IF EXISTS (SELECT FROM outbox.watched AS was WHERE was IS NOT DISTINCT FROM w)
       AND 4 = (SELECT count(*) FROM pg_trigger WHERE tgrelid = source AND tgenabled <> 'D' AND tgname IN
                ('outbox_insert', 'outbox_update', 'outbox_delete', 'outbox_truncate')) THEN
        RETURN;
    END IF;
    DELETE FROM outbox.watched AS was WHERE was.source = watch.source;
    INSERT INTO outbox.watched SELECT w.*;
    FOR captured IN VALUES ('insert', 'NEW TABLE AS new_rows'), ('delete', 'OLD TABLE AS old_rows'),
                           ('update', 'OLD TABLE AS old_rows NEW TABLE AS new_rows')
    LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER %I AFTER %s ON %s REFERENCING %s FOR EACH STATEMENT EXECUTE FUNCTION outbox.%I()',
                       'outbox_' || captured.column1, captured.column1, source, captured.column2,
                       outbox.capture_name(source) || '_' || captured.column1);
    END LOOP;
    EXECUTE format('CREATE OR REPLACE TRIGGER outbox_truncate BEFORE TRUNCATE ON %s FOR EACH STATEMENT'
                   ' EXECUTE FUNCTION outbox.refuse_truncate()', source);
    -- Its parts speak of it in its name and context.
    PERFORM outbox.watch(p.source, NULL, p.key, p.context, p.long, p.ignore, p.soft_delete, p.part, p.part_of)
       FROM outbox.watched AS p WHERE p.part_of = watch.source;
END $$;

-- Stop capturing a table. Its past events stay.
CREATE OR REPLACE FUNCTION outbox.unwatch(source regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part regclass;
    kind text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('outbox.capture', 0));
    SELECT w.source INTO part FROM outbox.watched AS w WHERE w.part_of = unwatch.source;
    IF FOUND THEN
        RAISE EXCEPTION 'cannot unwatch %: % is watched as a part of it', source, part
            USING ERRCODE = 'object_in_use', HINT = format('First: SELECT outbox.unwatch(%L);', part);
    END IF;
    DELETE FROM outbox.watched AS w WHERE w.source = unwatch.source;
    FOREACH kind IN ARRAY ARRAY['insert', 'update', 'delete', 'truncate'] LOOP
        EXECUTE format('DROP TRIGGER IF EXISTS %I ON %s', 'outbox_' || kind, source);
        IF kind <> 'truncate' THEN
            EXECUTE format('DROP FUNCTION IF EXISTS outbox.%I()', outbox.capture_name(source) || '_' || kind);
        END IF;
    END LOOP;
END $$;

-- Events of rows as they are: an `update` each, with all that a `create` would carry. For a backfill, which has read the
-- keys with its caller's own rights. Rows that have gone since are left out. Returns the number of events.
--
-- It gives up after half a second of waiting for a row: in a deadlock that is before PostgreSQL would look for a victim, so
-- the victim is never a writer.
CREATE OR REPLACE FUNCTION outbox.emit(source regclass, keys text[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '500ms' SET TimeZone = 'UTC'
SET DateStyle = 'ISO' SET IntervalStyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex' AS $$
DECLARE
    w       outbox.watched;
    emitted bigint;
BEGIN
    SELECT * INTO w FROM outbox.watched AS o WHERE o.source = emit.source AND o.part_of IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'cannot emit events of %: it is not watched', source USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    EXECUTE (SELECT c.body FROM outbox.capture_sql(w) AS c WHERE c.kind = 'backfill') USING keys;
    GET DIAGNOSTICS emitted = ROW_COUNT;
    IF emitted > 0 AND NOT pg_try_advisory_xact_lock_shared(hashtextextended('outbox.bell', 0)) THEN
        PERFORM pg_notify('outbox.bell', '');
    END IF;
    RETURN emitted;
END $$;

-- How far each backfill has come, so that one that was killed goes on where it stopped.
CREATE TABLE IF NOT EXISTS outbox.backfill (
    id          bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    entity      text NOT NULL,
    condition   text NOT NULL,                  -- its WHERE; empty for all rows
    last_key    text,                           -- rows up to this one are done
    rows        bigint NOT NULL DEFAULT 0,
    events      bigint NOT NULL DEFAULT 0,      -- fewer than rows, where some were deleted meanwhile
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz
);
CREATE UNIQUE INDEX IF NOT EXISTS backfill_once_at_a_time ON outbox.backfill (entity, md5(condition)) WHERE finished_at IS NULL;

-- ---------------------------------------------------------------------------------------------------------------------
--    Partitions come ahead of what they are for, and go when all readers have passed them. `outbox.retention` calls these.
-- ---------------------------------------------------------------------------------------------------------------------

-- Open a new stretch if the newest is older than `period`, and partitions for the ticks of today and tomorrow if there are
-- none; returns the tables it made. It waits 100 ms for a lock, then fails and has changed nothing. Writers wait for none
-- of it: one that is under way ends as it began, in the stretch that was the newest then.
CREATE OR REPLACE FUNCTION outbox.rotate(period interval DEFAULT '1 day') RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
    newest outbox.stretch;
    w      outbox.watched;
    name   text;
    day_ms bigint;
    made   text[] := '{}';
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'partitions are made at READ COMMITTED only: here the snapshot is older than the lock'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('outbox.capture', 0));
    SELECT * INTO newest FROM outbox.stretch ORDER BY number DESC LIMIT 1;
    IF newest.opened_at <= clock_timestamp() - period THEN
        name := format('event_%s', newest.number + 1);
        -- Made first and attached then, because that waits for no reader and no writer.
        EXECUTE format('CREATE TABLE outbox.%I (LIKE outbox.event INCLUDING ALL)', name);
        EXECUTE format('ALTER TABLE outbox.%I ALTER stretch SET DEFAULT %s', name, newest.number + 1);
        EXECUTE format('ALTER TABLE outbox.event ATTACH PARTITION outbox.%I FOR VALUES IN (%s)', name, newest.number + 1);
        INSERT INTO outbox.stretch (number, id_floor)
        SELECT newest.number + 1, s.last_value - (NOT s.is_called)::int FROM outbox.event_id AS s;
        FOR w IN SELECT * FROM outbox.watched WHERE EXISTS (SELECT FROM pg_class WHERE oid = source) LOOP
            BEGIN
                UPDATE outbox.watched SET definition = outbox.write_captures(w) WHERE source = w.source;
            EXCEPTION WHEN syntax_error_or_access_rule_violation THEN
                -- One table that was altered, and not watched anew, holds up itself alone; retire() will name it.
                RAISE WARNING 'capture of % stays as it was: %', w.source, SQLERRM;
            END;
        END LOOP;
        made := made || name;
    END IF;
    FOR day_ms IN SELECT floor(extract(epoch FROM clock_timestamp() + n * interval '1 day') * 1000) FROM generate_series(0, 1) AS n LOOP
        name := outbox.tick_partition(day_ms);
        IF to_regclass('outbox.' || name) IS NULL THEN
            PERFORM pg_advisory_xact_lock(hashtextextended('outbox.tick', 0));  -- make_tick() makes partitions too
            PERFORM outbox.ensure_tick_partition(day_ms);
            made := made || name;
        END IF;
    END LOOP;
    RETURN made;
END $$;

-- Lock a partition and its parent, or say who is in the way. It never stands in the queue of a lock, where every reader,
-- and every writer whose session is new, would wait behind it; it looks again and again for a free moment.
CREATE OR REPLACE FUNCTION outbox.lock_partition(partition regclass, parent regclass) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    FOR attempt IN 1..50 LOOP
        BEGIN
            EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE NOWAIT', parent);
            EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE NOWAIT', partition);
            RETURN NULL;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.002);
        END;
    END LOOP;
    RETURN coalesce((SELECT string_agg(DISTINCT coalesce('process ' || l.pid, 'a prepared transaction'), ', ')
                       FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database AND d.datname = current_database()
                      WHERE l.relation IN (partition, parent) AND l.pid IS DISTINCT FROM pg_backend_pid()),
                    'others, who take turns');
END $$;

-- Take out a partition that is locked. Dropping it is left to another transaction: one that drops a file lets go of its locks
-- only when its commit is on disk, and all who need the parent would wait for that.
CREATE OR REPLACE FUNCTION outbox.take_out(partition regclass, parent regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', parent, partition);
    EXECUTE format('ALTER TABLE %s RENAME TO %I', partition, 'retired_' || (SELECT c.relname FROM pg_class AS c WHERE c.oid = partition));
END $$;

-- Whether no tick from the oldest one on, and none that is still to be made, has an event in a stretch: all are visible in
-- `since`. True only if asked while nobody can write there, so it is asked under a lock: each of these looks for one row at
-- one place of an index, which ORDER BY leaves as the only way.
CREATE OR REPLACE FUNCTION outbox.is_over(partition regclass, since pg_snapshot, since_floor bigint) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
DECLARE
    newest_id  bigint;
    newest_xid xid8;
    open       bigint;
BEGIN
    EXECUTE format('SELECT e.id FROM %s AS e ORDER BY e.id DESC LIMIT 1', partition) INTO newest_id;
    EXECUTE format('SELECT e.xid FROM %s AS e ORDER BY e.xid DESC, e.id DESC LIMIT 1', partition) INTO newest_xid;
    IF newest_id IS NULL THEN
        RETURN true;
    ELSIF newest_id <= since_floor AND newest_xid < pg_snapshot_xmax(since) THEN
        EXECUTE format('SELECT count(*) FROM pg_snapshot_xip($1) AS x CROSS JOIN LATERAL
                               (SELECT FROM %s AS e WHERE e.xid = x ORDER BY e.xid, e.id LIMIT 1) AS e', partition)
           INTO open USING since;
        RETURN open = 0;
    END IF;
    RETURN false;
END $$;

-- Take out one partition whose time has come, or drop one that was taken out, and say what holds up others. Ticks go by
-- days, when all of a day is older than `keep` and every checkpoint, and each of `readers`, which must have one, stands
-- behind it; the newest tick stays. Events follow their ticks. Call it as long as its last row has no reason, each call a
-- transaction of its own.
CREATE OR REPLACE FUNCTION outbox.retire(keep interval, readers text[] DEFAULT '{}')
RETURNS TABLE (partition text, dropped boolean, reason text, detail text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' SET enable_seqscan = off AS $$
DECLARE
    day        record;
    s          outbox.stretch;
    newest     integer;
    newest_ms  bigint;
    kept_ms    bigint;
    old_since  pg_snapshot;
    old_floor  bigint;
    under_way  text[];
    target     regclass;
    out_name   name;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'partitions are dropped at READ COMMITTED only: here the snapshot is older than the lock'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    ELSIF NOT pg_try_advisory_xact_lock(hashtextextended('outbox.retire', 0)) THEN
        RETURN;  -- Another publisher is at it.
    ELSIF NOT pg_try_advisory_xact_lock_shared(hashtextextended('outbox.capture', 0)) THEN
        -- A rotation's lock is free when all sessions have been told of its new capture functions.
        partition := 'outbox.event'; dropped := false; reason := 'capture'; detail := 'a watch() that is not committed yet';
        RETURN NEXT;
        RETURN;
    END IF;

    -- A transaction may go on with the capture function that it knows for as long as it lasts, even if it has written
    -- nothing yet: whoever is under way now is waited for. Every transaction holds a lock on its own virtual number.
    SELECT max(o.number) INTO newest FROM outbox.stretch AS o;
    under_way := ARRAY(SELECT l.virtualtransaction
                         FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid AND a.datname = current_database()
                        WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.pid <> pg_backend_pid());
    UPDATE outbox.stretch AS o
       SET writers = ARRAY(SELECT v FROM unnest(coalesce(o.writers, under_way)) AS v WHERE v = ANY (under_way))
     WHERE o.number < newest AND (o.writers IS NULL OR NOT o.writers <@ under_way);

    FOR out_name IN SELECT c.relname FROM pg_class AS c
                     WHERE c.relnamespace = 'outbox'::regnamespace AND c.relkind = 'r' AND starts_with(c.relname, 'retired_')
    LOOP
        partition := 'outbox.' || substr(out_name, 9);
        BEGIN
            EXECUTE format('DROP TABLE outbox.%I', out_name);
            dropped := true;
            RETURN NEXT;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            dropped := false; reason := 'lock'; detail := 'of ' || out_name;
            RETURN NEXT;
        END;
    END LOOP;

    SELECT t.ms INTO newest_ms FROM outbox.tick AS t ORDER BY t.ms DESC LIMIT 1;
    FOR day IN
        SELECT p.name, p.bounds[1]::bigint AS from_ms, p.bounds[2]::bigint AS to_ms
          FROM (SELECT c.oid::regclass AS name, regexp_match(pg_get_expr(c.relpartbound, c.oid), '(\d+)\D+(\d+)') AS bounds
                  FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
                 WHERE i.inhparent = 'outbox.tick'::regclass) AS p
         WHERE p.bounds[2]::bigint <= extract(epoch FROM clock_timestamp() - keep) * 1000
           AND (newest_ms >= p.bounds[1]::bigint AND newest_ms < p.bounds[2]::bigint) IS NOT TRUE
         ORDER BY from_ms
    LOOP
        partition := day.name; dropped := false; reason := NULL; detail := NULL;
        IF EXISTS (SELECT FROM outbox.tick AS t WHERE t.ms >= day.from_ms AND t.ms < day.to_ms) THEN
            SELECT t.ms INTO kept_ms FROM outbox.tick AS t WHERE t.ms >= day.to_ms ORDER BY t.ms LIMIT 1;
            SELECT CASE WHEN c.name IS NULL THEN r.name ELSE format('%s at %s-%s', c.name, c.ms, c.seq) END INTO detail
              FROM outbox.checkpoint AS c FULL JOIN unnest(readers) AS r (name) ON r.name = c.name
             WHERE coalesce(c.ms, -1) < kept_ms ORDER BY c.ms NULLS FIRST LIMIT 1;
            IF NOT FOUND AND NOT EXISTS (SELECT FROM outbox.checkpoint) THEN
                detail := 'of any reader';
            END IF;
            IF detail IS NOT NULL THEN
                reason := 'checkpoint';
                RETURN NEXT;
                EXIT;
            END IF;
        END IF;
        detail := outbox.lock_partition(day.name, 'outbox.tick');
        IF detail IS NOT NULL THEN
            reason := 'lock';
            RETURN NEXT;
            EXIT;
        END IF;
        PERFORM outbox.take_out(day.name, 'outbox.tick');
        RETURN NEXT;
        RETURN;
    END LOOP;

    SELECT t.since, t.since_floor INTO old_since, old_floor FROM outbox.tick AS t ORDER BY t.ms LIMIT 1;
    FOR s IN SELECT o.* FROM outbox.stretch AS o WHERE o.number < newest ORDER BY o.number LOOP
        partition := format('outbox.event_%s', s.number); dropped := false; reason := NULL; detail := NULL;
        target := to_regclass(partition);
        IF target IS NULL THEN
            DELETE FROM outbox.stretch AS o WHERE o.number = s.number;
            CONTINUE;
        ELSIF NOT outbox.is_over(target, old_since, old_floor) THEN
            CONTINUE;
        END IF;
        SELECT 'transaction', 'process ' || string_agg(l.pid::text, ', ') INTO reason, detail
          FROM pg_locks AS l WHERE l.locktype = 'virtualxid' AND l.virtualtransaction = ANY (s.writers) AND l.mode = 'ExclusiveLock'
        HAVING count(*) > 0;
        IF NOT FOUND THEN
            SELECT 'capture', format('trigger %I on %s', t.tgname, t.tgrelid::regclass) INTO reason, detail
              FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
             WHERE p.pronamespace = 'outbox'::regnamespace AND strpos(p.prosrc, format('INSERT INTO %s (', partition)) > 0 LIMIT 1;
        END IF;
        IF NOT FOUND THEN
            detail := outbox.lock_partition(target, 'outbox.event');
            reason := CASE WHEN detail IS NOT NULL THEN 'lock' END;
            IF reason IS NULL AND outbox.is_over(target, old_since, old_floor) THEN
                PERFORM outbox.take_out(target, 'outbox.event');
                DELETE FROM outbox.stretch AS o WHERE o.number = s.number;
                RETURN NEXT;
                RETURN;
            END IF;
        END IF;
        IF reason IS NOT NULL THEN
            RETURN NEXT;
        END IF;
    END LOOP;
END $$;

-- ---------------------------------------------------------------------------------------------------------------------
--    What of the catalog is watched.
-- ---------------------------------------------------------------------------------------------------------------------

DO $$
BEGIN
    PERFORM outbox.watch('catalog.category', entity => 'category', context => '{slug}', long => '{description}',
                        ignore => '{updated_at,created_by_admin_id,updated_by_admin_id}', soft_delete => 'deleted_at');
    PERFORM outbox.watch('catalog.series', entity => 'series', context => '{slug,category_id}', long => '{synopsis}',
                        ignore => '{updated_at,created_by_admin_id,updated_by_admin_id}', soft_delete => 'deleted_at');
    PERFORM outbox.watch('catalog.season', entity => 'season', context => '{series_id}', long => '{synopsis}',
                        ignore => '{updated_at,created_by_admin_id,updated_by_admin_id}', soft_delete => 'deleted_at');
    PERFORM outbox.watch('catalog.episode', entity => 'episode', context => '{slug,series_id,season_id}', long => '{synopsis,captions}',
                        ignore => '{updated_at,created_by_admin_id,updated_by_admin_id}', soft_delete => 'deleted_at');
    PERFORM outbox.watch('catalog.media_asset', entity => 'mediaAsset', context => '{episode_id}',
                        ignore => '{updated_at,created_by_admin_id,updated_by_admin_id}', soft_delete => 'deleted_at');
    PERFORM outbox.watch('catalog.media_asset_variant', key => 'media_asset_id', part => 'variants', part_of => 'catalog.media_asset');
END $$;

-- ---------------------------------------------------------------------------------------------------------------------
-- 4  Feed: what snapshots are made of. Items are stored as they are sent, so that a sync is a range of an index, and bytes
--    put together. The projector keeps it; whoever reads `state` and `item` in one statement has all of one position.
-- ---------------------------------------------------------------------------------------------------------------------

CREATE SCHEMA IF NOT EXISTS feed;

CREATE TABLE IF NOT EXISTS feed.item (
    kind     smallint NOT NULL CONSTRAINT item_kind_known CHECK (kind IN (1, 2)),  -- as ItemKind in proto/content.proto: series, episode
    id       uuid NOT NULL,
    version  bigint NOT NULL,    -- the position of the event that last touched it: ms << 20 | seq
    ordinal  integer NOT NULL,   -- its number among the items that the same event touched
    body     bytea,              -- as in a chunk: tag, length and CatalogFeedItem; null for one that was removed
    encoding smallint NOT NULL,  -- which version of the encoder made it
    PRIMARY KEY (kind, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
-- Compressing what is read many times, and is sent as it is, would cost each reader.
ALTER TABLE feed.item ALTER body SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX IF NOT EXISTS item_in_order ON feed.item (version, ordinal);
CREATE INDEX IF NOT EXISTS item_removed ON feed.item (version) WHERE body IS NULL;

-- PostgreSQL's calendar is longer than that of protobuf's Timestamp, and of most languages: years 1 to 9999.
CREATE OR REPLACE FUNCTION feed.representable(at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN isfinite(at) THEN least(greatest(at, '0001-01-02 00:00:00+00'), '9999-12-30 00:00:00+00') ELSE at END
$$;
CREATE OR REPLACE FUNCTION feed.representable(day date) RETURNS date
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN isfinite(day) THEN least(greatest(day, '0001-01-02'), '9999-12-30') ELSE day END
$$;

-- What all items together are: one row, written in the transaction that writes them.
CREATE TABLE IF NOT EXISTS feed.state (
    single   boolean PRIMARY KEY DEFAULT true CONSTRAINT state_has_one_row CHECK (single),
    epoch    integer NOT NULL,   -- which history the positions are of; see outbox.epoch
    version  bigint NOT NULL,    -- the items are those of this position: ms << 20 | seq
    purged   bigint NOT NULL,    -- no removal up to this one is kept; at first, the position at which the feed was built
    series   bigint NOT NULL,    -- items that are there, by kind
    episodes bigint NOT NULL,
    digest   bigint NOT NULL,    -- over kind, id and version of each of them
    encoding smallint NOT NULL,
    moved_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 10);

-- ---------------------------------------------------------------------------------------------------------------------
-- 5  Roles, without login: grant them to the users that each process connects as.
-- ---------------------------------------------------------------------------------------------------------------------

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['catalog_writer', 'catalog_viewer', 'outbox_publisher', 'feed_projector', 'feed_reader'] LOOP
        IF to_regrole(role) IS NULL THEN
            -- Roles belong to the whole server: another database's schema may be applied at this moment.
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
    END LOOP;
END $$;

REVOKE ALL ON SCHEMA catalog, outbox, feed FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA catalog, outbox FROM PUBLIC;

GRANT USAGE ON SCHEMA catalog TO catalog_writer, catalog_viewer, feed_projector, feed_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA catalog TO catalog_writer;
GRANT SELECT ON ALL TABLES IN SCHEMA catalog TO catalog_viewer, feed_projector, feed_reader;

GRANT USAGE ON SCHEMA outbox TO outbox_publisher, feed_projector, feed_reader;
GRANT SELECT ON outbox.tick TO feed_reader;
GRANT SELECT ON outbox.event, outbox.tick, outbox.event_id TO outbox_publisher, feed_projector;
GRANT INSERT ON outbox.tick TO outbox_publisher, feed_projector;
GRANT SELECT, INSERT, UPDATE ON outbox.checkpoint TO outbox_publisher, feed_projector;
GRANT SELECT ON outbox.epoch, outbox.control TO outbox_publisher, feed_projector, feed_reader;
GRANT SELECT, INSERT, UPDATE ON outbox.lease TO outbox_publisher, feed_projector;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox.member TO outbox_publisher, feed_projector;
GRANT SELECT, INSERT, UPDATE ON outbox.control, outbox.attempt, outbox.dead_letter TO outbox_publisher;
GRANT EXECUTE ON FUNCTION outbox.make_tick, outbox.ensure_tick_partition, outbox.packed, outbox.partition_of, outbox.identity, outbox.incarnation,
    outbox.renew_leases, outbox.release_lease, outbox.raise_epoch, outbox.move_checkpoint TO outbox_publisher, feed_projector;
GRANT EXECUTE ON FUNCTION outbox.renumber, outbox.requeue, outbox.open_epoch TO outbox_publisher;
GRANT SELECT ON outbox.stretch, outbox.watched TO outbox_publisher;
GRANT SELECT, INSERT, UPDATE ON outbox.backfill TO outbox_publisher;
GRANT EXECUTE ON FUNCTION outbox.rotate, outbox.retire, outbox.emit TO outbox_publisher;

GRANT USAGE ON SCHEMA feed TO feed_projector, feed_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON feed.item, feed.state TO feed_projector;
GRANT SELECT ON feed.item, feed.state TO feed_reader;
GRANT SELECT ON outbox.lease, outbox.member TO feed_reader;

COMMIT;
