# shellcheck shell=bash
# PostgreSQL, RabbitMQ and Redis for dev.sh and test.sh. Sourced after lib.sh.
#
# Each service is taken from the first of these that has it: the environment, (test.sh only) this machine's usual ports,
# Docker Compose, or Debian's programs started privately on free ports under $SERVICES_DIR. Afterwards DATABASE_URL,
# RABBITMQ_URL and REDIS_URL are exported. What was started here, and nothing else, is stopped by services_stop.

SERVICES_DIR="${SERVICES_DIR:-$ROOT/.bifrost/stack}"
COMPOSE_STARTED=()
RABBITMQ_UI=""

# ---- what answers

# probe VARIABLE URL: fails with one line in PROBE_SAYS.
probe() {
    if PROBE_SAYS="$(PROBE_URL="$2" "$PYTHON" "$ROOT/scripts/probe.py" 2>&1)"; then return 0; fi
    PROBE_SAYS="$1 $PROBE_SAYS"
    return 1
}

answers() { probe service "$1"; }

# Whether PostgreSQL lets us in and lets us create databases, as tests need.
may_create_databases() {
    have psql || return 1
    local may
    may="$(PGCONNECT_TIMEOUT=3 psql -w -X -A -t "$1" -c \
        'select rolsuper or rolcreatedb from pg_roles where rolname = current_user' 2>/dev/null)" || return 1
    [ "$may" = t ]
}

# services_from_environment: what is named must answer.
services_from_environment() {
    local name
    if [ -z "${DATABASE_URL:-}" ] && [ -n "${DATABASE_HOST:-}" ]; then DATABASE_BY_PARTS=1; fi
    for name in DATABASE_URL RABBITMQ_URL REDIS_URL; do
        if [ -n "${!name:-}" ]; then probe "$name" "${!name}" || die "$PROBE_SAYS"; fi
    done
}

need_database() { [ -z "${DATABASE_URL:-}${DATABASE_URL_FILE:-}${DATABASE_BY_PARTS:-}" ]; }
need_rabbitmq() { [ -z "${RABBITMQ_URL:-}${RABBITMQ_URL_FILE:-}" ]; }
need_redis() { [ -z "${REDIS_URL:-}${REDIS_URL_FILE:-}" ]; }

# services_from_this_machine: the usual ports, for tests (which keep to databases and names of their own).
services_from_this_machine() {
    local url
    if need_database; then
        for url in "postgres://$(id -un)@127.0.0.1:5432/postgres" postgres://postgres:postgres@127.0.0.1:5432/postgres; do
            if may_create_databases "$url"; then
                export DATABASE_URL="$url"
                break
            fi
        done
    fi
    if need_rabbitmq && answers amqp://guest:guest@127.0.0.1:5672; then
        export RABBITMQ_URL=amqp://guest:guest@127.0.0.1:5672/%2f
    fi
    if need_redis && answers redis://127.0.0.1:6379; then
        export REDIS_URL=redis://127.0.0.1:6379/0
    fi
}

# ---- Docker Compose

docker_works() { have docker && timeout 2 docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; }

# What keeps Docker from being used, as the first words of an advice; empty when there is no Docker on this machine, or when
# it is not the reason.
docker_advice() {
    if ! have docker || docker_works; then return 0; fi
    if timeout 2 docker info >/dev/null 2>&1; then
        printf 'install the Docker Compose plugin, or '
    else
        printf 'start Docker, or '
    fi
}

compose() { docker compose --project-directory "$ROOT" -f "$ROOT/docker-compose.yml" "$@"; }

# compose_address SERVICE PORT: host:port on this machine.
compose_address() { compose port "$1" "$2" | sed 's/^0\.0\.0\.0:/127.0.0.1:/'; }

# services_from_compose: the users and passwords are those of docker-compose.yml.
services_from_compose() {
    local wanted=() running service address
    [ -f "$ROOT/docker-compose.yml" ] && docker_works || return 0
    if need_database; then wanted+=(postgres); fi
    if need_rabbitmq; then wanted+=(rabbitmq); fi
    if need_redis; then wanted+=(redis); fi
    [ "${#wanted[@]}" -gt 0 ] || return 0
    running=" $(compose ps --services --status running 2>/dev/null | tr '\n' ' ')"
    for service in "${wanted[@]}"; do
        [[ "$running" == *" $service "* ]] || COMPOSE_STARTED+=("$service")
    done
    say "starting ${wanted[*]} with Docker Compose"
    compose up -d --wait "${wanted[@]}" >&2
    for service in "${wanted[@]}"; do
        case "$service" in
        postgres)
            address="$(compose_address postgres 5432)"
            export DATABASE_URL="postgres://bifrost:${POSTGRES_PASSWORD:-bifrost_dev}@$address/bifrost"
            ;;
        rabbitmq)
            address="$(compose_address rabbitmq 5672)"
            export RABBITMQ_URL="amqp://bifrost:${RABBITMQ_PASSWORD:-bifrost_dev}@$address/%2f"
            address="$(compose_address rabbitmq 15672)"
            RABBITMQ_UI="http://$address (user bifrost, password ${RABBITMQ_PASSWORD:-bifrost_dev})"
            ;;
        redis)
            address="$(compose_address redis 6379)"
            export REDIS_URL="redis://$address/0"
            ;;
        esac
    done
}

# ---- Debian's programs, privately

# program NAME PACKAGE FINDER…: prints where it is; installs the Debian package when it is missing and we may.
program() {
    local name="$1" package="$2" found
    shift 2
    if found="$("$@")" && [ -n "$found" ]; then
        printf '%s\n' "$found"
        return 0
    fi
    if [ "$(id -u)" = 0 ] && have apt-get; then
        echo "installing $package" >&2
        if DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends "$package" >&2 ||
            { apt-get update >&2 && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends "$package" >&2; }; then
            if found="$("$@")" && [ -n "$found" ]; then
                printf '%s\n' "$found"
                return 0
            fi
        fi
    fi
    die "$name is missing: $(docker_advice)apt-get install $package${OR_NAME_ONE-, or name a server in the environment}"
}

find_postgres() {
    local folder
    # shellcheck disable=SC2012 # version numbers, nothing strange
    folder="$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)"
    if [ -n "$folder" ] && [ -x "$folder/initdb" ]; then
        printf '%s\n' "$folder"
    elif have initdb && have pg_ctl; then
        dirname "$(command -v pg_ctl)"
    fi
}

# Debian's /usr/sbin/rabbitmq-server changes the user and reads the system's configuration: the script below it does not.
find_rabbitmq() {
    if [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]; then
        printf '%s\n' /usr/lib/rabbitmq/bin/rabbitmq-server
    elif have rabbitmq-server && [ "$(command -v rabbitmq-server)" != /usr/sbin/rabbitmq-server ]; then
        command -v rabbitmq-server
    fi
}

find_redis() { command -v redis-server || command -v valkey-server || true; }

# A password for the private servers, made once, also when several start at the same moment; in SERVICES_PASSWORD.
make_password() {
    local file="$SERVICES_DIR/password"
    if [ ! -s "$file" ]; then
        (umask 077 && head -c 18 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$file.$$")
        ln "$file.$$" "$file" 2>/dev/null || true
        rm -f "$file.$$"
    fi
    SERVICES_PASSWORD="$(<"$file")"
}

checksum() { printf '%s' "$1" | cksum | cut -d' ' -f1; }

# PostgreSQL refuses to run as root: then it runs as the user postgres that its package made.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then (cd / && runuser -u postgres -- "$@"); else "$@"; fi
}

# The data folder, in POSTGRES_DATA. When the user postgres cannot come to ours it lies in that user's home.
postgres_place() {
    POSTGRES_DATA="$SERVICES_DIR/postgres"
    [ "$(id -u)" = 0 ] || return 0
    if [ -f "$SERVICES_DIR/postgres.elsewhere" ]; then
        POSTGRES_DATA="$(<"$SERVICES_DIR/postgres.elsewhere")"
    elif ! as_postgres test -x "$SERVICES_DIR"; then
        POSTGRES_DATA="/var/lib/postgresql/bifrost-$(checksum "$SERVICES_DIR")"
        printf '%s\n' "$POSTGRES_DATA" >"$SERVICES_DIR/postgres.elsewhere"
    fi
}

# port_for NAME FIRST: a port for what is called so, in PORT_FOUND.
port_for() { free_port "$2"; }

start_postgres() {
    local bin port secret
    bin="$(program PostgreSQL postgresql find_postgres)"
    postgres_place
    if [ ! -s "$POSTGRES_DATA/PG_VERSION" ]; then
        mkdir -p "$POSTGRES_DATA"
        chmod 700 "$POSTGRES_DATA"
        secret="$POSTGRES_DATA.password"
        (umask 077 && printf '%s\n' "$SERVICES_PASSWORD" >"$secret")
        if [ "$(id -u)" = 0 ]; then chown postgres: "$POSTGRES_DATA" "$secret"; fi
        as_postgres "$bin/initdb" -D "$POSTGRES_DATA" -U bifrost --pwfile="$secret" --auth="${POSTGRES_AUTH:-scram-sha-256}" \
            --encoding=UTF8 --no-locale ${INITDB_OPTION:+"$INITDB_OPTION"} >"$SERVICES_DIR/log/initdb.log" 2>&1 ||
            { rm -rf "$secret" "$POSTGRES_DATA"; die "initdb failed; see $SERVICES_DIR/log/initdb.log"; }
        rm -f "$secret"
    fi
    port_for postgres 15432
    port="$PORT_FOUND"
    as_postgres "$bin/pg_ctl" start -D "$POSTGRES_DATA" -w -t 60 -s -l "$POSTGRES_DATA/server.log" -o \
        "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories= -c max_connections=300 ${POSTGRES_OPTIONS:-}" ||
        die "PostgreSQL did not start; see $POSTGRES_DATA/server.log"
    remember "$SERVICES_DIR/postgres.pid" "$(head -n 1 "$POSTGRES_DATA/postmaster.pid")"
    # Every database but `postgres` is made by whoever uses the server; the stack uses one named bifrost.
    PGPASSWORD="$SERVICES_PASSWORD" "$bin/psql" -w -X -q -h 127.0.0.1 -p "$port" -U bifrost postgres \
        -tc "select 1 from pg_database where datname = 'bifrost'" | grep -q 1 ||
        PGPASSWORD="$SERVICES_PASSWORD" "$bin/createdb" -w -h 127.0.0.1 -p "$port" -U bifrost bifrost
    export DATABASE_URL="postgres://bifrost:$SERVICES_PASSWORD@127.0.0.1:$port/bifrost"
    say "  PostgreSQL  127.0.0.1:$port"
}

start_redis() {
    local server port config="$SERVICES_DIR/redis/redis.conf"
    server="$(program Redis redis-server find_redis)"
    port_for redis 16379
    port="$PORT_FOUND"
    mkdir -p "$SERVICES_DIR/redis"
    (umask 077 && printf '%s\n' "bind 127.0.0.1" "port $port" "requirepass $SERVICES_PASSWORD" \
        "dir \"$SERVICES_DIR/redis\"" "appendonly yes" >"$config")
    setsid "$server" "$config" >"$SERVICES_DIR/log/redis.log" 2>&1 </dev/null &
    remember "$SERVICES_DIR/redis.pid" "$!"
    export REDIS_URL="redis://default:$SERVICES_PASSWORD@127.0.0.1:$port/0"
    wait_for 20 answers "$REDIS_URL" || die "Redis did not start; see $SERVICES_DIR/log/redis.log"
    say "  Redis       127.0.0.1:$port"
}

# Its own name server (epmd), cookie, ports, configuration and folders: nothing is shared with a RabbitMQ of the system.
start_rabbitmq() {
    local server port ui dist home="$SERVICES_DIR/rabbitmq"
    server="$(program RabbitMQ rabbitmq-server find_rabbitmq)"
    port_for rabbitmq 15673 && port="$PORT_FOUND"
    port_for rabbitmq-ui 15700 && ui="$PORT_FOUND"
    port_for rabbitmq-nodes 25700 && dist="$PORT_FOUND"
    mkdir -p "$home/log" "$home/mnesia"
    (umask 077 && printf '%s\n' "listeners.tcp.local = 127.0.0.1:$port" "management.tcp.ip = 127.0.0.1" \
        "management.tcp.port = $ui" "default_user = bifrost" "default_pass = $SERVICES_PASSWORD" \
        >"$home/rabbitmq.conf")
    printf '[%s].\n' "${RABBITMQ_PLUGINS-rabbitmq_management}" >"$home/enabled_plugins"
    : >"$home/rabbitmq-env.conf"
    start_epmd
    rabbitmq_environment
    setsid env "${RABBITMQ_ENVIRONMENT[@]}" RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 \
        RABBITMQ_NODE_PORT="$port" RABBITMQ_DIST_PORT="$dist" \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' \
        RABBITMQ_CONFIG_FILE="$home/rabbitmq.conf" \
        RABBITMQ_ADVANCED_CONFIG_FILE="$home/advanced.config" RABBITMQ_ENABLED_PLUGINS_FILE="$home/enabled_plugins" \
        RABBITMQ_MNESIA_BASE="$home/mnesia" RABBITMQ_LOG_BASE="$home/log" RABBITMQ_PID_FILE="$home/rabbitmq.pid" \
        "$server" >"$SERVICES_DIR/log/rabbitmq.log" 2>&1 </dev/null &
    remember "$SERVICES_DIR/rabbitmq.pid" "$!"
    export RABBITMQ_URL="amqp://bifrost:$SERVICES_PASSWORD@127.0.0.1:$port/%2f"
    # shellcheck disable=SC2034 # dev.sh shows it
    RABBITMQ_UI="http://127.0.0.1:$ui (user bifrost, password $SERVICES_PASSWORD)"
    wait_for 90 rabbitmq_is_up "$RABBITMQ_URL" "$port" || die "RabbitMQ did not start; see $SERVICES_DIR/log/rabbitmq.log"
    say "  RabbitMQ    127.0.0.1:$port"
}

# It stays when RabbitMQ goes. Its port is in the file epmd.port.
start_epmd() {
    local epmd_program
    if remembered_alive "$SERVICES_DIR/epmd.pid"; then return 0; fi
    epmd_program="$(command -v epmd || ls /usr/lib/erlang/erts-*/bin/epmd 2>/dev/null | tail -n 1)"
    [ -n "$epmd_program" ] || die "epmd is missing: apt-get install erlang-base"
    port_for epmd 14369
    printf '%s\n' "$PORT_FOUND" >"$SERVICES_DIR/epmd.port"
    setsid env ERL_EPMD_PORT="$PORT_FOUND" ERL_EPMD_ADDRESS=127.0.0.1 "$epmd_program" \
        >"$SERVICES_DIR/log/epmd.log" 2>&1 </dev/null &
    remember "$SERVICES_DIR/epmd.pid" "$!"
    wait_for 10 port_taken "$PORT_FOUND" || die "epmd did not start; see $SERVICES_DIR/log/epmd.log"
}

# What RabbitMQ and its tools are told of each other, in RABBITMQ_ENVIRONMENT.
rabbitmq_environment() {
    local home="$SERVICES_DIR/rabbitmq"
    RABBITMQ_ENVIRONMENT=(HOME="$home" ERL_EPMD_PORT="$(<"$SERVICES_DIR/epmd.port")"
        RABBITMQ_NODENAME="bifrost-$(checksum "$SERVICES_DIR")@localhost"
        RABBITMQ_CONF_ENV_FILE="$home/rabbitmq-env.conf")
}

# Up, or not worth waiting for any longer.
rabbitmq_is_up() {
    remembered_alive "$SERVICES_DIR/rabbitmq.pid" ||
        die "RabbitMQ ended while it started; see $SERVICES_DIR/log/rabbitmq.log"
    # The port opens last: until then there is nobody to be asked.
    port_taken "$2" && answers "$1"
}

services_from_programs() {
    need_database || need_rabbitmq || need_redis || return 0
    mkdir -p "$SERVICES_DIR/log"
    private_stop # what an earlier start left behind when it was killed
    make_password
    say "starting private servers under $SERVICES_DIR"
    if need_redis; then start_redis; fi
    if need_database; then start_postgres; fi
    if need_rabbitmq; then start_rabbitmq; fi
}

# ---- stopping

stop_postgres() {
    local bin
    if remembered_alive "$SERVICES_DIR/postgres.pid"; then
        bin="$(find_postgres)"
        postgres_place
        as_postgres "$bin/pg_ctl" stop -D "$POSTGRES_DATA" -m fast -w -t 30 -s ||
            as_postgres "$bin/pg_ctl" stop -D "$POSTGRES_DATA" -m immediate -w -t 10 -s || true
    fi
    rm -f "$SERVICES_DIR/postgres.pid"
}

private_stop() {
    stop_remembered "$SERVICES_DIR/rabbitmq.pid" 40
    stop_remembered "$SERVICES_DIR/epmd.pid" 5
    stop_postgres
    stop_remembered "$SERVICES_DIR/redis.pid" 20
}

# Whether one of the private servers runs.
private_running() {
    local name
    for name in rabbitmq epmd postgres redis; do
        if remembered_alive "$SERVICES_DIR/$name.pid"; then return 0; fi
    done
    return 1
}

# Stops what was started, and only that.
services_stop() {
    private_stop
    if [ "${#COMPOSE_STARTED[@]}" -gt 0 ]; then
        compose stop "${COMPOSE_STARTED[@]}" >&2 || true
        COMPOSE_STARTED=()
    fi
}
