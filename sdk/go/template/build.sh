#!/bin/sh
# Writes {{name}}.wasm. GO and FLOCKER are those commands, where they are not in PATH. Arguments go to `go build`.
set -eu
cd "$(dirname "$0")"
# Nothing is fetched: a policy needs no module but the SDK.
GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 "${GO:-go}" build -buildmode=c-shared -trimpath -ldflags=-s -o core.wasm "$@" .
"${FLOCKER:-flocker}" plugin componentize core.wasm --output {{name}}.wasm
rm core.wasm
