#!/usr/bin/env bash
# The Python package in ONNX Runtime training 1.19.2, from a fresh build: `test_training.py`, or the script named.
#
#     plugins/tests/training.sh
#     plugins/tests/training.sh plugins/benches/training.py --batch 256 --repeat 5
#     plugins/tests/training.sh plugins/examples/python/train.py DATA --out RUN
set -euo pipefail

cd "$(dirname "$0")/../.."
if [ $# -eq 0 ]; then
    set -- -m unittest plugins/tests/test_training.py
fi
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
plugins/tests/venvs.sh 1.19.2-training 1.32.0
cargo build --locked --workspace
PDLOSS_ORT_LIBRARY=$target/debug/libpdloss_ort.so PDLOSS=$target/debug/pdloss PYTHONPATH=plugins/python \
    .runtime/python/1.19.2-training/bin/python "$@"
