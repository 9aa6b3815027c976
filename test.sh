#!/usr/bin/env bash
# The one gate: formatting, lints, shell, Python, build, Rust tests, documentation. `./test.sh --help` says more, CONTRIBUTING.md the rest.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/scripts/lib.sh"

usage() {
    cat <<'TEXT'
./test.sh                       everything but the long tests
./test.sh --full                everything, with the long tests and many more cases in the property tests
./test.sh --coverage [PATH…]    the Rust tests (of all, or of these crates) with a table of the lines that they reach, and
                                target/coverage/lcov.info
./test.sh PATH…                 the tests of a crate, folder or file: crates/boot, crates/boot/tests/keys.rs,
                                crates/bin/tests/e2e/tour.rs, migration, sdk/python/tests/test_context.py, examples, docker
./test.sh PATH::NAME            one test of a file: crates/boot/tests/keys.rs::name, sdk/python/tests/test_context.py::test_name
./test.sh WORD…                 the Rust tests whose name contains one of the words

A file of a crate's src/ stands for the crate. Tests whose name ends in `_long` are left to --full, unless a path or word names them.

PostgreSQL, RabbitMQ and Redis are those named by DATABASE_URL (a user who may create databases), RABBITMQ_URL and
REDIS_URL, else those on this machine's usual ports, else Docker Compose, else private ones for the time of the run.
The last line is `N passed, M failed`; each static check counts as one.
TEXT
}

PASSED=0
FAILED=0
FAILURES=()
TIMES=()
NOTES=()
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
    if [ -n "${NEXTEST+known}" ]; then return 0; fi
    NEXTEST=1
    if cargo nextest --version >/dev/null 2>&1; then return 0; fi
    say "installing cargo-nextest (once; takes a few minutes)"
    if cargo install cargo-nextest --locked >&2; then return 0; fi
    say "cargo-nextest could not be installed; using cargo test"
    NEXTEST=""
}

find_services() {
    if declare -F services_stop >/dev/null; then return 0; fi
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

# The tests of sign-in talk to a real OpenID Connect provider.
find_oidc_provider() { scripts/oidc-provider.sh || die "the tests of crates/api need it"; }

# What tries the walls around runs needs root and namespaces: where they cannot be had it is left out, and the end of the run says so.
find_walls() {
    if [ -n "${TESTS_WITHOUT_WALLS:-}" ]; then return 0; fi
    if [ "$(uname -s)" = Linux ] && [ "$(id -u)" = 0 ] && unshare --mount --pid --fork true 2>/dev/null; then return 0; fi
    export TESTS_WITHOUT_WALLS=1
    NOTES+=("the walls around runs were not all tried: that needs root on a Linux that permits namespaces")
}

clean_up() {
    local status=$?
    trap '' INT TERM HUP
    if declare -F services_stop >/dev/null; then services_stop || true; fi
    if [ -n "$TEMPORARY" ]; then rm -rf "$TEMPORARY"; fi
    rm -f "$LOG"
    exit "$status"
}

# Leaves cargo-llvm-cov with a way to read the profiles that rustc's LLVM writes.
find_coverage_tools() {
    local major folder
    cargo llvm-cov --version >/dev/null 2>&1 || {
        say "installing cargo-llvm-cov (once; takes a few minutes)"
        cargo install cargo-llvm-cov --locked >&2 || die "--coverage needs cargo-llvm-cov: cargo install cargo-llvm-cov --locked"
    }
    if [ -n "${LLVM_COV:-}" ] && [ -n "${LLVM_PROFDATA:-}" ]; then return 0; fi
    folder="$(rustc --print sysroot)/lib/rustlib"
    if [ -n "$(find "$folder" -name llvm-profdata 2>/dev/null)" ]; then return 0; fi
    if have rustup && timeout 300 rustup component add llvm-tools >&2; then return 0; fi
    # Without rustup: the same major version from elsewhere reads the same format.
    major="$(rustc -vV | sed -nE 's/^LLVM version: ([0-9]+).*/\1/p')"
    if have "llvm-profdata-$major" && have "llvm-cov-$major"; then
        LLVM_COV="$(command -v "llvm-cov-$major")"
        LLVM_PROFDATA="$(command -v "llvm-profdata-$major")"
        export LLVM_COV LLVM_PROFDATA
        return 0
    fi
    die "--coverage needs llvm-cov and llvm-profdata $major: rustup component add llvm-tools, or apt-get install llvm-$major"
}

# ---- the checks

SCRIPTS=(dev.sh test.sh .ci/run scripts/*.sh docker/*.sh)

shell_syntax() {
    local script
    for script in "${SCRIPTS[@]}"; do
        bash -n "$script" || return 1
        say "$script"
    done
    if have shellcheck; then shellcheck -x "${SCRIPTS[@]}"; fi
}

python_tests() { "$PYTHON" -W error::SyntaxWarning -m unittest discover -s sdk/python/tests -t sdk/python "$@"; }

# unittest of one file, or of one test in it.
python_file() { python_tests -p "$(basename "$1")" ${2:+-k "$2"}; }

# rust_tests ARGUMENT…: the tests that these arguments of cargo choose.
rust_tests() {
    if [ -n "$NEXTEST" ]; then
        cargo nextest run --no-fail-fast --profile "$NEXTEST_PROFILE" "$@"
    else
        cargo test --no-fail-fast --lib --bins --tests "$@"
    fi
}

# rust_tests_in MODULE NAME ARGUMENT…: of these, those in a module (empty: in any) and of a name (empty: every one).
rust_tests_in() {
    local module="$1" name="$2" pattern
    shift 2
    if [ -n "$NEXTEST" ]; then
        pattern="${module:+^$module::}"
        if [ -n "$name" ]; then pattern+="${module:+(.*::)?}$name(::|\$)"; fi
        cargo nextest run --no-fail-fast --profile "$NEXTEST_PROFILE" "$@" -E "test(/$pattern/)"
    else
        cargo test --no-fail-fast "$@" "${name:-$module::}"
    fi
}

count_rust_tests() { if [ -n "$NEXTEST" ]; then count_nextest "$1"; else count_cargo_test "$1"; fi; }

# Says how many tests the plain run left out.
note_long_tests() {
    if [ -z "$NEXTEST" ] || [ "$NEXTEST_PROFILE" = full ]; then return 0; fi
    NOTES+=("$(cargo nextest list --workspace --profile full --message-format oneline -E "test($LONG)" 2>/dev/null |
        grep -c . || true) long tests were left to ./test.sh --full")
}

# As .config/nextest.toml has it.
LONG='/_long(::|$)/'

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
    find_oidc_provider
    find_walls
    phase "formatting" count_one cargo fmt --all --check
    phase "shell scripts" count_one shell_syntax
    phase "Python tests" count_unittest python_tests
    phase "lints" count_one cargo clippy --workspace --all-targets --quiet -- -D warnings
    phase "build" count_one cargo build --workspace --bins
    phase "Rust tests" count_rust_tests rust_tests --workspace
    note_long_tests
    if has_doc_tests; then phase "documentation tests" count_cargo_test cargo test --workspace --doc; fi
    phase "documentation" count_one documentation
}

coverage() {
    local packages=() argument
    for argument in "$@"; do
        [ -f "$argument/Cargo.toml" ] || die "--coverage takes folders of crates; $argument is none"
        packages+=(-p "$(package_of "$argument")")
    done
    if [ "${#packages[@]}" = 0 ]; then packages=(--workspace); fi
    find_nextest
    [ -n "$NEXTEST" ] || die "--coverage needs cargo-nextest: cargo install cargo-nextest --locked"
    find_coverage_tools
    find_services
    find_oidc_provider
    mkdir -p target/coverage
    cargo llvm-cov clean --workspace --profraw-only
    phase "Rust tests with coverage" count_nextest env NEXTEST_PROFILE="$NEXTEST_PROFILE" \
        cargo llvm-cov nextest --no-report --no-fail-fast "${packages[@]}"
    phase "coverage" count_one coverage_report
    NOTES+=("lines by file: target/coverage/lcov.info")
}

coverage_report() {
    local ours='(/tests/|/test-support/|/bench/)'
    cargo llvm-cov report --lcov --output-path target/coverage/lcov.info --ignore-filename-regex "$ours" &&
        cargo llvm-cov report --summary-only --ignore-filename-regex "$ours"
}

# The package of a crate's folder.
package_of() { sed -nE 's/^name = "(.*)"/\1/p' "$1/Cargo.toml" | head -n 1; }

# The tests of PATH or PATH::NAME in a crate.
some_of_crate() {
    local path="$1" name="$2" folder package inside target
    folder="$path"
    while [ ! -f "$folder/Cargo.toml" ]; do folder="$(dirname "$folder")"; done
    package="$(package_of "$folder")"
    inside="${path#"$folder"}" && inside="${inside#/}"
    case "$inside" in
    tests/*.rs)
        # tests/suite/main.rs is a target, tests/suite/part.rs a module of it, tests/alone.rs a target of its own.
        inside="${inside#tests/}" && inside="${inside%.rs}"
        target="${inside%%/*}"
        inside="${inside#"$target"}" && inside="${inside#/}" && inside="${inside%/mod}"
        if [ "$inside" = main ]; then inside=""; fi
        inside="${inside//\//::}"
        if [ -z "$inside$name" ]; then
            rust_tests -p "$package" --test "$target"
        else
            rust_tests_in "$inside" "$name" -p "$package" --test "$target"
        fi
        ;;
    *) if [ -z "$name" ]; then rust_tests -p "$package"; else rust_tests_in "" "$name" -p "$package"; fi ;;
    esac
}

# What an argument names: its path and the name of one test in WHERE and NAME. A word that is no path leaves WHERE empty.
named() {
    WHERE="${1#./}" && WHERE="${WHERE%/}" NAME=""
    if [[ "$WHERE" == *::* && -e "${WHERE%%::*}" ]]; then
        NAME="${WHERE##*::}" WHERE="${WHERE%%::*}"
    fi
    if [ -e "$WHERE" ]; then return 0; fi
    case "$WHERE" in
    */* | *.rs | *.py | *.sh) die "there is no ${WHERE%%::*}" ;;
    *) WHERE="" NAME="" ;;
    esac
}

some() {
    local argument words=()
    # What a path or a word names runs, however long it takes.
    NEXTEST_PROFILE=full
    for argument in "$@"; do named "$argument"; done
    for argument in "$@"; do
        named "$argument"
        case "$WHERE" in
        "") words+=("$argument") ;;
        sdk/python/tests/*.py) phase "$argument" count_unittest python_file "$WHERE" "$NAME" ;;
        sdk | sdk/*) phase "$argument" count_unittest python_tests ;;
        examples | examples/*) phase "$argument" count_unittest python_file test_examples.py "$NAME" ;;
        docker | docker/* | docker-compose*.yml | Dockerfile.* | scripts | scripts/* | *.sh)
            phase "shell scripts" count_one shell_syntax
            phase "$argument" count_unittest python_file test_compose.py "$NAME"
            ;;
        crates/* | migration | migration/* | bench | bench/*)
            find_nextest
            find_services
            case "$WHERE" in crates/api | crates/api/*) find_oidc_provider ;; esac
            phase "$argument" count_rust_tests some_of_crate "$WHERE" "$NAME"
            ;;
        *) die "$WHERE has no tests of its own; ./test.sh --help says what has" ;;
        esac
    done
    if [ "${#words[@]}" -gt 0 ]; then
        find_nextest
        find_services
        find_oidc_provider
        phase "${words[*]}" count_rust_tests rust_tests --workspace "${words[@]}"
    fi
}

report() {
    local line
    printf '\n== times\n'
    for line in "${TIMES[@]}"; do say "$line"; done
    for line in ${NOTES[@]+"${NOTES[@]}"}; do say "$line"; done
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
    shift
    coverage "$@"
    ;;
-h | --help | help) usage && exit 0 ;;
-*) die "does not know \`$1\`; ./test.sh --help" ;;
*) some "$@" ;;
esac
report
