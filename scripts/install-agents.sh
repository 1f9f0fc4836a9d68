#!/usr/bin/env bash
# Installs the agents' programs into a folder of their own: Claude Code, Gemini CLI, Qwen Code, Codex.
#
#   scripts/install-agents.sh [--with-node] [DIR]        DIR: data/agents
#
# Versions and checksums are those of scripts/agents/package-lock.json; no package runs a script of
# its own. The programs are links in DIR/bin. A Node comes into the same folder where the machine's
# is too old for them, or with --with-node, so that the folder needs none (the image does that).
# What is installed already is left as it is: run it again at any time.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# What Gemini CLI and Qwen Code ask for.
oldest_node=20

folder=
own_node=no
for argument in "$@"; do
    case $argument in
    --with-node) own_node=yes ;;
    -h | --help)
        sed -n '2,/^set /{/^# \{0,1\}/s///p;}' "${BASH_SOURCE[0]}"
        exit 0
        ;;
    -*) die "there is no option $argument (see --help)" ;;
    *)
        [ -z "$folder" ] || die "one folder is enough: $folder, $argument"
        folder=$argument
        ;;
    esac
done
folder=${folder:-$project/data/agents}
mkdir -p "$folder" || die "the folder $folder cannot be made"
folder=$(cd "$folder" && pwd -P)
[ -w "$folder" ] || die "the folder $folder is not writable"

locks=$project/scripts/agents
programs=(claude gemini qwen codex)

# Two at once would take each other's files away.
if command -v flock >/dev/null 2>&1; then
    exec 9>"$folder/.lock"
    flock -w 900 9 || die "somebody else is installing into $folder"
fi

checksum() {
    if command -v sha256sum >/dev/null 2>&1; then
        sha256sum
    else
        shasum -a 256
    fi
}

# major_of PROGRAM: the major version of a Node, 0 where it has none to tell.
major_of() {
    local told
    told=$("$1" --version 2>/dev/null) || told=
    told=${told#v}
    told=${told%%.*}
    case $told in
    '' | *[!0-9]*) echo 0 ;;
    *) echo "$told" ;;
    esac
}

machine=$(major_of node)
if [ "$machine" -lt "$oldest_node" ]; then
    own_node=yes
fi

# What is in the folder when all went well; it is written last.
wanted=$({
    cat "$locks/package-lock.json" "$locks/node/package-lock.json" "${BASH_SOURCE[0]}"
    printf '%s %s\n' "$own_node" "$(uname -sm)"
} | checksum)
wanted=${wanted%% *}
stamp=$folder/.installed

all_there() {
    local program
    for program in "${programs[@]}"; do
        [ -x "$folder/bin/$program" ] || return 1
    done
    [ "$own_node" = no ] || [ -x "$folder/bin/node" ]
}

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && all_there; then
    say "the agents are installed already in $folder"
    exit 0
fi

need npm npm
npm_version=$(npm --version 2>/dev/null) || die "npm does not work: try 'npm --version'"
[ "${npm_version%%.*}" -ge 7 ] ||
    die "npm $npm_version cannot read the lockfile: install npm 7 or newer (it comes with Node)"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
rm -f "$stamp"

# packages FROM INTO WHAT: exactly what the lockfile says, checked by its checksums.
packages() {
    local from=$1 into=$2 what=$3
    say "fetching $what"
    mkdir -p "$into"
    cp "$from/package.json" "$from/package-lock.json" "$into/"
    # Programs for this platform are optional packages of the agents' own packages.
    if ! (cd "$into" && npm ci --ignore-scripts --include=optional --no-audit --no-fund \
        --no-update-notifier --loglevel=error) >"$scratch/npm.log" 2>&1; then
        cat "$scratch/npm.log" >&2
        case $(cat "$scratch/npm.log") in
        *EINTEGRITY*) die "a package is not the one that the lockfile names; nothing of it was used" ;;
        *ENOSPC*) die "the disk is full: the agents need about 1 GB in $folder" ;;
        *) die "npm could not fetch $what: is a registry reachable (npm ping)? 'npm config ls' shows
       which one is asked, and the proxy" ;;
        esac
    fi
}

# An entry without a checksum would be taken as it comes.
command -v node >/dev/null 2>&1 ||
    die "npm is there, but no node: install both (Debian: apt-get install nodejs npm)"
node -e '
for (const file of process.argv.slice(1))
    for (const [name, entry] of Object.entries(JSON.parse(require("fs").readFileSync(file)).packages))
        if (name && !entry.integrity) { console.error(name); process.exitCode = 1; }
' "$locks/package-lock.json" "$locks/node/package-lock.json" ||
    die "the lockfile has packages without a checksum"

rm -rf "${folder:?}/bin"
if [ "$own_node" = yes ]; then
    packages "$locks/node" "$folder/node" "Node (this machine has $(node --version 2>&1))"
else
    rm -rf "${folder:?}/node"
fi
packages "$locks" "$folder" "the agents (about 300 MB, 800 MB on disk)"

# link NAME PATH: relative, so that the folder can be moved.
mkdir "$folder/bin"
link() {
    [ -x "$folder/$2" ] || die "the package of $1 has no program $2"
    ln -s "../$2" "$folder/bin/$1"
}

# runs COMMAND...: as the orchestrator asks for versions: nothing of the environment, an empty HOME.
runs() {
    (cd "$scratch" && env -i PATH="$folder/bin:$PATH" HOME="$scratch" TMPDIR="$scratch" "$@" \
        </dev/null 2>"$scratch/stderr")
}

# for_this_machine NAME GLOB: the one of several programs that runs here. npm may have fetched those
# for another C library, too.
for_this_machine() {
    local candidate
    for candidate in "$folder"/$2; do
        if [ -x "$candidate" ] && runs "$candidate" --version >/dev/null; then
            printf '%s\n' "${candidate#"$folder/"}"
            return 0
        fi
    done
    die "there is no $1 for this machine ($(uname -sm))"
}

if [ "$own_node" = yes ]; then
    path=$(for_this_machine Node 'node/node_modules/node-*/bin/node')
    link node "$path"
fi
# Its package's own program is a placeholder that a script would replace.
path=$(for_this_machine "Claude Code" 'node_modules/@anthropic-ai/claude-code-*/claude')
link claude "$path"
link gemini "$(cd "$folder" && readlink node_modules/.bin/gemini | sed 's|^\.\./|node_modules/|')"
link qwen "$(cd "$folder" && readlink node_modules/.bin/qwen | sed 's|^\.\./|node_modules/|')"
link codex "$(cd "$folder" && readlink node_modules/.bin/codex | sed 's|^\.\./|node_modules/|')"

# version_of NAME PACKAGE: what the lockfile pins.
version_of() {
    node -p "require('$locks/package.json').dependencies['$1']"
}

# verify NAME PACKAGE: that the program starts, and is the version that is wanted.
verify() {
    local wanted_version told
    wanted_version=$(version_of "$2")
    told=$(runs "$folder/bin/$1" --version) || {
        cat "$scratch/stderr" >&2
        die "$1 does not start"
    }
    case " $told " in
    *[!0-9.]"$wanted_version"[!0-9.]*) say "$1 $wanted_version" ;;
    *) die "$1 should be $wanted_version, but says: $told" ;;
    esac
}
verify claude @anthropic-ai/claude-code
verify gemini @google/gemini-cli
verify qwen @qwen-code/qwen-code
verify codex @openai/codex

printf '%s\n' "$wanted" >"$stamp"
say "the agents are installed in $folder"
if [ "$folder" != "$project/data/agents" ]; then
    say "tell the workers: AGENTS_DIR=$folder"
fi
