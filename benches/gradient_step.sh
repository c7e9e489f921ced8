#!/usr/bin/env bash
# Runs gradient_step.py with what it needs. BATCH=symbolic leaves the batch a name; REPEATS sets the number of steps.
set -euo pipefail
cd "$(dirname "$0")/.."
plugins/tests/venvs.sh 1.19.2-training 1.32.0
cargo build --quiet --locked -p pdloss --example differentiate
export DIFFERENTIATE=${CARGO_TARGET_DIR:-target}/debug/examples/differentiate
export STOCK=.runtime/python/1.32.0/bin/python
shared=${PDLOSS_SHARED:-}/models/mobilefacenet.onnx
if [ -z "${MOBILEFACENET:-}" ] && [ -n "${PDLOSS_SHARED:-}" ] && [ -f "$shared" ]; then
    export MOBILEFACENET=$shared
fi
.runtime/python/1.19.2-training/bin/python benches/gradient_step.py "$@"
