#!/usr/bin/env bash
# The one gate: formatting, lints, shell, Python, build, Rust tests, documentation. `./test.sh --help` says more.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/scripts/lib.sh"

usage() {
    cat <<'TEXT'
./test.sh                       everything
./test.sh --full                everything, with many more cases in the property tests
./test.sh --coverage            the Rust tests under cargo-llvm-cov, with a table of coverage
./test.sh PATH…                 the tests of a crate or file: crates/boot, crates/boot/tests/keys.rs,
                                sdk/python/tests/test_context.py, …/test_context.py::test_name
./test.sh WORD…                 the Rust tests whose name contains one of the words

PostgreSQL, RabbitMQ and Redis are those named by DATABASE_URL (a user who may create databases), RABBITMQ_URL and
REDIS_URL, else those on this machine's usual ports, else Docker Compose, else private ones for the time of the run.
The last line is `N passed, M failed`; each static check counts as one.
TEXT
}

PASSED=0
FAILED=0
FAILURES=()
TIMES=()
LOG="$(mktemp)"
TEMPORARY=""

# phase NAME COUNTER COMMAND…: runs it, shows it, times it, and lets COUNTER read its output from $LOG.
phase() {
    local name="$1" counter="$2" status=0 begun="$EPOCHREALTIME" before="$FAILED"
    shift 2
    printf '\n== %s\n' "$name"
    "$@" 2>&1 | tee "$LOG" || status=$?
    "$counter" "$status"
    if [ "$status" != 0 ] && [ "$FAILED" = "$before" ]; then FAILED=$((FAILED + 1)); fi
    if [ "$FAILED" != "$before" ]; then FAILURES+=("$name"); fi
    TIMES+=("$(elapsed "$begun")  $name")
}

elapsed() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%7.1f s", b - a }'; }

# One check: it holds or not.
count_one() { if [ "$1" = 0 ]; then PASSED=$((PASSED + 1)); fi; }

# A colourless copy of the output.
plain() { sed 's/\x1b\[[0-9;]*m//g' "$LOG"; }

# Counters keep to a last number before a word: `44 passed`, `1 failed`, `1 timed out`.
number_before() { plain | grep -E "$2" | tail -n 1 | grep -oE "[0-9]+ $1" | head -n 1 | cut -d' ' -f1; }

count_nextest() {
    local word number
    number="$(number_before passed '^ *Summary')" && PASSED=$((PASSED + ${number:-0})) || true
    for word in failed 'exec failed' 'timed out'; do
        number="$(number_before "$word" '^ *Summary')" && FAILED=$((FAILED + ${number:-0})) || true
    done
}

count_cargo_test() {
    local passed failed
    read -r passed failed < <(plain | awk '/^test result:/ { for (i = 2; i <= NF; i++) {
        if ($i ~ /^passed/) p += $(i - 1); if ($i ~ /^failed/) f += $(i - 1) } } END { print p + 0, f + 0 }')
    PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed))
}

count_unittest() {
    local ran bad
    ran="$(plain | sed -nE 's/^Ran ([0-9]+) tests?.*/\1/p' | tail -n 1)"
    bad="$(plain | sed -nE 's/^FAILED \((.*)\)$/\1/p' | tail -n 1 | grep -oE '(failures|errors|unexpected successes)=[0-9]+' |
        awk -F= '{ sum += $2 } END { print sum + 0 }')" || bad=0
    local skipped
    skipped="$(plain | grep -E '^(OK|FAILED) \(' | grep -oE 'skipped=[0-9]+' | tail -n 1 | cut -d= -f2)" || skipped=0
    FAILED=$((FAILED + ${bad:-0}))
    PASSED=$((PASSED + ${ran:-0} - ${bad:-0} - ${skipped:-0}))
}

# ---- what has to be there

need_component() {
    cargo "$1" --version >/dev/null 2>&1 && return 0
    have rustup && rustup component add "$2" >&2 && return 0
    die "cargo $1 is missing: rustup component add $2"
}

# Leaves NEXTEST=1 when there is cargo-nextest, installed if need be.
find_nextest() {
    NEXTEST=1
    if cargo nextest --version >/dev/null 2>&1; then return 0; fi
    say "installing cargo-nextest (once; takes a few minutes)"
    if cargo install cargo-nextest --locked >&2; then return 0; fi
    say "cargo-nextest could not be installed; using cargo test"
    NEXTEST=""
}

find_services() {
    # shellcheck source=scripts/services.sh
    . "$ROOT/scripts/services.sh"
    # Tests take addresses from these three only; settings of a running installation must not reach them.
    unset DATABASE_HOST DATABASE_PORT DATABASE_NAME DATABASE_USER DATABASE_PASSWORD
    unset DATABASE_URL_FILE RABBITMQ_URL_FILE REDIS_URL_FILE DATABASE_PASSWORD_FILE
    services_from_environment
    services_from_this_machine
    services_from_compose
    if need_database || need_rabbitmq || need_redis; then
        TEMPORARY="$(mktemp -d "${TMPDIR:-/tmp}/bifrost-test.XXXXXX")"
        chmod 711 "$TEMPORARY" # PostgreSQL runs as another user when this is root
        SERVICES_DIR="$TEMPORARY"
        services_from_programs
    fi
}

clean_up() {
    local status=$?
    trap '' INT TERM HUP
    if declare -F services_stop >/dev/null; then services_stop || true; fi
    if [ -n "$TEMPORARY" ]; then rm -rf "$TEMPORARY"; fi
    rm -f "$LOG"
    exit "$status"
}

# ---- the checks

shell_syntax() {
    local script
    for script in dev.sh test.sh .ci/run scripts/*.sh; do
        bash -n "$script" || return 1
        say "$script"
    done
    if have shellcheck; then shellcheck -x dev.sh test.sh scripts/*.sh; fi
}

python_tests() { "$PYTHON" -W error::SyntaxWarning -m unittest discover -s sdk/python/tests -t sdk/python "$@"; }

# unittest of one file, or of one test in it (FILE::NAME).
python_file() {
    local file="${1%%::*}" name=""
    if [[ "$1" == *::* ]]; then name="${1##*::}"; fi
    [ -f "$file" ] || die "there is no $file"
    python_tests -p "$(basename "$file")" ${name:+-k "$name"}
}

rust_tests() {
    if [ -n "$NEXTEST" ]; then
        cargo nextest run --no-fail-fast --profile "$NEXTEST_PROFILE" "$@"
    else
        cargo test --no-fail-fast --lib --bins --tests "$@"
    fi
}

count_rust_tests() { if [ -n "$NEXTEST" ]; then count_nextest "$1"; else count_cargo_test "$1"; fi; }

# Whether a doc comment has a code block that rustdoc would run.
has_doc_tests() {
    local answer
    answer="$(find crates migration -name '*.rs' -exec awk '
        FNR == 1 { open = 0 }
        /^[[:space:]]*\/\/[\/!][[:space:]]*```/ {
            if (open) { open = 0; next }
            open = 1
            fence = $0
            sub(/^[^`]*```/, "", fence)
            if (fence ~ /^(rust|no_run|should_panic|compile_fail)?[[:space:]]*$/ || fence ~ /^rust,/) { print "yes"; exit }
        }' {} + | head -n 1)"
    [ "$answer" = yes ]
}

documentation() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet; }

everything() {
    need_component fmt rustfmt
    need_component clippy clippy
    find_nextest
    find_services
    phase "formatting" count_one cargo fmt --all --check
    phase "shell scripts" count_one shell_syntax
    phase "Python tests" count_unittest python_tests
    phase "lints" count_one cargo clippy --workspace --all-targets --quiet -- -D warnings
    phase "build" count_one cargo build --workspace --bins
    phase "Rust tests" count_rust_tests rust_tests --workspace
    if has_doc_tests; then phase "documentation tests" count_cargo_test cargo test --workspace --doc; fi
    phase "documentation" count_one documentation
}

coverage() {
    cargo llvm-cov --version >/dev/null 2>&1 || die "--coverage needs cargo-llvm-cov: cargo install cargo-llvm-cov --locked"
    find_nextest
    [ -n "$NEXTEST" ] || die "--coverage needs cargo-nextest: cargo install cargo-nextest --locked"
    find_services
    phase "Rust tests with coverage" count_nextest cargo llvm-cov nextest --workspace --no-fail-fast
}

# The package of a crate's folder.
package_of() { sed -nE 's/^name = "(.*)"/\1/p' "$1/Cargo.toml" | head -n 1; }

some() {
    local argument path folder package words=()
    find_nextest
    if [[ " $*" != *" sdk/python/"* || $# -gt 1 ]]; then find_services; fi
    for argument in "$@"; do
        path="${argument#./}"
        case "$path" in
        sdk/python/*.py | sdk/python/*.py::*) phase "$path" count_unittest python_file "$path" ;;
        sdk/python | sdk/python/*) phase "$path" count_unittest python_tests ;;
        crates/* | migration | migration/*)
            folder="${path%/}"
            [ -e "$folder" ] || die "there is no $folder"
            while [ ! -f "$folder/Cargo.toml" ]; do folder="$(dirname "$folder")"; done
            package="$(package_of "$folder")"
            if [[ "$path" == */tests/*.rs && "$(dirname "$path")" == "$folder/tests" ]]; then
                phase "$path" count_rust_tests rust_tests -p "$package" --test "$(basename "$path" .rs)"
            else
                phase "$path" count_rust_tests rust_tests -p "$package"
            fi
            ;;
        *) words+=("$argument") ;;
        esac
    done
    if [ "${#words[@]}" -gt 0 ]; then phase "${words[*]}" count_rust_tests rust_tests --workspace "${words[@]}"; fi
}

report() {
    local line
    printf '\n== times\n'
    for line in "${TIMES[@]}"; do say "$line"; done
    for line in ${FAILURES[@]+"${FAILURES[@]}"}; do say "failed: $line"; done
    say "$PASSED passed, $FAILED failed"
    [ "$FAILED" = 0 ] && [ "$PASSED" -gt 0 ]
}

cd "$ROOT"
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
NEXTEST_PROFILE=default
need_build_tools
case "${1:-}" in
"") everything ;;
--full)
    [ $# = 1 ] || die "--full stands alone"
    export PROPTEST_CASES="${PROPTEST_CASES:-4096}"
    NEXTEST_PROFILE=full
    everything
    ;;
--coverage)
    [ $# = 1 ] || die "--coverage stands alone"
    coverage
    ;;
-h | --help | help) usage && exit 0 ;;
-*) die "does not know \`$1\`; ./test.sh --help" ;;
*) some "$@" ;;
esac
report
