#!/usr/bin/env bash
# Ten AdamW steps of step graphs against onnxruntime-training 1.19.2; further models as arguments.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
plugins/tests/venvs.sh 1.19.2-training
cargo build --locked --workspace --example ort_training_step
PDLOSS_STEP=$target/debug/examples/ort_training_step PYTHONPATH=plugins/python \
    .runtime/python/1.19.2-training/bin/python tests/ort_training/adamw.py "$@"
