#!/bin/sh
# Writes label-backups.wasm. What it needs is fetched once: the SDK's own tools into the SDK's folder, all else into this one.
set -eu
cd "$(dirname "$0")"
sdk=../../sdk/javascript
[ -d "$sdk/node_modules" ] || npm install --prefix "$sdk" --omit=dev --no-audit --no-fund
[ -d node_modules ] || npm install --no-audit --no-fund
npm run --silent build
