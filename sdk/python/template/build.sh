#!/bin/sh
# Writes {{name}}.wasm. The SDK and its compiler are fetched once, into an environment: this folder's own, or VENV.
# -B: nothing is written beside the sources of the SDK.
set -eu
cd "$(dirname "$0")"
venv=${VENV:-.venv}
if [ ! -x "$venv/bin/componentize-py" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --editable "{{sdk}}"
fi
"$venv/bin/python" -B -m flocker_sdk.build
