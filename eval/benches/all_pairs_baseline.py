"""All-against-all verification the way a numpy user would write it, in blocks, with exact counts.

usage: all_pairs_baseline.py EMBEDDINGS.npy LABELS.csv [--block N] [--histogram BINS]

Float64 products of unit rows, block by block of the upper triangle. By default every score is counted on the grid of
2^-24, rounded down, that `pdloss-eval verify --all-pairs` uses (np.bincount: numpy's fastest exact counting), so that the results can
be compared digit by digit; `--histogram` counts in that many equal bins by np.histogram instead, which is not exact.
Prints one JSON line.
"""
import argparse
import json
import resource
import time

import numpy as np

GRID = 1 << 24


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("embeddings")
    parser.add_argument("labels")
    parser.add_argument("--block", type=int, default=1000)
    parser.add_argument("--histogram", type=int)
    arguments = parser.parse_args()

    rows = np.load(arguments.embeddings).astype(np.float32)
    with open(arguments.labels) as file:
        labels = np.array(file.read().split()[1:])
    labels = np.unique(labels, return_inverse=True)[1]

    start = time.perf_counter()
    rows = rows.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    order = np.argsort(labels, kind="stable")
    rows, labels = rows[order], labels[order]
    bins = arguments.histogram or 2 * GRID + 1
    genuine, impostor = np.zeros(bins, np.int64), np.zeros(bins, np.int64)

    def count(into, scores):
        if arguments.histogram:
            into += np.histogram(scores, bins, (-1, 1))[0]
        else:
            keys = np.floor(scores * GRID + 2**-20).astype(np.int64) + GRID
            into += np.bincount(np.clip(keys, 0, 2 * GRID), minlength=bins)

    total = len(rows)
    for first in range(0, total, arguments.block):
        last = min(first + arguments.block, total)
        scores = rows[first:last] @ rows[first:].T
        later = np.arange(first, total)[None, :] > np.arange(first, last)[:, None]
        same = labels[first:last, None] == labels[None, first:]
        count(genuine, scores[same & later])
        count(impostor, scores[~same & later])

    accepted = np.cumsum(impostor[::-1])[::-1]
    rejected = np.cumsum(genuine) - genuine
    observed = (genuine + impostor) > 0
    fmr, fnmr = accepted / impostor.sum(), rejected / genuine.sum()
    result = {"genuine_pairs": int(genuine.sum()), "impostor_pairs": int(impostor.sum())}
    for target in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
        at = np.flatnonzero(observed & (fmr <= target))[0]
        result[f"fnmr@fmr={target:.6f}".rstrip("0")] = float(fnmr[at])
        result[f"reached_fmr@fmr={target:.6f}".rstrip("0")] = float(fmr[at])
    closest = np.flatnonzero(observed)[np.argmin(np.abs(fmr - fnmr)[observed])]
    result["eer"] = float(fmr[closest] + fnmr[closest]) / 2
    below = np.cumsum(impostor) - impostor
    result["auc"] = float((genuine * (below + impostor / 2)).sum() / genuine.sum() / impostor.sum())
    result["seconds_compare"] = time.perf_counter() - start
    result["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(result))


if __name__ == "__main__":
    main()
