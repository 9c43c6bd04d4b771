#!/bin/sh
# Applies schema.sql and the processes' users, as PGUSER at PGHOST. May be run again at any time.
# SCHEMA, LOGINS: the files; SECRETS: a folder with <process>/postgres-password; CDN_BASE_URL: where manifests must be.
set -eu

if [ -n "${PGPASSWORD_FILE:-}" ]; then
  PGPASSWORD=$(cat "$PGPASSWORD_FILE")
  export PGPASSWORD
fi
for name in publisher snapshot-server viewer admin-tools analytics; do
  if [ ! -s "$SECRETS/$name/postgres-password" ]; then
    echo "$SECRETS/$name/postgres-password is not there or empty" >&2
    exit 2
  fi
done

psql --no-psqlrc --quiet --output=/dev/null --set=ON_ERROR_STOP=1 --set=secrets="$SECRETS" --file="$SCHEMA" --file="$LOGINS"
if [ -n "${CDN_BASE_URL:-}" ]; then
  echo "SELECT catalog.set_cdn_base_url(:'cdn')" |
    psql --no-psqlrc --quiet --output=/dev/null --set=ON_ERROR_STOP=1 --set=cdn="$CDN_BASE_URL"
fi
echo "The schema is applied, and each process has its user."
