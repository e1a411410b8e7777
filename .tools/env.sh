# Sourced by the scripts beside it: where downloaded and built programs are kept. internal/postgres/throwaway finds the
# servers by the same rule. The directory is outside git and may be deleted at any time; `make setup` fills it again.
#
#   $CACHE/postgres/MAJOR/bin   initdb, pg_ctl, postgres; pg_dump, psql, pgbench of a cached server version
#   $CACHE/bin                  versitygw, nats-server
#   $CACHE/tools/HASH           linters and generators, one directory per state of .tools/go.mod and Go version
#
# As root it is not below the home directory: PostgreSQL runs as the user postgres, who may not enter root's home.
if [ -n "${TIDEMARK_CACHE:-}" ]; then
	CACHE=$TIDEMARK_CACHE
elif [ "$(id -u)" = 0 ]; then
	CACHE=/var/cache/tidemark
else
	CACHE=$HOME/.cache/tidemark
fi
umask 022
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }

# as_root runs a command with the rights to install packages.
as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# take_lock NAME: two set-ups at the same time wait for each other instead of writing the same files.
take_lock() {
	mkdir -p "$CACHE"
	exec 9>"$CACHE/.$1.lock"
	flock 9
}
