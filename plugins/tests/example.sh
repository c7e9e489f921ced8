#!/usr/bin/env bash
# The Python example from end to end: trains on the fixtures with ORT training, exports, and lets `pdloss-eval recall` judge
# both embedders on the classes that the training never saw. Fails unless the trained one is better.
set -euo pipefail

cd "$(dirname "$0")/../.."
run=$(mktemp -d)
trap 'rm -rf "$run"' EXIT
plugins/tests/training.sh plugins/examples/python/train.py fixtures/shapes --out "$run" 2>"$run/log" || { cat "$run/log" >&2; exit 1; }
cargo build --locked --workspace
for name in untrained trained; do
    "${CARGO_TARGET_DIR:-target}/debug/pdloss-eval" recall --model "$run/$name.onnx" --data fixtures/shapes --out "$run/$name.json" >/dev/null
done
python3 - "$run" <<'PY'
import json, pathlib, sys

before, after = (json.loads((pathlib.Path(sys.argv[1]) / f"{name}.json").read_text())[0] for name in ("untrained", "trained"))
for measure in ("recall@1", "recall@8", "map@r"):
    print(f"pdloss-eval: {measure} untrained {before[measure]:.4f}, trained {after[measure]:.4f}")
    if not after[measure] > before[measure]:
        sys.exit(f"{measure}: training did not improve the embedder")
PY
