#!/usr/bin/env bash
# Stops the programs of scripts/run.sh. Workers stop first: they finish or release their jobs.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

logs=$project/logs

gone() { ! kill -0 "$1" 2>/dev/null; }

# stop NAME SECONDS: sends SIGTERM, waits, and kills a program that does not stop.
stop() {
    local name=$1 seconds=$2 file=$logs/$1.pid pid
    if ! alive "$file"; then
        rm -f "$file"
        return 0
    fi
    pid=$(cat "$file")
    kill -TERM "$pid" 2>/dev/null || true
    if wait_for "$seconds" gone "$pid"; then
        say "$name stopped"
    else
        kill -KILL "$pid" 2>/dev/null || true
        say "$name did not stop within $seconds s and was killed"
    fi
    rm -f "$file"
}

drain=${DRAIN_SECONDS:-30}
# All workers drain at the same time.
for file in "$logs"/worker-*.pid; do
    if alive "$file"; then
        kill -TERM "$(cat "$file")" 2>/dev/null || true
    fi
done
for file in "$logs"/worker-*.pid; do
    [ -e "$file" ] || continue
    stop "$(basename "$file" .pid)" $((${drain%.*} + 15))
done
stop api 20
stop redis 10
