#!/usr/bin/env bash
# A server of a test's own, which the test may kill, stop and start again at the same address with the same data.
#
#     scripts/private.sh FOLDER start SERVICE     starts it, or starts it again; the last line is its URL
#     scripts/private.sh FOLDER kill SERVICE      ends it at once (SIGKILL)
#     scripts/private.sh FOLDER stop SERVICE      asks it to end, and waits until it has
#     scripts/private.sh FOLDER rabbitmqctl …     RabbitMQ's own tool, on the RabbitMQ of FOLDER
#     scripts/private.sh FOLDER guard             waits for the end of its input; then ends everything of FOLDER and removes it
#
# SERVICE is postgres, rabbitmq or redis. Taken from the programs of this machine, else from Docker (the images of
# docker-compose.yml), else from Debian's packages, which are installed where we may.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/services.sh
. "$ROOT/scripts/services.sh"

# No web page for people: it starts sooner.
RABBITMQ_PLUGINS=""
# What a process has written outlives the process: only the end of the machine would ask for more, and nobody here plays that.
INITDB_OPTION=--no-sync
# What is newer takes a second of every connection that an unoptimised program opens.
POSTGRES_AUTH=md5
POSTGRES_OPTIONS="-c fsync=off"
# A server that others use cannot be stopped.
OR_NAME_ONE=""

# A port is kept for the next start. Tests run beside each other: each looks from a place of its own.
port_for() {
    local file="$SERVICES_DIR/ports/$1"
    if [ ! -s "$file" ]; then
        free_port $((20000 + RANDOM % 11000))
        mkdir -p "$SERVICES_DIR/ports"
        printf '%s\n' "$PORT_FOUND" >"$file"
    fi
    PORT_FOUND="$(<"$file")"
    wait_for 10 port_free "$PORT_FOUND" || die "port $PORT_FOUND is taken"
}

port_free() { ! port_taken "$1"; }

# ---- Docker

container() { printf 'bifrost-%s-%s\n' "$(checksum "$SERVICES_DIR")" "$1"; }

in_docker() { [ -f "$SERVICES_DIR/$1.docker" ]; }

# The first choice is kept: a server does not move.
choose() {
    local found=""
    if [ -e "$SERVICES_DIR/ports/$1" ]; then return 0; fi
    found="$("find_$1")" || true
    if [ -z "$found" ] && docker_works; then : >"$SERVICES_DIR/$1.docker"; fi
}

image_of() { sed -n "/^  $1:\$/,/image:/s/.*image: *//p" "$ROOT/docker-compose.yml" | head -n 1; }

# start_docker SERVICE PORT OPTION…: makes the container, or starts the one that is there; its URL is in URL.
start_docker() {
    local service="$1" port="$2" name scheme
    shift 2
    name="$(container "$service")"
    port_for "$service" 0
    case "$service" in
    postgres) scheme=postgres URL="postgres://bifrost:$SERVICES_PASSWORD@127.0.0.1:$PORT_FOUND/bifrost" ;;
    rabbitmq) scheme=amqp URL="amqp://bifrost:$SERVICES_PASSWORD@127.0.0.1:$PORT_FOUND/%2f" ;;
    redis) scheme=redis URL="redis://127.0.0.1:$PORT_FOUND/0" ;;
    esac
    if [ -n "$(docker ps -a -q --filter "name=^$name\$")" ]; then
        docker start "$name" >&2
    else
        docker run -d --name "$name" --hostname "$service" -p "127.0.0.1:$PORT_FOUND:$port" "$@" >&2
    fi
    wait_for 120 answers "$URL" || die "$service did not start; see docker logs $name ($scheme: $PROBE_SAYS)"
}

# ---- what is asked for

start() {
    make_password
    choose "$1"
    case "$1" in
    postgres)
        if in_docker postgres; then
            start_docker postgres 5432 -e POSTGRES_USER=bifrost -e POSTGRES_PASSWORD="$SERVICES_PASSWORD" \
                -e POSTGRES_DB=bifrost "$(image_of postgres)" postgres -c max_connections=300
        else
            start_postgres
            URL="$DATABASE_URL"
        fi
        ;;
    rabbitmq)
        if in_docker rabbitmq; then
            start_docker rabbitmq 5672 -e RABBITMQ_DEFAULT_USER=bifrost \
                -e RABBITMQ_DEFAULT_PASS="$SERVICES_PASSWORD" "$(image_of rabbitmq)"
        else
            start_rabbitmq
            URL="$RABBITMQ_URL"
        fi
        ;;
    redis)
        if in_docker redis; then
            start_docker redis 6379 "$(image_of redis)" redis-server --appendonly yes
        else
            start_redis
            URL="$REDIS_URL"
        fi
        ;;
    esac
    say "$URL"
}

# The processes that are children of $1.
children_of() {
    local stat fields
    for stat in /proc/[0-9]*/stat; do
        { fields="$(<"$stat")"; } 2>/dev/null || continue
        fields="${fields##*) }"
        # shellcheck disable=SC2086 # the fields are meant to be split
        set -- "$1" $fields
        if [ "$3" = "$1" ]; then stat="${stat%/stat}" && printf '%s\n' "${stat#/proc/}"; fi
    done
}

end_at_once() {
    local pid
    if in_docker "$1"; then
        docker kill "$(container "$1")" >&2
        return 0
    fi
    remembered_alive "$SERVICES_DIR/$1.pid" || return 0
    pid="$ALIVE_PID"
    case "$1" in
    # Its children would go on for a moment without it.
    # shellcheck disable=SC2046 # one argument each
    postgres) kill -KILL "$pid" $(children_of "$pid") 2>/dev/null || true ;;
    # The script that started it and the server itself are one group.
    rabbitmq) kill -KILL -- "-$pid" ;;
    *) kill -KILL "$pid" ;;
    esac
    wait_for 10 gone "$SERVICES_DIR/$1.pid" || die "$1 cannot be killed"
    rm -f "$SERVICES_DIR/$1.pid"
    if [ "$1" = postgres ]; then
        # Where nobody reaps it, its next start would take the dead one for alive.
        postgres_place
        rm -f "$POSTGRES_DATA/postmaster.pid"
    fi
}

stop() {
    if in_docker "$1"; then
        docker stop -t 40 "$(container "$1")" >&2
    elif [ "$1" = postgres ]; then
        stop_postgres
    else
        stop_remembered "$SERVICES_DIR/$1.pid" 40
    fi
}

tool() {
    if in_docker rabbitmq; then
        docker exec "$(container rabbitmq)" rabbitmqctl "$@"
    else
        rabbitmq_environment
        env "${RABBITMQ_ENVIRONMENT[@]}" "$(dirname "$(find_rabbitmq)")/rabbitmqctl" "$@"
    fi
}

remove() {
    local service
    set +e
    for service in postgres rabbitmq redis; do
        if in_docker "$service"; then
            docker rm -f -v "$(container "$service")" >/dev/null 2>&1
        else
            end_at_once "$service"
        fi
    done
    stop_remembered "$SERVICES_DIR/epmd.pid" 5
    if [ -f "$SERVICES_DIR/postgres.elsewhere" ]; then
        postgres_place
        # Only a folder that this script could have made.
        [[ "$POSTGRES_DATA" != /var/lib/postgresql/bifrost-* ]] || rm -rf "$POSTGRES_DATA"
    fi
    rm -rf "$SERVICES_DIR"
}

usage() { sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; }

[ $# -ge 2 ] && [ -d "$1" ] || { usage && exit 2; }
SERVICES_DIR="$(cd "$1" && pwd)"
COMMAND="$2"
shift 2
mkdir -p "$SERVICES_DIR/log"
case "$COMMAND ${1:-}" in
"start postgres" | "start rabbitmq" | "start redis") start "$1" ;;
"kill postgres" | "kill rabbitmq" | "kill redis") end_at_once "$1" ;;
"stop postgres" | "stop rabbitmq" | "stop redis") stop "$1" ;;
rabbitmqctl\ *) tool "$@" ;;
"guard ")
    trap '' INT TERM HUP
    cat >/dev/null
    remove
    ;;
*) usage && exit 2 ;;
esac
