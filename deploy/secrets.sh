#!/bin/sh
# Makes what must be secret, each in a file of its own: passwords, URLs with them, tokens, Redis users, certificates.
#   deploy/secrets.sh [folder]      default: deploy/secrets, which git ignores
# POSTGRES_HOST, POSTGRES_DATABASE, POSTGRES_OPTIONS (?sslmode=verify-full), REDIS_SCHEME (rediss) and REDIS_HOST are written
# into the URLs. What is there already stays as it is.
# The certificates are for a try, signed by an authority that is thrown away: in production your own issues them.
set -eu
umask 077

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/secrets}
postgres=${POSTGRES_HOST:-postgres}
database=${POSTGRES_DATABASE:-catalog}
options=${POSTGRES_OPTIONS:-}
redis=${REDIS_HOST:-redis}
scheme=${REDIS_SCHEME:-redis}

mkdir -p "$folder"
cd "$folder"

# Letters and digits only, so that a URL holds it as it is.
new_password() { openssl rand -hex 24; }

keep() { # file, from standard input
  if [ -s "$1" ]; then
    cat >/dev/null
  else
    mkdir -p "$(dirname "$1")"
    cat >"$1"
  fi
}

postgres_user() { # folder, user, database, file of the URL
  # A URL whose password is gone is made anew, too.
  [ -s "$1/postgres-password" ] || rm -f "$1/$4"
  new_password | keep "$1/postgres-password"
  printf 'postgresql://%s:%s@%s/%s%s\n' "$2" "$(cat "$1/postgres-password")" "$postgres" "$3" "$options" | keep "$1/$4"
}

new_password | keep postgres/password
echo "$postgres" | keep postgres/host
echo postgres | keep postgres/user
postgres_user publisher publisher "$database" database-url
postgres_user snapshot-server snapshot_server "$database" database-url
postgres_user viewer viewer "$database" database-url
postgres_user admin-tools admin_tools "$database" database-url
postgres_user analytics analytics analytics consumer-database-url

users="operator publisher viewer invalidator search analytics engagement"
for user in $users; do
  [ -s "$user/redis-password" ] || rm -f "$user/redis-url" redis/users.acl
  new_password | keep "$user/redis-password"
  printf '%s://%s:%s@%s\n' "$scheme" "$user" "$(cat "$user/redis-password")" "$redis" | keep "$user/redis-url"
done
if [ ! -s redis/users.acl ]; then
  mkdir -p redis
  digests=""
  for user in $users; do
    digest=$(tr -d '\n' <"$user/redis-password" | openssl dgst -sha256 -r | cut -d ' ' -f 1)
    digests="$digests;s/#@$user@/#$digest/"
  done
  sed "$digests" "$here/redis/users.acl" | keep redis/users.acl
fi

new_password | keep snapshot-server/service-auth-token
keep search/service-auth-token <snapshot-server/service-auth-token
new_password | keep viewer/service-auth-token
new_password | keep invalidator/cache-purge-secret
new_password | keep grafana/password

if [ ! -s tls/ca.crt ]; then
  mkdir -p tls
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj "/CN=throw-away authority" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign" \
    -keyout tls/ca.key -out tls/ca.crt 2>/dev/null
fi

certificate() { # folder, usage, names
  [ ! -s "$1/tls.crt" ] || return 0
  mkdir -p "$1"
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
    -keyout "$1/tls.key" -out tls/request 2>/dev/null
  printf 'basicConstraints=critical,CA:FALSE\nextendedKeyUsage=%s\nsubjectAltName=%s\n' "$2" "$3" >tls/extensions
  openssl x509 -req -in tls/request -CA tls/ca.crt -CAkey tls/ca.key -CAcreateserial -days 30 \
    -extfile tls/extensions -out "$1/tls.crt" 2>/dev/null
  cp tls/ca.crt "$1/ca.crt"
  rm -f tls/request tls/extensions
}

certificate envoy serverAuth "DNS:snapshot-server,DNS:localhost,IP:127.0.0.1"
certificate search clientAuth "DNS:search-service"

# Containers read them as a user of their own; on this machine only the owner can enter the folder.
chmod 700 .
find . -mindepth 1 -type d -exec chmod 755 {} +
find . -type f ! -name ca.key -exec chmod 444 {} +
chmod 400 tls/ca.key
echo "Secrets are in $(pwd)" >&2
