#!/usr/bin/env bash
# The Python packages, quickly: the wheel of the operators from the library that is built already (cargo's dev profile), installed into an
# empty environment, its loss beside two onnxruntimes; then the functions of the package `pdloss` over the programs that are built.
# The wheels that people get, in empty systems: packaging/tests/install.sh.
set -euo pipefail

cd "$(dirname "$0")/../.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
plugins/tests/venvs.sh 1.19.2-training 1.32.0
cargo build --locked --workspace
python=.runtime/python/1.32.0/bin/python
PDLOSS_BUILT=$target/debug "$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work" plugins/python
wheel=$(echo "$work"/pdloss_ort-*.whl)
echo "wheel.sh: $(basename "$wheel"), $(stat -c %s "$wheel") bytes"

"$python" -m venv "$work/empty"
"$work/empty/bin/pip" install --quiet --disable-pip-version-check --no-index "$wheel"
(cd "$work" && empty/bin/python -c "import pdloss_ort; print('alone:', pdloss_ort.get_library_path())")
"$work/empty/bin/pip" list --disable-pip-version-check --format=freeze | grep -q '^onnxruntime' && exit 1

for name in 1.32.0 1.19.2-training; do
    .runtime/python/$name/bin/pip install --quiet --disable-pip-version-check --no-index --no-deps --target "$work/$name" "$wheel"
    PYTHONPATH=$work/$name .runtime/python/$name/bin/python packaging/tests/run_operator.py plugins/examples/loss.onnx
done
PATH=$target/debug:$PATH PYTHONPATH=packaging/pdloss "$python" packaging/tests/test_measure.py
