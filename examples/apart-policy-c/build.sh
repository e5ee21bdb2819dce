#!/bin/sh
# Writes apart.wasm. CC is the compiler, if not clang: a path, or "python3 -m ziglang cc"; FLOCKER is the command
# `flocker`, if it is not in PATH. Arguments go to the compiler.
set -eu
cd "$(dirname "$0")"
sdk=../../sdk/c
${CC:-clang} --target=wasm32-wasi -mexec-model=reactor -std=c11 -Os -Wall -Wextra -I "$sdk/include" \
    -Wl,-z,stack-size=65536 -Wl,--strip-debug -o core.wasm policy.c "$sdk"/src/*.c "$sdk"/gen/wit.c "$@"
"${FLOCKER:-flocker}" plugin componentize core.wasm --output apart.wasm
rm core.wasm
