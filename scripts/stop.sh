#!/usr/bin/env bash
# Stops what scripts/run.sh started: workers first, which finish or hand back what they hold.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

logs=$project/logs

gone() { ! kill -0 "$1" 2>/dev/null; }

# stop NAME SECONDS: asks, waits, and ends what does not listen.
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
