#!/usr/bin/env bash
# Makes one Python environment per onnxruntime that the operators are tested in:
#
#     plugins/tests/venvs.sh            all of them
#     plugins/tests/venvs.sh 1.32.0     only those named
#
# They live in .runtime/python/<version> (ignored by git). An environment that is complete is left alone, so a second
# run returns at once. onnxruntime-training-cpu 1.19.2 has wheels for Python 3.8 to 3.11 and needs numpy 1.
set -euo pipefail

cd "$(dirname "$0")/../.."
python=${PYTHON:-python3.11}
command -v "$python" >/dev/null || python=python3

packages() {
    case $1 in
        1.17.3) echo "onnxruntime==1.17.3 numpy==1.26.4 onnx==1.16.2" ;;
        1.19.2-training) echo "onnxruntime-training-cpu==1.19.2 numpy==1.26.4 onnx==1.16.2 protobuf==4.25.8 Pillow==11.3.0" ;;
        1.24.4) echo "onnxruntime==1.24.4 numpy==2.3.5 onnx==1.19.1" ;;
        1.32.0) echo "onnxruntime==1.32.0 numpy==2.3.5 onnx==1.19.1" ;;
        *) echo "venvs.sh: no environment is called '$1'" >&2; return 1 ;;
    esac
}

if [ $# -eq 0 ]; then
    set -- 1.17.3 1.19.2-training 1.24.4 1.32.0
fi
for name in "$@"; do
    wanted=$(packages "$name")
    folder=.runtime/python/$name
    if [ "$(cat "$folder/complete" 2>/dev/null)" = "$wanted" ]; then
        continue
    fi
    echo "venvs.sh: making $folder ($wanted)"
    rm -rf "$folder"
    "$python" -m venv "$folder"
    # shellcheck disable=SC2086 # a list of requirements, split on purpose
    "$folder/bin/pip" install --quiet --disable-pip-version-check $wanted
    echo "$wanted" >"$folder/complete"
done
