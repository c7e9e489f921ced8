#!/usr/bin/env bash
# Three small nets, trained from scratch by PD-Loss on 100 characters of Omniglot, judged by `pdloss-eval recall` on 36 that
# they never saw. Prints each Recall@1; fails where one is below 0.85. Takes about four minutes on two cores.
#
#     train/tests/omniglot.sh [images_background_small1.zip]
#
# Without an argument the file is looked for under PDLOSS_SHARED, else in the folder `shared` beside the checkout.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=${1:-${PDLOSS_SHARED:-../shared}/data/omniglot/images_background_small1.zip}
[ -f "$data" ] || { echo "omniglot: $data is not there; give the path of images_background_small1.zip" >&2; exit 2; }
python=${PYTHON:-.runtime/bench/bin/python}
target=${CARGO_TARGET_DIR:-target}/debug
cargo build --locked --workspace
run=$(mktemp -d)
trap 'rm -rf "$run"' EXIT
for seed in 1 2 3; do
    "$python" fixtures/backbones.py "$run/backbone.onnx" --side 28 --channels 1 --dim 64 --widths 32,64,64 --pool --flatten \
        --seed "$seed"
    printf 'color = "gray"\nresize = "exact:28x28"\nmean = [0.9]\nstd = [0.25]\n' >"$run/backbone.toml"
    "$target/pdloss" train --model "$run/backbone.onnx" --data "$data" --classes 1-100 --out "$run/$seed" --seed "$seed" \
        --loss pd --batch 64 --steps 800 --learning-rate 3e-3 --rotate 10 --translate 0.1 --zoom 0.1 --shear 5 >/dev/null
    for model in "$run/backbone.onnx" "$run/$seed/embedder.onnx"; do
        "$target/pdloss-eval" recall --model "$model" --data "$data" --classes 101-136 --out "$run/result.json" \
            >/dev/null 2>"$run/log" || { cat "$run/log" >&2; exit 1; }
        "$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))[0]["recall@1"])' "$run/result.json" >>"$run/$seed.txt"
    done
    echo "seed $seed: Recall@1 of 36 unseen characters: untrained $(sed -n 1p "$run/$seed.txt"), trained $(sed -n 2p "$run/$seed.txt")"
    "$python" -c 'import sys; sys.exit(not float(sys.argv[1]) >= 0.85)' "$(sed -n 2p "$run/$seed.txt")" \
        || { echo "omniglot: wanted at least 0.85" >&2; exit 1; }
done
