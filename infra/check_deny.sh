#!/usr/bin/env bash
# cargo-deny: the machine's own, or one installed into .local. Advisories need the network's
# advisory database; where it cannot be had, that part is left out, and said.
set -euo pipefail
cd "$(dirname "$0")/.."
deny=$(command -v cargo-deny || true)
if [ -z "$deny" ]; then
    deny=.local/cargo/bin/cargo-deny
    [ -x "$deny" ] || cargo install cargo-deny --locked --root .local/cargo
fi
"$deny" --workspace check bans licenses sources
if ! "$deny" --workspace fetch db >/dev/null 2>&1; then
    echo "left out: the advisory database cannot be fetched"
    exit 0
fi
"$deny" --workspace check advisories
