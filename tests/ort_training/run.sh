#!/usr/bin/env bash
# Whole models: gradients on a stock onnxruntime against those of onnxruntime-training 1.19.2. With arguments another script
# that needs both: benches/gradient_step.py.
# MOBILEFACENET=FILE.onnx, or PDLOSS_SHARED with models/mobilefacenet.onnx in it, adds a real network.
set -euo pipefail
cd "$(dirname "$0")/../.."
plugins/tests/venvs.sh 1.19.2-training 1.32.0
cargo build --locked --workspace --example differentiate
export DIFFERENTIATE=${CARGO_TARGET_DIR:-target}/debug/examples/differentiate
export STOCK=.runtime/python/1.32.0/bin/python
shared=${PDLOSS_SHARED:-}/models/mobilefacenet.onnx
if [ -z "${MOBILEFACENET:-}" ] && [ -n "${PDLOSS_SHARED:-}" ] && [ -f "$shared" ]; then
    export MOBILEFACENET=$shared
fi
.runtime/python/1.19.2-training/bin/python "${@:-tests/ort_training/compare.py}"
