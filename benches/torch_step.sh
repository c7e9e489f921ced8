#!/usr/bin/env bash
# Runs torch_step.py with what it needs: a data set and losses as arguments. TORCH_PYTHON: a Python that has PyTorch and
# pytorch-metric-learning already; PDLOSS: the built program.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${TORCH_PYTHON:-.runtime/torch/bin/python}
if [ -z "${TORCH_PYTHON:-}" ] && ! "$python" -c 'import pytorch_metric_learning' 2>/dev/null; then
    python3 -m venv .runtime/torch
    .runtime/torch/bin/pip install --quiet --disable-pip-version-check torch==2.15.0 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy==2.4.6 \
        pytorch-metric-learning==2.9.0
fi
if [ -z "${PDLOSS:-}" ]; then
    cargo build --locked --workspace --bins
    export PDLOSS=${CARGO_TARGET_DIR:-target}/debug/pdloss
fi
exec "$python" benches/torch_step.py "$@"
