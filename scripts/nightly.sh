#!/usr/bin/env bash
# Runs the long checks, which are not part of test.sh: all mutants, a long check of the API, and the
# benchmarks of the instrument. Prints one line of counts at the end.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$project"

need_cargo
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

passed=0 failed=0
# check NAME COMMAND...: one check that passes or fails as a whole.
check() {
    local name=$1
    shift
    say "== $name"
    if "$@" 2>&1 | tee "$scratch/check.log" >&2; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        say "== $name FAILED"
    fi
}

check "everything that a change must pass" scripts/test.sh
check "all mutants" scripts/mutation-check.sh
check "long check of the API" env CHECK_SECONDS="${CHECK_SECONDS:-600}" CHECK_SEED="${CHECK_SEED:-$(date +%Y%m%d)}" \
    scripts/check-api.sh
check "benchmarks of the instrument" cargo bench --quiet --package evaluation
check "the demo, built as a newcomer does" cargo run --quiet --release --locked -- demo --json

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
