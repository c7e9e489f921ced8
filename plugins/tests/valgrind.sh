#!/usr/bin/env bash
# The shared cases and the refusals under valgrind: no invalid access, no use of unwritten memory, nothing definitely lost.
# Wants valgrind, and an onnxruntime as the Rust tests do.
set -euo pipefail

cd "$(dirname "$0")/../.."
for test in cases refusals; do
    binary=$(cargo test --package pdloss-ort --test "$test" --no-run 2>&1 | sed -n 's/.*Executable.*(\(.*\))/\1/p')
    only=()
    if [ "$test" = cases ]; then
        only=(--exact registered_from_rust loaded_as_a_library)
    fi
    valgrind --quiet --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
        --suppressions=plugins/tests/valgrind.supp "$binary" --test-threads=1 "${only[@]}"
done
