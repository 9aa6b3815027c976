#!/usr/bin/env bash
# Puts the OpenID Connect provider of the tests (npm's oidc-provider) into target/oidc-provider, unless it is there. Needs node 20 and npm.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

wanted="$ROOT/crates/api/tests/oidc"
place="$ROOT/target/oidc-provider"
if [ -d "$place/node_modules/oidc-provider" ] && cmp -s "$wanted/package-lock.json" "$place/installed.json"; then
    exit 0
fi
have node && have npm || die "node 20 or newer and npm are missing: the tests of sign-in with identity providers need them"
say "installing the OpenID Connect provider of the tests (once)"
mkdir -p "$place"
cp "$wanted/package.json" "$wanted/package-lock.json" "$place/"
(cd "$place" && npm ci --omit=dev --no-audit --no-fund --ignore-scripts >&2)
cp "$wanted/package-lock.json" "$place/installed.json"
