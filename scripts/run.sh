#!/usr/bin/env bash
# Starts API and workers as services with Redis. A second call leaves running programs alone.
#
# Settings come from .env and the environment (see .env.example). WORKERS=2 starts two replicas.
# Redis is started here unless REDIS_URL is set; the database is SQLite unless DATABASE_URL is set.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$project"

# The programs read .env themselves. This script reads only the settings that decide what to start, and
# sets only variables that are not set.
logs=$project/logs
mkdir -p "$logs"
if [ -z "$(setting DATABASE_URL)" ]; then
    export DATABASE_URL="sqlite://$project/data/membreak.db?mode=rwc"
fi
port=$(number_setting PORT 8000)
workers=$(number_setting WORKERS 1)

need_cargo
need git git
need curl curl

if [ -z "$(setting REDIS_URL)" ]; then
    need redis-server redis-server
    if ! alive "$logs/redis.pid"; then
        redis_port=$(number_setting REDIS_PORT "$(free_port)")
        printf '%s\n' "$redis_port" >"$logs/redis.port"
        redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --appendonly no \
            --dir "$logs" >"$logs/redis.log" 2>&1 &
        echo $! >"$logs/redis.pid"
        disown
    fi
    redis_port=$(cat "$logs/redis.port")
    export REDIS_URL="redis://127.0.0.1:$redis_port/"
    wait_for 10 redis-cli -p "$redis_port" ping || die "Redis does not answer; see $logs/redis.log"
fi

say "building (the first time takes several minutes)"
cargo build --release --all-features --quiet --package api --package worker
target=${CARGO_TARGET_DIR:-$project/target}/release

# start NAME PROGRAM...: starts a program in the background, unless it runs already.
start() {
    local name=$1
    shift
    if alive "$logs/$name.pid"; then
        say "$name is already running (pid $(cat "$logs/$name.pid"))"
        return 0
    fi
    "$@" >>"$logs/$name.log" 2>&1 </dev/null &
    echo $! >"$logs/$name.pid"
    disown
    say "$name started (pid $(cat "$logs/$name.pid"), log $logs/$name.log)"
}

start api "$target/api"
base=http://127.0.0.1:$port
wait_for 30 curl -fsS "$base/health/liveness" || die "the API does not answer; see $logs/api.log"
for number in $(seq 1 "$workers"); do
    start "worker-$number" "$target/worker"
done
wait_for 30 curl -fsS "$base/health/readiness" || die "not ready; see the logs in $logs"

say "ready:   $base"
say "try:     curl $base/health/detailed"
say "docs:    $base/docs"
say "stop:    scripts/stop.sh"
