#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A private PostgreSQL cluster for tests: on a Unix socket alone, in a scratch directory, without fsync. Everybody who
# can reach the directory (mode 0711, socket 0777) may log in as any role: it holds nothing but test data.
#
#   private_postgres.sh start DIR [-c name=value …]   initdb where DIR/data is missing; prints "host=DIR/run dbname=chancery user=owner"
#   private_postgres.sh stop DIR                      at once, without a checkpoint
#   private_postgres.sh restart DIR
#
# The database `chancery` belongs to the superuser `owner`. PostgreSQL refuses to run as root, so root becomes `postgres`.
set -eu

usage() {
	sed -n '3,10s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

find_binaries() {
	newest=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5 -n | tail -1)
	[ -n "$newest" ] || newest=$(pg_config --bindir)
	[ -x "$newest/initdb" ] || { echo "private_postgres: no initdb in '$newest'" >&2; exit 1; }
	echo "$newest"
}

# Runs a program as a user that PostgreSQL accepts.
as_server_user() {
	if [ "$(id -u)" -eq 0 ]; then
		(cd "$dir" && exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$@")
	else
		(cd "$dir" && exec "$@")
	fi
}

start() {
	mkdir -p "$dir/run"
	[ "$(id -u)" -ne 0 ] || chown postgres: "$dir" "$dir/run"
	chmod 0711 "$dir" "$dir/run"
	[ -f "$dir/data/PG_VERSION" ] ||
		as_server_user "$bin/initdb" -D "$dir/data" -U owner -A trust -E UTF8 --locale=C --no-sync >"$dir/initdb.log" 2>&1 ||
		{ cat "$dir/initdb.log" >&2; exit 1; }
	options="-k '$dir/run' -c listen_addresses='' -c fsync=off -c max_connections=60 -c shared_buffers=32MB"
	for word in "$@"; do
		options="$options '$word'"
	done
	as_server_user "$bin/pg_ctl" -D "$dir/data" -l "$dir/data/server.log" -w -t 60 -s -o "$options" start ||
		{ cat "$dir/data/server.log" >&2; exit 1; }
	exists=$("$bin/psql" -h "$dir/run" -U owner -d postgres -XAtc "SELECT 1 FROM pg_database WHERE datname = 'chancery'")
	[ -n "$exists" ] || PGOPTIONS='-c default_transaction_read_only=off' "$bin/createdb" -h "$dir/run" -U owner chancery
	echo "host=$dir/run dbname=chancery user=owner"
}

[ $# -ge 2 ] || usage
action=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
shift 2
bin=$(find_binaries)
case $action in
start) start "$@" ;;
stop) as_server_user "$bin/pg_ctl" -D "$dir/data" -m immediate -s stop ;;
restart) as_server_user "$bin/pg_ctl" -D "$dir/data" -l "$dir/data/server.log" -m fast -w -t 60 -s restart ;;
*) usage ;;
esac
