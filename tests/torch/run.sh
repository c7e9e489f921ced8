#!/usr/bin/env bash
# Whole nets against PyTorch's autograd: tests/torch/compare.py. Arguments are names of nets; ZOO names a file of others,
# such as tests/torch/zoo.py.
# TORCH_PYTHON: a Python that has them already; else .runtime/torch gets PyTorch for the CPU, onnx, onnxscript and onnxruntime.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${TORCH_PYTHON:-.runtime/torch/bin/python}
if [ -z "${TORCH_PYTHON:-}" ] && [ ! -x "$python" ]; then
    python3 -m venv .runtime/torch
    .runtime/torch/bin/pip install --quiet --disable-pip-version-check torch==2.15.0 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy==2.4.6
fi
if [ -z "${TORCH_PYTHON:-}" ] && [ -n "${ZOO:-}" ] && ! "$python" -c 'import timm, torchvision' 2>/dev/null; then
    .runtime/torch/bin/pip install --quiet --disable-pip-version-check torchvision==0.29.2 timm==1.0.31
fi
cargo build --locked --workspace --example torch_step
export TORCH_STEP=${CARGO_TARGET_DIR:-target}/debug/examples/torch_step
"$python" tests/torch/compare.py "$@"
