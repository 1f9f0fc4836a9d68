#!/usr/bin/env bash
# Measures the API on PostgreSQL with 10,000 tasks, beside pgbench with the same statements.
#
#   scripts/bench-api.sh [--json] [--sse-only | --no-sse] [--without-indexes]
#
# get, leaderboard and list are measured a second time, once, without every index but those of keys (in
# about a minute more): what is left of the factor is not the indexes'. --without-indexes measures
# everything so. Ends with 1 where a request failed.
#
# Per operation: the median of REPEATS (3) runs of DURATION (10) seconds of `wrk -t1 -c16` after a
# warm-up, and of pgbench right after each of them with as many connections. Settings of PostgreSQL are its defaults.
# BENCH_BUILD names a folder with the programs `api` and `examples/sse_clients` instead of a build.
# The factor is over the first service, as measured on another day (see docs/explanation/performance.md).
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$project"

json="" without_indexes="" operations="health get leaderboard list artifacts create"
sse=yes
for option in "$@"; do
    case $option in
    --json) json=yes ;;
    --sse-only) operations= ;;
    --no-sse) sse= ;;
    --without-indexes) without_indexes=yes ;;
    *) die "unknown option $option" ;;
    esac
done
duration=${DURATION:-10} repeats=${REPEATS:-3} clients=${CLIENTS:-10000}

need_cargo
need wrk wrk
need jq jq
need redis-server redis-server
postgres_bin() { find /usr/lib/postgresql -path '*/bin/initdb' 2>/dev/null | sort -V | tail -n 1; }
[ -n "$(postgres_bin)" ] || need initdb postgresql
bin=$(dirname "$(postgres_bin)")

target=${BENCH_BUILD:-${CARGO_TARGET_DIR:-$project/target}/production}
if [ -z "${BENCH_BUILD:-}" ]; then
    say "building"
    cargo build --profile production --quiet --package api --bin api --example sse_clients
fi

scratch=$(mktemp -d)
chmod 755 "$scratch"
postgres_pid='' api_pid='' redis_pid=''
# shellcheck disable=SC2317  # called by the trap
cleanup() {
    for pid in $api_pid $redis_pid $postgres_pid; do
        kill -INT "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$scratch"
}
trap cleanup EXIT

as_postgres=()
[ "$(id -u)" != 0 ] || as_postgres=(setpriv --reuid=postgres --regid=postgres --clear-groups --)
mkdir "$scratch/postgres"
[ "$(id -u)" != 0 ] || chown postgres "$scratch/postgres"
port=$(free_port)
(
    cd "$scratch/postgres"
    "${as_postgres[@]}" "$bin/initdb" -D "$scratch/postgres/data" -U postgres -A trust -E UTF8 \
        >"$scratch/initdb.log" 2>&1
) || die "a database cannot be made: $(cat "$scratch/initdb.log")"
"${as_postgres[@]}" "$bin/postgres" -D "$scratch/postgres/data" -p "$port" -h 127.0.0.1 \
    -c unix_socket_directories= -c "log_statement=${LOG_STATEMENTS:-none}" \
    >"$scratch/postgres.log" 2>&1 &
postgres_pid=$!
answers() { "$bin/pg_isready" -h 127.0.0.1 -p "$port" -U postgres; }
wait_for 30 answers || die "PostgreSQL does not answer: $(cat "$scratch/postgres.log")"
export PGHOST=127.0.0.1 PGPORT=$port PGUSER=postgres PGDATABASE=postgres

ulimit -n "$(ulimit -Hn)"
api_port=$(free_port)
base=http://127.0.0.1:$api_port
# start_api [VARIABLE=VALUE...]: the API without limits.
start_api() {
    env -u REDIS_URL DATABASE_URL="postgres://postgres@127.0.0.1:$port/postgres" \
        STORAGE_DIR="$scratch/storage" PORT="$api_port" LOG_LEVEL=warn RATE_LIMIT_PER_MINUTE=0 \
        MAX_ACTIVE_TASKS=0 "$@" "$target/api" >"$scratch/api.log" 2>&1 &
    api_pid=$!
    wait_for 30 curl -fsS "$base/health/readiness" ||
        die "the API does not answer: $(cat "$scratch/api.log")"
}
start_api
psql -q -v ON_ERROR_STOP=1 -f scripts/bench/seed.sql -c CHECKPOINT
# of_indexes EXPRESSION: one line of SQL per index that is no key's.
of_indexes() {
    psql -qAt -c "SELECT $1 FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
        WHERE relnamespace = 'public'::regnamespace AND NOT indisprimary AND NOT indisunique"
}
drop_indexes() {
    of_indexes "pg_get_indexdef(indexrelid) || ';'" >"$scratch/indexes.sql"
    of_indexes "format('DROP INDEX %s;', indexrelid::regclass)" | psql -q -v ON_ERROR_STOP=1
}
[ -z "$without_indexes" ] || drop_indexes
psql -qAt -c 'SELECT id FROM task' >"$scratch/ids"

memory() { awk -v name="$1:" '$1 == name { printf "%.1f", $2 / 1024 }' "/proc/$api_pid/status"; }

# wrk_once OPERATION SECONDS: one line of JSON.
wrk_once() {
    OPERATION=$1 IDS=$scratch/ids wrk -t1 -c16 -d"$2s" -s scripts/bench/wrk.lua "$base" |
        sed -n 's/^JSON //p'
}

# pgbench_once OPERATION: transactions per second with the statements of the operation.
pgbench_once() {
    local script=scripts/bench/$1.sql
    [ -f "$script" ] || { echo null && return; }
    "$bin/pgbench" -n -M prepared -c16 -j1 -T "$duration" -f "$script" 2>/dev/null |
        sed -n 's/^tps = \([0-9.]*\).*/\1/p'
}

printf '%s\n' '{"health": {"rps": 1455}, "artifacts": {"p50_ms": 9}, "get": {"rps": 306, "factor": 30},
    "leaderboard": {"rps": 23.8, "factor": 150}, "list": {"rps": 1.6, "factor": 1000},
    "create": {"rps": 49.9, "factor": 40}}' >"$scratch/first.json"
: >"$scratch/rows"
# measure OPERATION REPEATS INDEXES: a row; INDEXES says whether they are there. Without them it is the API
# alone.
measure() {
    local operation=$1 tps
    wrk_once "$operation" 2 >/dev/null
    : >"$scratch/runs"
    : >"$scratch/tps"
    for _ in $(seq "$2"); do
        wrk_once "$operation" "$duration" >>"$scratch/runs"
        if [ "$3" = true ]; then pgbench_once "$operation"; else echo null; fi >>"$scratch/tps"
    done
    tps=$(jq -s 'sort | .[length / 2 | floor]' "$scratch/tps")
    jq -cs --arg name "$operation" --argjson tps "$tps" --argjson indexes "$3" --slurpfile first "$scratch/first.json" '
        (sort_by(.rps) | .[length / 2 | floor]) as $median | $first[0][$name] as $earlier
        | (map(.failed) | add) as $failed
        | {operation: $name, indexes: $indexes, rps: $median.rps, p50_ms: $median.p50_ms, p99_ms: $median.p99_ms,
           failed: $failed, pgbench_tps: $tps,
           of_pgbench: (if $tps then $median.rps / $tps else null end),
           factor: (if $earlier.rps then $median.rps / $earlier.rps
                    else $earlier.p50_ms / $median.p50_ms end),
           target_factor: $earlier.factor,
           met: (if $failed > 0 then false elif $earlier.factor then $median.rps >= $earlier.factor * $earlier.rps
                 and ($tps == null or $median.rps >= $tps / 2) else null end)}' \
        "$scratch/runs" >>"$scratch/rows"
}
indexes=true
[ -z "$without_indexes" ] || indexes=false
for operation in $operations; do
    if [ "$operation" = create ] && [ "$indexes" = true ]; then
        # Before there are more tasks than those that the figures are about.
        drop_indexes
        for other in get leaderboard list; do
            say "$other, without indexes"
            measure "$other" 1 false
        done
        psql -q -v ON_ERROR_STOP=1 -f "$scratch/indexes.sql" -c 'VACUUM ANALYZE'
    fi
    say "$operation"
    measure "$operation" "$repeats" "$indexes"
done
under_load=$(memory VmRSS) peak=$(memory VmHWM)

streams=null
if [ -n "$sse" ]; then
    say "$clients clients that follow a task"
    # With a Redis, over which the API hears of what workers write.
    redis_port=$(free_port)
    redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --appendonly no --dir "$scratch" \
        >"$scratch/redis.log" 2>&1 &
    redis_pid=$!
    wait_for 10 redis-cli -p "$redis_port" ping || die "Redis does not answer"
    kill -INT "$api_pid"
    wait "$api_pid" || true
    start_api "REDIS_URL=redis://127.0.0.1:$redis_port/"
    streams=$("$target/examples/sse_clients" --api "127.0.0.1:$api_port" --pid "$api_pid" \
        --database "postgres://postgres@127.0.0.1:$port/postgres" \
        --redis "redis://127.0.0.1:$redis_port/" --clients "$clients")
fi

result=$(jq -cs --argjson rss "$under_load" --argjson peak "$peak" --argjson streams "$streams" '
    {operations: ., memory_mib: {resident: $rss, peak: $peak, met: ($rss < 40)}, streams: $streams}' \
    "$scratch/rows")
if [ -n "$json" ]; then
    printf '%s\n' "$result"
else
    printf '%-23s %8s %8s %8s %7s %10s %6s %8s %7s %s\n' operation req/s 'p50 ms' 'p99 ms' failed \
        pgbench/s 'of it' factor target met
    jq -r '.operations[] | [.operation + (if .indexes then "" else ", no index" end), (.rps | floor), .p50_ms, .p99_ms, .failed, (.pgbench_tps // "-"),
        (if .of_pgbench then "\(.of_pgbench * 100 | floor) %" else "-" end),
        "\(.factor | floor) x", (if .target_factor then "\(.target_factor) x" else "-" end),
        (if .met == null then "-" elif .met then "met" else "MISSED" end)] | @tsv' <<<"$result" |
        while IFS=$'\t' read -r a b c d e f g h i j; do
            printf '%-23s %8s %8s %8s %7s %10.0f %6s %8s %7s %s\n' "$a" "$b" "$c" "$d" "$e" "${f/-/0}" \
                "$g" "$h" "$i" "$j"
        done
    jq -r '"resident after the load: \(.memory_mib.resident) MiB (peak \(.memory_mib.peak)), target < 40: \(
        if .memory_mib.met then "met" else "MISSED" end)"' <<<"$result"
    jq -r '.streams // empty | "streams: \(.clients) clients, \(.bytes_per_client) bytes each, delay p50 \(
        .p50_ms) ms, p99 \(.p99_ms) ms (targets < 30000 bytes, < 250 ms)"' <<<"$result"
fi
failed=$(jq '[.operations[].failed] | add // 0' <<<"$result")
[ "$failed" = 0 ] || die "$failed requests failed: the figures say nothing"
