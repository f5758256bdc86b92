#!/usr/bin/env bash
# Runs cargo-deny, which is installed into .local if it is missing. Advisories need a database from
# the network; without it they are skipped with a message.
set -euo pipefail
cd "$(dirname "$0")/.."
deny=$(command -v cargo-deny || true)
if [ -z "$deny" ]; then
    deny=.local/cargo/bin/cargo-deny
    [ -x "$deny" ] || cargo install cargo-deny --locked --root .local/cargo
fi
"$deny" --workspace check bans licenses sources
if ! "$deny" --workspace fetch db >/dev/null 2>&1; then
    echo "skipped advisories: the advisory database cannot be fetched"
    exit 0
fi
"$deny" --workspace check advisories
