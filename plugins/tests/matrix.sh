#!/usr/bin/env bash
# Runs the shared cases through real sessions of several onnxruntimes, each from its own wheel, and holds loss, moments and
# gradients to the oracle:
#
#     plugins/tests/matrix.sh                              the four of venvs.sh
#     plugins/tests/matrix.sh 1.17.3 1.19.2-training       only those named
#
# One library serves all of them. Where the build goes follows CARGO_TARGET_DIR.
set -euo pipefail

cd "$(dirname "$0")/../.."
if [ $# -eq 0 ]; then
    set -- 1.17.3 1.19.2-training 1.24.4 1.32.0
fi
target=${CARGO_TARGET_DIR:-target}
plugins/tests/venvs.sh "$@"
cargo build --locked --workspace --lib --bins --example case_files

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$target/debug/examples/case_files" write "$work/cases"
failed=0
for name in "$@"; do
    results=$work/$name
    if ! .runtime/python/"$name"/bin/python plugins/tests/run_cases.py "$target/debug/libpdloss_ort.so" "$work/cases" "$results" ||
        ! "$target/debug/examples/case_files" check "$work/cases" "$results"; then
        echo "matrix.sh: FAILED in onnxruntime $name" >&2
        failed=1
    fi
    # What `gpu-check` runs on a GPU, on the processor: an opset that older ones do not know.
    if [ "$name" = 1.32.0 ]; then
        steps=(.runtime/python/"$name"/bin/python plugins/tests/gpu_step.py)
        "${steps[@]}" make "$target/debug/pdloss" "$work/steps"
        "${steps[@]}" run "$target/debug/libpdloss_ort.so" "$work/steps" cpu || failed=1
    fi
done
exit $failed
