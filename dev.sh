#!/usr/bin/env bash
# Starts Bifrost for development. `./dev.sh help` says how.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/scripts/lib.sh"

usage() {
    cat <<'TEXT'
./dev.sh [--release]        everything in one process: SQLite, files under .bifrost/
./dev.sh stack [--release]  api and jobs as two processes on PostgreSQL, RabbitMQ and Redis: those named by DATABASE_URL,
                            RABBITMQ_URL and REDIS_URL, else Docker Compose, else private ones under .bifrost/stack/
./dev.sh reset [-y]         removes .bifrost/ with everything in it, and says which databases it left alone
./dev.sh help               this text

Settings come from the environment and from .env (see .env.example). Without any, http://localhost:8000 serves
examples/workspace. Ctrl-C lets running work end and stops what was started.
TEXT
}

HOME_DIR="$ROOT/.bifrost"
PROFILE=debug

# What both ways to run have in common. ENVIRONMENT is said aloud: the development bypass asks for that.
prepare() {
    load_env_file "$ROOT/.env"
    PYTHON="${BIFROST_PYTHON:-python3}"
    need_build_tools
    export ENVIRONMENT="${ENVIRONMENT:-development}"
    export DATA_DIR="${DATA_DIR:-$HOME_DIR}"
    export WORKSPACE_DIR="${WORKSPACE_DIR:-$ROOT/examples/workspace}"
    mkdir -p "$HOME_DIR"
}

# build BINARY…: the folder with the binaries is in BIN.
build() {
    local arguments=() binary
    for binary in "$@"; do arguments+=(--bin "$binary"); done
    if [ "$PROFILE" = release ]; then arguments+=(--release); fi
    cargo build --manifest-path "$ROOT/Cargo.toml" --package bifrost "${arguments[@]}"
    BIN="$(target_dir)/$PROFILE"
}

# Fails when another dev.sh runs from the same folder; else notes this process, which stays the same across exec.
claim() {
    if remembered_alive "$HOME_DIR/dev.pid"; then
        die "already running here (process $ALIVE_PID); stop it first"
    fi
    remember "$HOME_DIR/dev.pid" "$$"
}

# Whether the environment names a database.
named_database() { [ -n "${DATABASE_URL:-}${DATABASE_URL_FILE:-}${DATABASE_HOST:-}" ]; }

# note_database WHERE: for `reset`, which removes nothing outside $HOME_DIR: environment, compose, or here.
note_database() { printf '%s\n' "$1" >"$HOME_DIR/database"; }

embedded() {
    prepare
    build bifrost
    claim
    if named_database; then note_database environment; else note_database here; fi
    exec "$BIN/bifrost" dev
}

# start NAME: one of the two processes, its lines marked, apart from the terminal's Ctrl-C: it gets SIGTERM from here.
start() {
    setsid "$BIN/bifrost-$1" > >(mark "$1") 2>&1 </dev/null &
    remember "$HOME_DIR/$1.pid" "$!"
}

# Outlives Ctrl-C, so that what a process says while it drains is seen.
mark() {
    trap '' INT TERM HUP
    exec sed -u "s/^/$(printf '%-4s' "$1") | /"
}

STOPPED=""
stop_stack() {
    local status="$1"
    if [ -n "$STOPPED" ]; then return 0; fi
    STOPPED=1
    trap '' INT TERM HUP
    set +e
    if remembered_alive "$HOME_DIR/api.pid" || remembered_alive "$HOME_DIR/jobs.pid"; then
        say "stopping: running work may end (at most ${SHUTDOWN_GRACE_SECONDS:-30} s)"
    fi
    # Both are asked at once; api ends quickly, jobs when its runs have ended.
    for name in api jobs; do
        if remembered_alive "$HOME_DIR/$name.pid"; then kill -TERM "$ALIVE_PID"; fi
    done
    for name in api jobs; do
        wait_for $((${SHUTDOWN_GRACE_SECONDS:-30} + 15)) gone "$HOME_DIR/$name.pid"
        stop_remembered "$HOME_DIR/$name.pid" 1
    done
    services_stop
    rm -f "$HOME_DIR/dev.pid"
    say "stopped"
    exit "$status"
}

both_alive() { remembered_alive "$HOME_DIR/api.pid" && remembered_alive "$HOME_DIR/jobs.pid"; }

# Whether the API serves and misses nothing, the worker neither. The port alone says little: it is there before the schema is.
healthy() {
    port_taken "${PORT:-8000}" && "$PYTHON" - "http://127.0.0.1:${PORT:-8000}/health/ready" 2>/dev/null <<'PYTHON'
import json, sys, urllib.request

opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
with opener.open(sys.argv[1], timeout=5) as answer:
    sys.exit(json.load(answer)["status"] != "healthy")
PYTHON
}

# Ready for people, or not worth waiting for any longer.
healthy_or_ended() { ! both_alive || healthy; }

stack() {
    local url
    prepare
    # shellcheck source=scripts/services.sh
    . "$ROOT/scripts/services.sh"
    build bifrost-api bifrost-jobs
    claim
    trap 'stop_stack 130' INT
    trap 'stop_stack 143' TERM HUP
    trap 'stop_stack $?' EXIT
    # What a dev.sh that was killed left behind.
    stop_remembered "$HOME_DIR/api.pid" 30
    stop_remembered "$HOME_DIR/jobs.pid" 30
    if port_taken "${PORT:-8000}"; then
        die "port ${PORT:-8000} is taken; stop what listens there or set PORT"
    fi
    services_from_environment
    if named_database; then note_database environment; else note_database here; fi
    services_from_compose
    if [ "$(<"$HOME_DIR/database")" = here ] && named_database; then note_database compose; fi
    services_from_programs
    start api
    start jobs
    wait_for 120 healthy_or_ended || true
    if both_alive; then
        url="${PUBLIC_URL:-http://localhost:${PORT:-8000}}"
        say ""
        say "  API          $url"
        say "  API docs     $url/docs"
        if [ -n "$RABBITMQ_UI" ]; then say "  RabbitMQ     $RABBITMQ_UI"; fi
        say "  sign in as   ${DEV_USER_EMAIL:-admin@localhost} / $(sign_in_hint)"
        say "  Ctrl-C stops"
        say ""
    fi
    while both_alive; do wait -n || true; done
    say "a process ended by itself; the lines above say why"
    stop_stack 1
}

# The default password is no secret; a chosen one is not shown.
sign_in_hint() {
    if [ -n "${DEV_USER_PASSWORD:-}${DEV_USER_PASSWORD_FILE:-}" ]; then
        echo "the DEV_USER_PASSWORD you set"
    else
        echo "admin"
    fi
}

# What reset leaves alone, and how that is emptied. $1: where the last start had its database.
left_alone() {
    local fresh="cargo run --bin bifrost -- migrate fresh"
    if named_database; then
        # A file under .bifrost/ went with it.
        if [[ "${DATABASE_URL:-}" != sqlite:* || -e "${DATABASE_URL#sqlite:}" ]]; then
            say "not touched: the database that the environment (or .env) names; to empty it: $fresh"
        fi
    elif [ "$1" = environment ]; then
        say "not touched: the database that the environment named when dev.sh was last started; to empty it, with the same DATABASE_URL: $fresh"
    elif [ "$1" = compose ]; then
        say "not touched: the volumes of Docker Compose; to remove them: docker compose down --volumes"
    fi
    if [ -n "${DATA_DIR:-}" ] && [ -e "$DATA_DIR" ]; then say "not touched: DATA_DIR, $DATA_DIR"; fi
}

reset() {
    local answer name database=""
    load_env_file "$ROOT/.env"
    # shellcheck source=scripts/services.sh
    . "$ROOT/scripts/services.sh"
    if [ ! -e "$HOME_DIR" ]; then
        say "there is no $HOME_DIR"
        left_alone ""
        return 0
    fi
    for name in dev api jobs; do
        if remembered_alive "$HOME_DIR/$name.pid"; then
            die "still running from $HOME_DIR (process $ALIVE_PID); stop it first"
        fi
    done
    if private_running; then die "a server still runs from $SERVICES_DIR (process $ALIVE_PID); stop it first"; fi
    if [ "${1:-}" != -y ]; then
        [ -t 0 ] || die "say ./dev.sh reset -y to remove $HOME_DIR without a question"
        read -r -p "remove $HOME_DIR with all its data? [y/N] " answer
        [[ "$answer" == [yY]* ]] || die "nothing removed"
    fi
    if [ -f "$HOME_DIR/database" ]; then database="$(<"$HOME_DIR/database")"; fi
    if [ -f "$SERVICES_DIR/postgres.elsewhere" ]; then
        postgres_place
        # Only a folder that this script could have made.
        [[ "$POSTGRES_DATA" != /var/lib/postgresql/bifrost-* ]] || rm -rf "$POSTGRES_DATA"
    fi
    rm -rf "$HOME_DIR"
    say "removed $HOME_DIR"
    left_alone "$database"
}

COMMAND=embedded
case "${1:-}" in
stack | reset) COMMAND="$1" && shift ;;
help | -h | --help)
    usage
    exit 0
    ;;
esac
if [ "$COMMAND" != reset ] && [ "${1:-}" = --release ]; then PROFILE=release && shift; fi
if [ "$COMMAND" = reset ] && [ "${1:-}" = -y ]; then set -- && ARGUMENT=-y; fi
if [ $# -gt 0 ]; then
    usage >&2
    die "does not know \`$1\`"
fi
"$COMMAND" ${ARGUMENT:+"$ARGUMENT"}
