#!/usr/bin/env bash
# The event files of a short run, read by TensorBoard itself, against the run's own tables.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=.runtime/tensorboard/bin/python
[ -x "$python" ] || python3 -m venv .runtime/tensorboard
.runtime/tensorboard/bin/pip install --quiet --disable-pip-version-check tensorboard==2.21.0
cargo build --locked --workspace
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${CARGO_TARGET_DIR:-target}/debug/pdloss" train --quiet --model fixtures/backbone.onnx --data fixtures/shapes --out "$work/run" --log-dir "$work/log" \
    --steps 6 --batch 20 --per-class 4 --validation-split zero-shot --validate-every 3 >/dev/null
"$python" - "$work" <<'PY'
import csv, pathlib, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

work = pathlib.Path(sys.argv[1])
events = EventAccumulator(str(work / "log"))
events.Reload()
for table, kind, columns in [("metrics", "train", ["loss", "d_prime", "gradient_norm"]), ("validation", "validation", ["recall@1", "map@r"])]:
    rows = list(csv.DictReader(open(work / "run" / f"{table}.csv")))
    for column in columns:
        read = [(event.step, event.value) for event in events.Scalars(f"{kind}/{column}")]
        wanted = [(int(row["step"]), float(row[column])) for row in rows]
        assert [step for step, _ in read] == [step for step, _ in wanted], (column, read, wanted)
        assert all(abs(a - b) <= 1e-6 * (1 + abs(b)) for (_, a), (_, b) in zip(read, wanted)), (column, read, wanted)
        print(f"TensorBoard reads {kind}/{column} of {len(read)} steps as {table}.csv has it")
PY
