#!/bin/sh
# Writes {{name}}.wasm. The SDK and its compiler are fetched once, into this folder's own environment.
set -eu
cd "$(dirname "$0")"
if [ ! -x .venv/bin/componentize-py ]; then
    python3 -m venv .venv
    .venv/bin/pip install --quiet --editable "{{sdk}}"
fi
.venv/bin/python -m flocker_sdk.build
