#!/usr/bin/env bash
# Runs everything that a change must pass: formatting, lints, documentation, tests on SQLite and
# PostgreSQL and with a real Redis, and the demo. Installs missing tools. Prints one line of counts at the
# end. Long runs are in nightly.sh.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$project"

need_cargo
need git git
need cc gcc
need redis-server redis-server
need shellcheck shellcheck
need jq jq
need python3 python3
need npm npm
need curl curl

# The agents' programs, which tests run against a model stub. Without them these tests fail; none is
# skipped.
if [ -z "${MEMBREAK_AGENTS_DIR:-}" ]; then
    scripts/install-agents.sh || say "could not install the agents' programs: tests that need them will fail"
fi

# Schemathesis, which checks the API against its description.
scripts/check-api.sh --prepare || say "could not install Schemathesis: the check of the API will fail"

postgres_bin() {
    local found
    found=$(find /usr/lib/postgresql -path '*/bin/initdb' 2>/dev/null | sort -V | tail -n 1)
    if [ -z "$found" ]; then
        found=$(command -v initdb || true)
    fi
    [ -n "$found" ] && dirname "$found"
}
if ! postgres_bin >/dev/null; then
    need initdb postgresql
fi
bin=$(postgres_bin) || die "PostgreSQL's programs are not found"

# All tools are installed. From here on nothing needs the network, and agents get none.
if [ -z "${MEMBREAK_OFFLINE:-}" ]; then
    need ip iproute2
    cargo fetch --quiet --locked
    export MEMBREAK_OFFLINE=1 CARGO_NET_OFFLINE=true
    if unshare --net true 2>/dev/null; then
        # shellcheck disable=SC2016  # the inner shell expands it
        exec unshare --net -- bash -c 'ip link set lo up && exec "$0" "$@"' "$project/scripts/test.sh" "$@"
    fi
    say "no network namespace available to this user: the tests run with the network"
fi


scratch=$(mktemp -d)
chmod 755 "$scratch"
postgres_pid=
cleanup() {
    if [ -n "$postgres_pid" ]; then
        kill -INT "$postgres_pid" 2>/dev/null || true
        wait "$postgres_pid" 2>/dev/null || true
    fi
    rm -rf "$scratch"
}
trap cleanup EXIT

# PostgreSQL's server refuses to run as root.
as_postgres=()
[ "$(id -u)" != 0 ] ||
    as_postgres=(setpriv --reuid=postgres --regid=postgres --clear-groups --)
mkdir "$scratch/postgres"
[ "$(id -u)" != 0 ] || chown postgres "$scratch/postgres"
port=$(free_port)
(
    cd "$scratch/postgres"
    "${as_postgres[@]}" "$bin/initdb" -D "$scratch/postgres/data" -U postgres -A trust -E UTF8 \
        >"$scratch/initdb.log" 2>&1
) || die "could not create a database: $(cat "$scratch/initdb.log")"
# Each test creates a schema and drops it, so nothing has to survive a crash.
options=(-D "$scratch/postgres/data" -p "$port" -h 127.0.0.1 -c unix_socket_directories=
    -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=400)
"${as_postgres[@]}" "$bin/postgres" "${options[@]}" >"$scratch/postgres.log" 2>&1 &
postgres_pid=$!
answers() { "$bin/pg_isready" -h 127.0.0.1 -p "$port" -U postgres; }
wait_for 30 answers || die "PostgreSQL does not answer: $(cat "$scratch/postgres.log")"
export TEST_DATABASE_URL="postgres://postgres@127.0.0.1:$port/postgres"
# Tests start their own Redis. Services of the user are never used.
unset DATABASE_URL REDIS_URL STORAGE_DIR

passed=0 failed=0
# check NAME COMMAND...: one check that passes or fails as a whole.
check() {
    local name=$1
    shift
    say "== $name"
    if "$@" >"$scratch/check.log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        cat "$scratch/check.log"
        say "== $name FAILED"
    fi
}

# Programs that the tests built. Building a package by itself would compile most of its dependencies
# again with fewer features.
built=${CARGO_TARGET_DIR:-$project/target}/debug

demo() {
    local document=$scratch/demo.json
    "$built/membreak" demo --json --trials 1 >"$document" || return 1
    jq -e '.schema == 1 and (.runs | length) == 8' "$document" >/dev/null
}

check "formatting" cargo fmt --all --check
check "scripts" shellcheck -x scripts/*.sh .ci/run
check "duplicates" scripts/duplicates.py --max 45
check "lints" cargo clippy --workspace --all-targets --all-features --quiet -- -D warnings
# The features of the README's demo command.
check "lints of the default build" cargo clippy --package cli --quiet -- -D warnings
check "documentation" env RUSTDOCFLAGS='-D warnings' \
    cargo doc --workspace --all-features --no-deps --document-private-items --quiet

say "== tests"
tests=$scratch/tests.log
ended=0
cargo test --workspace --all-features --no-fail-fast 2>&1 | tee "$tests" || ended=$?
counts=$(awk '/^test result:/ { p += $4; f += $6 } END { print p + 0, f + 0 }' "$tests")
read -r tests_passed tests_failed <<<"$counts"
passed=$((passed + tests_passed))
failed=$((failed + tests_failed))
if [ "$ended" != 0 ] && [ "$tests_failed" = 0 ]; then
    # A compile error or a crash leaves no line of results.
    failed=$((failed + 1))
fi

check "demo" demo
check "interface against its description" env CHECK_DATABASE_URL="$TEST_DATABASE_URL" \
    CHECK_BUILD="$built" scripts/check-api.sh

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
