#!/usr/bin/env bash
# Builds the wheel, installs it into an empty environment, and runs the loss from it: alone, then beside onnxruntime, then
# the Python example in ONNX Runtime training. The data set of the example is the argument, or none.
#
#     plugins/tests/wheel.sh [DATA]
set -euo pipefail

cd "$(dirname "$0")/../.."
data=${1:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
plugins/tests/venvs.sh 1.19.2-training 1.32.0
python=.runtime/python/1.32.0/bin/python
wheel=$("$python" plugins/python/build_wheel.py "$work" | tail -1)
echo "wheel.sh: $(basename "$wheel"), $(stat -c %s "$wheel") bytes"

"$python" -m venv "$work/empty"
"$work/empty/bin/pip" install --quiet --disable-pip-version-check --no-index "$wheel"
(cd "$work" && empty/bin/python -c "import pdloss_ort, sys; print('alone:', pdloss_ort.get_library_path())")
"$work/empty/bin/pip" list --disable-pip-version-check --format=freeze | grep -q '^onnxruntime' && exit 1

cp plugins/examples/loss.onnx "$work"
for name in 1.32.0 1.19.2-training; do
    .runtime/python/$name/bin/pip install --quiet --disable-pip-version-check --no-index --no-deps --target "$work/$name" "$wheel"
    PYTHONPATH=$work/$name .runtime/python/$name/bin/python - "$work/loss.onnx" <<'PY'
import sys
import numpy as np, onnxruntime, pdloss_ort

options = onnxruntime.SessionOptions()
options.register_custom_ops_library(pdloss_ort.get_library_path())
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
embeddings = np.array([[1, 0.1], [0.2, 1], [0.7, 0.6]], np.float32)
feeds = {"embeddings": embeddings, "proxies": np.eye(2, dtype=np.float32), "labels": np.array([0, 1, 0])}
loss = float(session.run(["loss"], feeds)[0])
assert abs(loss - -0.816545) < 1e-5, loss
print(f"beside onnxruntime {onnxruntime.__version__}: loss {loss:.6f}")
PY
done
if [ -n "$data" ]; then
    PYTHONPATH=$work/1.19.2-training .runtime/python/1.19.2-training/bin/python \
        plugins/examples/python/train.py "$data" --out "$work/run"
fi
