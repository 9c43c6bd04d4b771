-- The catalog as it was at any snapshot: every version of every row, written in the writer's own transaction. A row's versions
-- are in the order of seq, because a writer holds the row's lock when it draws one.
CREATE SCHEMA past;
CREATE SEQUENCE past.seq;

CREATE FUNCTION past.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('INSERT INTO past.%I SELECT ($1).*, nextval(''past.seq''), pg_current_xact_id(), $2', TG_TABLE_NAME || '_version')
      USING CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END, TG_OP = 'DELETE';
    RETURN NULL;
END $$;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['category', 'series', 'season', 'episode', 'media_asset', 'media_asset_variant'] LOOP
        EXECUTE format('CREATE TABLE past.%I (LIKE catalog.%I)', name || '_version', name);
        EXECUTE format('ALTER TABLE past.%I ADD seq bigint, ADD xid xid8, ADD gone boolean', name || '_version');
        EXECUTE format('CREATE TRIGGER past AFTER INSERT OR UPDATE OR DELETE ON catalog.%I FOR EACH ROW EXECUTE FUNCTION past.note()', name);
        EXECUTE format($view$
            CREATE VIEW past.%I AS
            SELECT * FROM (
                   SELECT DISTINCT ON (id) * FROM past.%I
                    WHERE pg_visible_in_snapshot(xid, current_setting('past.snapshot')::pg_snapshot)
                    ORDER BY id, seq DESC) AS newest
             WHERE NOT gone
            $view$, name, name || '_version');
    END LOOP;
END $$;

-- From the newest tick on all stays. To be called while nobody asks for an earlier one any more.
CREATE FUNCTION past.forget() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['category', 'series', 'season', 'episode', 'media_asset', 'media_asset_variant'] LOOP
        -- Later ones may be there: what no event tells of makes no tick.
        EXECUTE format('DELETE FROM past.%I AS v USING (
                               SELECT id, max(seq) AS seq FROM past.%I
                                WHERE pg_visible_in_snapshot(xid, (SELECT t.snapshot FROM outbox.tick AS t ORDER BY t.ms DESC LIMIT 1))
                                GROUP BY id) AS newest
                         WHERE v.id = newest.id AND v.seq < newest.seq',
                       name || '_version', name || '_version');
    END LOOP;
END $$;
