#!/usr/bin/env bash
# The shared cases and the refusals under valgrind: no invalid access, no use of unwritten memory, nothing definitely lost.
# Wants valgrind, and an onnxruntime as the Rust tests do.
set -euo pipefail

cd "$(dirname "$0")/../.."
binary=$(cargo test --package pdloss-ort --test it --no-run 2>&1 | sed -n 's/.*Executable.*(\(.*\))/\1/p')
valgrind --quiet --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
    --suppressions=plugins/tests/valgrind.supp "$binary" --test-threads=1 \
    cases::registered_from_rust cases::loaded_as_a_library refusals::
