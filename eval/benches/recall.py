"""Side by side in one run: `pdloss-eval recall` against a Python script on images, and search against PyPI's faiss-cpu.

usage: recall.py [--data LIST.csv --model MODEL.onnx] [--rows N] [--dim N] [--k N] [--threads N] [--rounds N]

Results are compared before any time is printed: Recall@K within 0.01 (the two decode JPEG by different libraries),
neighbours equal but for ties. Runs alternate A B A B; ratios are of medians. Without --data, search alone is timed.
"""
import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
TARGET = HERE.parents[1] / "target" / "release"


PROFILE = "the profile release"


def run(command, threads):
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=environment)
    if result.returncode:
        sys.exit(f"{command} failed:\n{result.stderr[-3000:]}")
    return result.stdout


def alternate(rounds, **sides):
    """Runs each side once a round, in turn; returns its results."""
    results = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            results[name].append(side())
    return results


def median(results, key):
    return statistics.median(r[key] for r in results)


def table(title, ours, theirs, keys):
    print(f"\n{title}")
    for key, unit, better_high in keys:
        a, b = median(ours, key), median(theirs, key)
        ratio = a / b if better_high else b / a
        print(f"  {key:<18} ours {a:>10.2f} {unit:<4} theirs {b:>10.2f} {unit:<4} ratio {ratio:.2f}")


def images(arguments, folder):
    out = folder / "result.json"
    # As the script states how its images are prepared, so does a manifest. Where only flags do, other ways are tried on a sample, which is
    # timed, too.
    told = folder / "model.onnx"
    shutil.copy(arguments.model, told)
    told.with_suffix(".toml").write_text('preset = "imagenet"\n')

    def ours(model, *more):
        run([TARGET / "pdloss-eval", "recall", "--model", model, "--data", arguments.data, *more,
             "--runtime", "onnxruntime", "--threads", arguments.threads, "--out", out], arguments.threads)
        row = json.loads(out.read_text())[0]
        out.unlink()
        return {**row, "seconds": row["seconds_total"], "images/s": row["images"] / row["seconds_total"]}

    def theirs():
        line = run([sys.executable, HERE / "recall_baseline.py", arguments.model, arguments.data, "--threads", arguments.threads],
                   arguments.threads)
        row = json.loads(line)
        seconds = row["seconds_embed"] + row["seconds_search"]
        return {**row, "seconds": seconds, "images/s": row["images"] / seconds}

    results = alternate(
        arguments.rounds,
        ours=lambda: ours(told),
        by_flags=lambda: ours(arguments.model, "--preset", "imagenet"),
        theirs=theirs,
    )
    for key in ("recall@1", "recall@2", "recall@4", "recall@8"):
        a, b = results["ours"][0][key], results["theirs"][0][key]
        if not abs(a - b) <= 0.01:
            sys.exit(f"{key}: ours {a}, theirs {b}: the results differ, so times mean nothing")
    for side, how in [("ours", "with a manifest"), ("by_flags", "with flags, so that other ways to prepare images are tried")]:
        table(f"recall on {arguments.data} with {arguments.model}, {results['ours'][0]['images']} images, {how}",
              results[side], results["theirs"], [("images/s", "", True), ("seconds", "s", False)])


def search(arguments, folder):
    rows, dim, k = arguments.rows, arguments.dim, arguments.k
    matrix = folder / "rows.npy"
    np.save(matrix, np.random.default_rng(0).standard_normal((rows, dim), np.float32))
    mine, other = folder / "mine.npy", folder / "other.npy"
    results = alternate(
        arguments.rounds,
        ours=lambda: json.loads(run([TARGET / "examples" / "search", matrix, k, arguments.threads, mine], arguments.threads)),
        theirs=lambda: json.loads(
            run([sys.executable, HERE / "search_baseline.py", matrix, k, arguments.threads, other], arguments.threads)),
    )
    print(f"FAISS: ours for {results['ours'][0]['faiss']}, theirs {results['theirs'][0]['faiss']}")
    a, b = np.load(mine), np.load(other)
    values = np.load(matrix).astype(np.float64)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    wrong = 0
    for query in np.flatnonzero((a != b).any(1)):
        # Where the lists differ, it may only be by what float32 cannot tell apart.
        similar = np.abs(values[a[query]] @ values[query] - values[b[query]] @ values[query])
        wrong += not similar.max() <= 1e-6
    if wrong:
        sys.exit(f"{wrong} of {rows} queries have other neighbours: times mean nothing")
    same = (a == b).all(1).mean()
    table(f"exact search, N = {rows}, D = {dim}, K = {k} ({same:.2%} of lists equal to the last place, the rest up to ties in float32)",
          results["ours"], results["theirs"], [("seconds", "s", False), ("peak_mib", "MiB", False)])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data")
    parser.add_argument("--model")
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    models = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    print(f"{models[0] if models else platform.processor()}, {arguments.threads} threads, {arguments.rounds} rounds, medians; ours of {PROFILE}")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.data and arguments.model:
            images(arguments, Path(folder))
        search(arguments, Path(folder))


if __name__ == "__main__":
    main()
