#!/usr/bin/env bash
# Several ranks against one process, built with the feature `mpi` into the folder of every other build, where dependencies are:
#
#     tests/distributed/run.sh           two ranks: what .ci/run has time for
#     tests/distributed/run.sh all       more ranks, faults, and two network namespaces where the machine has them
#     tests/distributed/run.sh bench     what exchanges cost, and memory; docs/distributed.md has what it printed
#
# Installs what it needs, as setup.sh does.
set -euo pipefail
cd "$(dirname "$0")/../.."
which=${1:-short}
if ! command -v mpicc >/dev/null || ! command -v mpirun >/dev/null; then
    ./setup.sh libopenmpi-dev openmpi-bin
fi
plugins/tests/venvs.sh 1.32.0
export ORT_DYLIB_PATH=${ORT_DYLIB_PATH:-$PWD/.runtime/onnxruntime/libonnxruntime.so}
target=${CARGO_TARGET_DIR:-target}
# Compiled quickly where nothing is timed: both sides of every comparison run the same code.
[ "$which" = bench ] || export CARGO_PROFILE_DEV_OPT_LEVEL=0
cargo build --locked --workspace --lib --bins --features pdloss-train/mpi,pdloss-eval/mpi,pdloss-ort/mpi
# A world of one must not ask MPI for anything.
cargo test --quiet --locked -p pdloss-ranks --features mpi
# Under names of their own: the next build without the feature takes these places again.
mkdir -p "$target/distributed"
cp -f "$target"/debug/{pdloss,pdloss-eval,libpdloss_ort.so} "$target/distributed/"
python=.runtime/python/1.32.0/bin/python
if [ "$which" = bench ]; then
    exec $python tests/distributed/bench.py "$target/distributed"
fi
exec $python tests/distributed/check.py "$target/distributed" "$which"
