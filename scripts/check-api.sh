#!/usr/bin/env bash
# Checks the running API against its OpenAPI document with Schemathesis: every operation, all checks.
# Exits with 1 if a response is a server error, is not described, or does not match its description.
#
#   scripts/check-api.sh [--prepare]      --prepare only installs the tools
#
# The service has tasks, runs, scores, files, dead jobs and a worker (api/examples/furnish.rs). It uses
# its own PostgreSQL and Redis if they are installed, otherwise SQLite and no Redis.
#
# CHECK_SECONDS (60; nightly 600) and CHECK_SEED (1) set duration and seed. CHECK_DATABASE_URL names
# another database, CHECK_BUILD a folder with the programs `api` and `examples/furnish`.
#
# The check `use_after_free` is off below tasks: deleting a task cancels it, as in the first service, so
# it can still be read (scripts/schemathesis.toml).
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$project"

version=4.32.5
tools=$project/target/schemathesis
# The tool has an absolute path to its interpreter: in a moved folder it exists but does not start.
if [ "$(cat "$tools/version" 2>/dev/null)" != "$version" ] ||
    ! "$tools/bin/schemathesis" --version >/dev/null 2>&1; then
    need python3 python3
    # Debian's Python has no venv by default.
    python3 -c 'import ensurepip, venv' 2>/dev/null || install_package python3-venv
    rm -rf "$tools"
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
    printf '%s' "$version" >"$tools/version"
fi
[ "${1:-}" != --prepare ] || exit 0

scratch=$(mktemp -d)
chmod 755 "$scratch"
api_pid='' redis_pid='' postgres_pid=''
# shellcheck disable=SC2317  # called by the trap
cleanup() {
    for pid in $api_pid $redis_pid $postgres_pid; do
        kill -INT "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$scratch"
}
trap cleanup EXIT

build=${CHECK_BUILD:-${CARGO_TARGET_DIR:-$project/target}/debug}
[ -n "${CHECK_BUILD:-}" ] || cargo build --quiet --all-features --package api --bin api --example furnish

unset REDIS_URL
if command -v redis-server >/dev/null; then
    redis_port=$(free_port)
    redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --appendonly no --dir "$scratch" \
        >"$scratch/redis.log" 2>&1 &
    redis_pid=$!
    wait_for 10 redis-cli -p "$redis_port" ping || die "Redis does not answer"
    export REDIS_URL=redis://127.0.0.1:$redis_port/
fi

initdb=$(find /usr/lib/postgresql -path '*/bin/initdb' 2>/dev/null | sort -V | tail -n 1)
DATABASE_URL="sqlite://$scratch/check.db?mode=rwc"
if [ -n "${CHECK_DATABASE_URL:-}" ]; then
    DATABASE_URL=$CHECK_DATABASE_URL
elif [ -n "$initdb" ]; then
    bin=$(dirname "$initdb")
    as_postgres=()
    [ "$(id -u)" != 0 ] || as_postgres=(setpriv --reuid=postgres --regid=postgres --clear-groups --)
    mkdir "$scratch/postgres"
    [ "$(id -u)" != 0 ] || chown postgres "$scratch/postgres"
    (
        cd "$scratch/postgres"
        "${as_postgres[@]}" "$initdb" -D "$scratch/postgres/data" -U postgres -A trust -E UTF8 \
            >"$scratch/initdb.log" 2>&1
    ) || die "could not create a database: $(cat "$scratch/initdb.log")"
    postgres_port=$(free_port)
    "${as_postgres[@]}" "$bin/postgres" -D "$scratch/postgres/data" -p "$postgres_port" -h 127.0.0.1 \
        -c unix_socket_directories= -c fsync=off >"$scratch/postgres.log" 2>&1 &
    postgres_pid=$!
    wait_for 30 "$bin/pg_isready" -h 127.0.0.1 -p "$postgres_port" -U postgres ||
        die "PostgreSQL does not answer: $(cat "$scratch/postgres.log")"
    DATABASE_URL=postgres://postgres@127.0.0.1:$postgres_port/postgres
fi
export DATABASE_URL STORAGE_DIR=$scratch/storage

port=$(free_port)
PORT=$port LOG_LEVEL=warn RATE_LIMIT_PER_MINUTE=0 MAX_ACTIVE_TASKS=0 "$build/api" \
    >"$scratch/api.log" 2>&1 &
api_pid=$!
base=http://127.0.0.1:$port
wait_for 60 curl -fsS "$base/health/readiness" || die "the API does not answer: $(cat "$scratch/api.log")"
"$build/examples/furnish" >"$scratch/ids.json"

ended=0 seconds=${CHECK_SECONDS:-60}
(
    # The tool leaves files in its working folder.
    cd "$scratch"
    export CHECK_IDS=$scratch/ids.json PYTHONPATH=$project/scripts/check SCHEMATHESIS_HOOKS=hooks
    "$tools/bin/schemathesis" --config-file "$project/scripts/schemathesis.toml" run \
        "$base/openapi.json" --max-time "$seconds" --seed "${CHECK_SEED:-1}" \
        --request-timeout 20 --max-examples "${CHECK_EXAMPLES:-$((seconds > 60 ? 500 : 50))}" --no-color
) || ended=$?
if grep -E ' (ERROR|panicked)' "$scratch/api.log"; then
    ended=1
fi
say "on ${DATABASE_URL%%:*}, $([ -n "$redis_pid" ] && echo with || echo without) Redis, $(
    curl -fsS "$base/metrics" | awk '/^membreak_http_requests_total/ && / /{ n += $2 } END { print n + 0 }'
) requests"
exit "$ended"
