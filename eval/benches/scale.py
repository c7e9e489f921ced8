"""Recall on embeddings that are larger than memory: what it takes, and how much memory it holds.

usage: scale.py [--rows N] [--dim N] [--queries N] [--k N] [--memory MIB] [--threads N] [--folder DIR] [--cap MIB]

Makes a file of noise around class centres, searches it block by block (`recall --memory`), and says the seconds and the most
resident memory of the process, which must stay below the cap. Before that, a small file of the same kind is searched block by block
and in memory, and both results must be the same to the bit. The file is removed at the end.
"""
import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TOOL = Path(__file__).resolve().parents[2] / "target" / "release" / "pdloss-eval"
CLASS = 100


def make(path, rows, dim, queries, seed=1):
    """`rows` of the gallery behind `queries`, CLASS of a class, written block by block."""
    rng = np.random.default_rng(seed)
    classes = max(rows // CLASS, 2)
    matrix = np.lib.format.open_memmap(path, mode="w+", dtype="<f4", shape=(queries + rows, dim))
    block = 1 << 16
    with open(path.with_suffix(".csv"), "w", encoding="ascii") as labels:
        labels.write("label,role\n")
        for first in range(0, queries + rows, block):
            count = min(block, queries + rows - first)
            of = rng.integers(0, classes, count)
            values = rng.standard_normal((count, dim), dtype=np.float32)
            # The centre of a class is noise of a seed of its own, cheap to make again.
            values += 0.5 * np.sin((of[:, None] + 1.0) * (np.arange(dim) + 1.7) ** 1.3).astype(np.float32)
            matrix[first:first + count] = values
            role = np.where(np.arange(first, first + count) < queries, "query", "gallery")
            labels.writelines(f"{label},{word}\n" for label, word in zip(of, role))
            matrix.flush()
    del matrix


def recall(path, k, threads, more=()):
    """The result, seconds, and the most resident memory in MiB."""
    command = [TOOL, "recall", "--embeddings", path, "--k", f"1,{k}", "--threads", threads, "--json", *more]
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen([str(c) for c in command], stdout=output)
        # What the system says at the end (ru_maxrss) begins with the memory of this process, from which it was started.
        status, peak = Path(f"/proc/{process.pid}/status"), 0
        while process.poll() is None:
            lines = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
            peak = max([peak, *(int(line.split()[1]) / 1024 for line in lines)])
            time.sleep(0.1)
        if process.returncode:
            sys.exit(f"recall failed: {process.returncode}")
        output.seek(0)
        return json.loads(output.read())[0], time.perf_counter() - started, peak


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--memory", type=int, default=512)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--cap", type=int, default=2048)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        small = folder / "small.npy"
        make(small, 30_000, arguments.dim, 500)
        whole, _, _ = recall(small, arguments.k, arguments.threads)
        parts, _, _ = recall(small, arguments.k, arguments.threads, ["--memory", 8])
        apart = [name for name in whole if not name.startswith("seconds") and whole[name] != parts[name]]
        if apart:
            sys.exit(f"in memory and by blocks differ: {apart}")
        print(f"30,500 rows: by blocks of {8 * 2**20 // (32 * arguments.dim):,} and in memory give the same result")
        large = folder / "large.npy"
        make(large, arguments.rows, arguments.dim, arguments.queries)
        size = large.stat().st_size / 2**20
        found, seconds, peak = recall(large, arguments.k, arguments.threads, ["--memory", arguments.memory])
        print(f"{platform.machine()}, {arguments.threads} threads, pdloss-eval of the profile release, FAISS for {found['faiss_level']}")
        print(f"{arguments.queries:,} queries among {arguments.rows:,} x {arguments.dim} ({size:,.0f} MiB), K {arguments.k}, "
              f"--memory {arguments.memory}")
        print(f"  recall@1 {found['recall@1']:.4f}, recall@{arguments.k} {found[f'recall@{arguments.k}']:.4f}")
        print(f"  {seconds:.0f} s in all, {found['seconds_search']:.0f} s of search, at most {peak:,.0f} MiB resident")
        if peak > arguments.cap:
            sys.exit(f"more than the cap of {arguments.cap} MiB")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
