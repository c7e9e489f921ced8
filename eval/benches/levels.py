"""One program's two FAISS, for x86-64 and for x86-64-v3, beside PyPI's faiss-cpu: times, and that exact neighbours are the same to the bit.

usage: levels.py [--threads N] [--rounds N] [--rows N]

The profile is that of `make bench-recall`. Runs alternate; times are medians.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
SEARCH = HERE.parents[1] / "target" / "release" / "examples" / "search"
LEVELS = ["x86-64", "x86-64-v3"]


def run(command, threads, level=""):
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PDLOSS_FAISS": level}
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=environment)
    if result.returncode:
        sys.exit(f"{command} failed:\n{result.stderr[-3000:]}")
    return json.loads(result.stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--rows", type=int, default=60_000, help="of exact search")
    arguments = parser.parse_args()
    threads = arguments.threads
    load = os.getloadavg()[0]
    models = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    print(f"{models[0]}, {threads} threads, rounds: {arguments.rounds}, load at the start {load:.2f}; ours of the profile release")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for index, rows, dim, k in [("IVF16,PQ8", 4_000, 32, 10), ("Flat", arguments.rows, 512, 100)]:
            matrix = folder / "rows.npy"
            np.save(matrix, np.random.default_rng(0).standard_normal((rows, dim), np.float32))
            seconds, names, found = {}, {}, {}
            for _ in range(arguments.rounds):
                for side in [*LEVELS, "faiss-cpu"]:
                    out = folder / f"{side}.npy"
                    ours = side in LEVELS
                    program = [SEARCH] if ours else [sys.executable, HERE / "search_baseline.py"]
                    row = run([*program, matrix, k, threads, out, index], threads, side if ours else "")
                    if ours and row["faiss"] != side:
                        sys.exit(f"asked for {side}, and it says {row['faiss']}")
                    seconds.setdefault(side, []).append(row["seconds"])
                    names[side], found[side] = row["faiss"], np.load(out)
            same = np.array_equal(found[LEVELS[0]], found[LEVELS[1]])
            if index == "Flat" and not same:
                sys.exit("exact search: the two levels find other neighbours")
            alike = "the same neighbours in both" if same else f"{(found[LEVELS[0]] == found[LEVELS[1]]).mean():.2%} of neighbours the same in both"
            times = ", ".join(f"{side} {statistics.median(seconds[side]):.2f} s" for side in seconds)
            print(f"{index} on {rows:,} x {dim}, K = {k}: {times} ({names['faiss-cpu']}); {alike}")


if __name__ == "__main__":
    main()
