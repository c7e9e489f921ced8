#!/usr/bin/env bash
# Runs training_step.py with what it needs; further models as arguments.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
plugins/tests/venvs.sh 1.19.2-training 1.32.0
cargo build --locked --workspace --example ort_training_step
PDLOSS_STEP=$target/debug/examples/ort_training_step STOCK=.runtime/python/1.32.0/bin/python \
    PYTHONPATH=plugins/python:tests/ort_training .runtime/python/1.19.2-training/bin/python benches/training_step.py "$@"
