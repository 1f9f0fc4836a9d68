#!/usr/bin/env bash
# Shared functions of the scripts in this folder. Sourced, never run.

# shellcheck disable=SC2034 # used by the scripts that source this file
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }

die() {
    say "error: $*"
    exit 1
}

# need PROGRAM PACKAGE: installs a Debian package unless the program exists.
need() {
    local program=$1 package=$2
    if command -v "$program" >/dev/null 2>&1; then
        return 0
    fi
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        die "$program is missing: install it (Debian: apt-get install $package) and try again"
    fi
    install_package "$package"
}

# install_package PACKAGE: installs a Debian package.
install_package() {
    local package=$1
    say "installing $package"
    if [ -z "${apt_updated:-}" ]; then
        apt-get update -qq >&2 || say "apt-get update failed; trying with the lists at hand"
        apt_updated=yes
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" >/dev/null ||
        die "could not install $package; install it by hand and try again"
}

need_cargo() {
    command -v cargo >/dev/null 2>&1 ||
        die "cargo is missing: install Rust 1.94 or newer (https://rustup.rs) and try again"
}

# setting NAME: prints a setting as the programs read it: from the environment, or from the file .env of
# the project or of the nearest folder above it. Prints nothing if it is not set. The file is parsed and
# never executed, because `&`, `;` and spaces mean something else to a shell. Escapes and references to
# other variables are kept as written.
setting() {
    local name=$1 folder=$project value
    if [ -n "${!name+set}" ]; then
        printf '%s\n' "${!name}"
        return 0
    fi
    while [ ! -f "$folder/.env" ]; do
        [ "$folder" != / ] || return 0
        folder=$(dirname "$folder")
    done
    # The first of several lines counts.
    value=$(sed -E -n -e '1s/^\xef\xbb\xbf//' -e 's/[[:space:]]+$//' \
        -e "/^[[:space:]]*(export[[:space:]]+)?${name}[[:space:]]*=[[:space:]]*/{s///;p;q;}" \
        "$folder/.env")
    case $value in
    \'*) value=${value#\'} value=${value%%\'*} ;;
    \"*) value=${value#\"} value=${value%%\"*} ;;
    \#*) value='' ;;
    *) value=${value%%[[:space:]]*} ;;
    esac
    printf '%s\n' "$value"
}

# number_setting NAME DEFAULT: prints a setting that must be a whole number.
number_setting() {
    local value
    value=$(setting "$1")
    case ${value:=$2} in
    *[!0-9]*) die "$1 is not a number: $value" ;;
    esac
    printf '%s\n' "$value"
}

# free_port: prints a port on 127.0.0.1 without a listener.
free_port() {
    local port
    for _ in $(seq 1 200); do
        port=$((RANDOM % 20000 + 20000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            printf '%s\n' "$port"
            return 0
        fi
    done
    die "no free port was found"
}

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
    local seconds=$1
    shift
    for _ in $(seq 1 $((seconds * 5))); do
        if "$@" >/dev/null 2>&1; then
            return 0
        fi
        sleep 0.2
    done
    return 1
}

# alive PIDFILE: whether the process that wrote it still runs.
alive() {
    local pid
    [ -s "$1" ] && pid=$(cat "$1") && kill -0 "$pid" 2>/dev/null
}
