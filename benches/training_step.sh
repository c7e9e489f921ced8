#!/usr/bin/env bash
# Runs training_step.py with what it needs; further models as arguments. PDLOSS_STEP and LIBRARY: the built example and operators; TORCH_PYTHON: a
# Python that has PyTorch, torchvision and timm.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
plugins/tests/venvs.sh 1.19.2-training 1.32.0
if [ -z "${PDLOSS_STEP:-}" ]; then
    cargo build --locked --workspace --lib --example ort_training_step
    export PDLOSS_STEP=$target/debug/examples/ort_training_step
fi
export LIBRARY=${LIBRARY:-$target/debug/libpdloss_ort.so}
STOCK=.runtime/python/1.32.0/bin/python \
    PYTHONPATH=plugins/python:tests/ort_training .runtime/python/1.19.2-training/bin/python benches/training_step.py "$@"
