#!/bin/sh
# Writes {{name}}.wasm. Arguments go to cargo.
set -eu
cd "$(dirname "$0")"
cargo build --release --target-dir "${CARGO_TARGET_DIR:-target}" "$@"
cp "${CARGO_TARGET_DIR:-target}/wasm32-unknown-unknown/release/{{snake}}.wasm" {{name}}.wasm
