-- Users for the processes: each is a member of the roles that schema.sql gives it, and of nothing else.
-- Run by psql with the variable "secrets": a folder with <process>/postgres-password. May be run again, which sets the passwords anew.

\set publisher `cat :secrets/publisher/postgres-password`
\set snapshot_server `cat :secrets/snapshot-server/postgres-password`
\set viewer `cat :secrets/viewer/postgres-password`
\set admin_tools `cat :secrets/admin-tools/postgres-password`
\set analytics `cat :secrets/analytics/postgres-password`

SELECT format('CREATE ROLE %I', name)
  FROM unnest('{publisher,snapshot_server,viewer,admin_tools,analytics}'::text[]) AS name
 WHERE to_regrole(name) IS NULL
\gexec

-- SCRAM, whatever the server's default is; and no password in its log.
SET password_encryption = 'scram-sha-256';
DO $$
BEGIN
    SET log_statement = 'none';
    SET log_min_duration_statement = -1;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'log_statement is left as it is: with "ddl" or "all" the server logs the passwords';
END $$;

ALTER ROLE publisher LOGIN CONNECTION LIMIT 60 PASSWORD :'publisher';
ALTER ROLE snapshot_server LOGIN CONNECTION LIMIT 120 PASSWORD :'snapshot_server';
ALTER ROLE viewer LOGIN CONNECTION LIMIT 120 PASSWORD :'viewer';
ALTER ROLE admin_tools LOGIN CONNECTION LIMIT 60 PASSWORD :'admin_tools';
ALTER ROLE analytics LOGIN CONNECTION LIMIT 20 PASSWORD :'analytics';

GRANT outbox_publisher TO publisher;
GRANT feed_projector, feed_reader TO snapshot_server;
GRANT catalog_viewer TO viewer;
GRANT catalog_writer TO admin_tools;

-- Nobody else comes in.
REVOKE CONNECT, TEMPORARY ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO publisher, viewer, admin_tools;
-- The projector spreads what is touched in a temporary table.
GRANT CONNECT, TEMPORARY ON DATABASE :"DBNAME" TO snapshot_server;

-- The reference consumer "analytics" keeps its figures in a database of its own.
SELECT 'CREATE DATABASE analytics OWNER analytics'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'analytics')
\gexec
REVOKE CONNECT, TEMPORARY ON DATABASE analytics FROM PUBLIC;
