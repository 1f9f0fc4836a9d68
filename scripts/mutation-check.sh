#!/usr/bin/env bash
# Breaks the instrument on purpose, one mutant at a time, and checks that the named test fails. Mutants
# are patches in mutations/*.patch; docs/reference/mutants.md lists them.
#
#   scripts/mutation-check.sh [NAME...]     all mutants, or the named ones
#
# Works in a copy of the working tree. Prints a table, and exits with 1 if a mutant survives.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$project"

need_cargo
need git git
need patch patch

# A fixed folder, so that a second run compiles little. It has its own target folder, because cargo
# treats two copies of a workspace as the same and would reuse builds of mutants.
tree=$project/target/mutations/tree
export CARGO_TARGET_DIR=$project/target/mutations/target
rm -rf "$tree"
mkdir -p "$tree"
# git still lists deleted files. Files get new times (-m), so that cargo does not reuse builds of mutants.
git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' path; do [ -e "$path" ] && printf '%s\0' "$path"; done |
    tar --null -T - -cf - | tar -xmf - -C "$tree"
cd "$tree"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# field NAME PATCH: prints a header line of a patch.
field() { sed -n "s/^$1: //p;/^--- /q" "$2" | head -n 1; }

# package PATCH: prints the crate with the test. By default evaluation.
package() {
    local named
    named=$(field Package "$1")
    printf '%s' "${named:-evaluation}"
}

# run PACKAGE TARGET TEST: runs one test by its full name.
run() {
    # shellcheck disable=SC2086  # a target is an option and a name
    cargo test --quiet -p "$1" $2 -- --exact "$3" >"$log" 2>&1
}

names=("$@")
if [ "${#names[@]}" = 0 ]; then
    for patch in scripts/mutations/*.patch; do
        names+=("$(basename "$patch" .patch)")
    done
fi

# A test that is missing or fails without a mutant catches nothing.
declare -A sound
for name in "${names[@]}"; do
    patch=scripts/mutations/$name.patch
    [ -f "$patch" ] || die "no mutant $name in scripts/mutations"
    package=$(package "$patch") target=$(field Target "$patch") test=$(field Test "$patch")
    [ -z "${sound[$package $target $test]:-}" ] || continue
    if ! run "$package" "$target" "$test" || ! grep -q '^test result: ok. 1 passed' "$log"; then
        cat "$log" >&2
        die "$test of $package $target does not pass without a mutant"
    fi
    sound[$package $target $test]=yes
done

survived=0
printf '| mutant | of | what it does | test that fails | result |\n'
printf '| --- | --- | --- | --- | --- |\n'
for name in "${names[@]}"; do
    patch=scripts/mutations/$name.patch
    package=$(package "$patch") target=$(field Target "$patch") test=$(field Test "$patch")
    patch --quiet --strip 1 <"$patch" || die "$patch does not apply"
    # shellcheck disable=SC2086
    if ! cargo test --quiet -p "$package" $target --no-run >"$log" 2>&1; then
        cat "$log" >&2
        die "the mutant $name does not compile"
    fi
    if run "$package" "$target" "$test"; then
        result=SURVIVED
        survived=$((survived + 1))
    elif grep -q '^test result: FAILED. 0 passed; 1 failed' "$log"; then
        result=caught
    else
        cat "$log" >&2
        die "the test of the mutant $name did not come to a result"
    fi
    patch --quiet --reverse --strip 1 <"$patch"
    # shellcheck disable=SC2016  # the backticks are those of the table
    printf '| `%s` | %s | %s | `%s` | %s |\n' "$name" "$(field Of "$patch")" \
        "$(field Breaks "$patch")" "$test" "$result"
done
say "${#names[@]} mutants, $survived survived"
[ "$survived" = 0 ]
