# shellcheck shell=bash
# What dev.sh and test.sh share: messages, tools, .env, ports, processes. Sourced with `set -euo pipefail` in force.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
PYTHON="${BIFROST_PYTHON:-python3}"

say() { printf '%s\n' "$*"; }

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# One line for each missing tool, all at once.
need_build_tools() {
    local missing=0
    if ! have cargo && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    fi
    if ! have cargo; then
        echo "cargo is missing: install Rust from https://rustup.rs" >&2
        missing=1
    fi
    if ! have cc; then
        echo "a C compiler is missing: apt-get install gcc libc6-dev" >&2
        missing=1
    fi
    if ! have "$PYTHON" || ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
        echo "Python 3.10 or newer is missing: apt-get install python3, or name one with BIFROST_PYTHON" >&2
        missing=1
    fi
    [ "$missing" = 0 ] || exit 1
}

# Exports the NAME=VALUE lines of a file, as Docker Compose reads them but nothing in a value is replaced: ` #` begins a comment outside of
# quotes, the last of two lines for one name counts. What the environment already has wins. Lines that are none of this are named.
load_env_file() {
    local line name value number=0 bad=0 ours=" "
    local blank='^[[:space:]]*(#.*)?$'
    local assignment='^[[:space:]]*(export[[:space:]]+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$'
    local double='^[[:space:]]*"([^"]*)"[[:space:]]*(#.*)?$' single="^[[:space:]]*'([^']*)'[[:space:]]*(#.*)?\$"
    [ -f "$1" ] || return 0
    while IFS= read -r line || [ -n "$line" ]; do
        number=$((number + 1))
        line="${line%$'\r'}"
        if [[ "$line" =~ $blank ]]; then continue; fi
        if [[ ! "$line" =~ $assignment ]]; then
            echo "$1, line $number: is not NAME=VALUE (no space before =)" >&2
            bad=1
            continue
        fi
        name="${BASH_REMATCH[2]}" value="${BASH_REMATCH[3]}"
        if [[ "$value" =~ $double || "$value" =~ $single ]]; then
            value="${BASH_REMATCH[1]}"
        else
            value="${value%%[[:space:]]#*}"
            value="${value#"${value%%[![:space:]]*}"}"
            value="${value%"${value##*[![:space:]]}"}"
        fi
        if [ -z "${!name+set}" ] || [[ "$ours" == *" $name "* ]]; then
            ours+="$name "
            export "$name=$value"
        fi
    done <"$1"
    [ "$bad" = 0 ] || exit 1
}

# Where cargo puts what it builds.
target_dir() {
    cargo metadata --no-deps --format-version 1 --manifest-path "$ROOT/Cargo.toml" |
        "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])'
}

# Whether somebody listens on a port of this machine.
port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The first free port from $1 on that was not handed out before; the answer is in PORT_FOUND.
HANDED_OUT=" "
free_port() {
    local port="$1" last=$(($1 + 1000))
    while [ "$port" -lt "$last" ]; do
        if [[ "$HANDED_OUT" != *" $port "* ]] && ! port_taken "$port"; then
            HANDED_OUT+="$port "
            # shellcheck disable=SC2034 # for the caller
            PORT_FOUND="$port"
            return 0
        fi
        port=$((port + 1))
    done
    die "no free port between $1 and $last"
}

# A process is known by its pid and the moment it began, so that a pid used again is never taken for ours.
process_mark() {
    local stat
    { stat="$(<"/proc/$1/stat")"; } 2>/dev/null || return 1
    stat="${stat##*) }"
    # shellcheck disable=SC2086 # the fields are meant to be split
    set -- $1 $stat
    # A zombie has ended.
    [ "$2" != Z ] || return 1
    printf '%s %s\n' "$1" "${21}"
}

# remember FILE PID
remember() { process_mark "$2" >"$1" || rm -f "$1"; }

# Whether the process remembered in FILE still runs; its pid is in ALIVE_PID.
remembered_alive() {
    local pid mark
    [ -f "$1" ] || return 1
    read -r pid _ <"$1" || return 1
    mark="$(process_mark "$pid")" || return 1
    [ "$mark" = "$(<"$1")" ] || return 1
    ALIVE_PID="$pid"
}

# wait_for SECONDS COMMAND…: until it succeeds; fails when the time is over.
wait_for() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

gone() { ! remembered_alive "$1"; }

# stop_remembered FILE SECONDS: SIGTERM, and SIGKILL when the time is over.
stop_remembered() {
    remembered_alive "$1" || { rm -f "$1"; return 0; }
    kill -TERM "$ALIVE_PID" 2>/dev/null || true
    if ! wait_for "$2" gone "$1"; then
        kill -KILL "$ALIVE_PID" 2>/dev/null || true
        wait_for 5 gone "$1" || true
    fi
    rm -f "$1"
}
