#!/usr/bin/env bash
# Tries the running API against its own description with Schemathesis: every operation, with all its
# checks but one: to delete a task is to cancel it, as it was with the first service, so it can still be
# looked at. Ends with 1 where an answer is a server's fault, undescribed, or not of the described shape.
#
#   scripts/check-api.sh [--prepare]      --prepare installs what is needed and does nothing else
#
# CHECK_SECONDS (60) and CHECK_SEED (1) say how long and from where; CHECK_DATABASE_URL a database other
# than an SQLite file; CHECK_API a program other than the debug build.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$project"

version=4.32.5
tools=$project/target/schemathesis
if [ ! -x "$tools/bin/schemathesis" ] || [ "$(cat "$tools/version" 2>/dev/null)" != "$version" ]; then
    need python3 python3
    # Debian's Python comes without what makes environments.
    python3 -c 'import ensurepip, venv' 2>/dev/null || install_package python3-venv
    rm -rf "$tools"
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
    printf '%s' "$version" >"$tools/version"
fi
[ "${1:-}" != --prepare ] || exit 0

scratch=$(mktemp -d)
api_pid=
# shellcheck disable=SC2317  # called by the trap
cleanup() {
    if [ -n "$api_pid" ]; then
        kill -INT "$api_pid" 2>/dev/null || true
        wait "$api_pid" 2>/dev/null || true
    fi
    rm -rf "$scratch"
}
trap cleanup EXIT

program=${CHECK_API:-${CARGO_TARGET_DIR:-$project/target}/debug/api}
[ -n "${CHECK_API:-}" ] || cargo build --quiet --package api
port=$(free_port)
env -u REDIS_URL DATABASE_URL="${CHECK_DATABASE_URL:-sqlite://$scratch/check.db?mode=rwc}" \
    STORAGE_DIR="$scratch/storage" PORT="$port" LOG_LEVEL=warn RATE_LIMIT_PER_MINUTE=0 \
    MAX_ACTIVE_TASKS=0 "$program" >"$scratch/api.log" 2>&1 &
api_pid=$!
base=http://127.0.0.1:$port
wait_for 60 curl -fsS "$base/health/readiness" || die "the API does not answer: $(cat "$scratch/api.log")"

ended=0
(
    # It leaves files of its own where it runs.
    cd "$scratch"
    "$tools/bin/schemathesis" --config-file "$project/scripts/schemathesis.toml" run \
        "$base/openapi.json" --checks all --max-time "${CHECK_SECONDS:-60}" --seed "${CHECK_SEED:-1}" \
        --request-timeout 20 --max-examples "${CHECK_EXAMPLES:-50}" --no-color \
        --exclude-checks use_after_free
) || ended=$?
if grep -E ' (ERROR|panicked)' "$scratch/api.log"; then
    ended=1
fi
exit "$ended"
