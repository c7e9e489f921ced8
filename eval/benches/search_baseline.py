"""Cosine self-search with PyPI's faiss-cpu, exact where no index is named: search_baseline.py EMBEDDINGS.npy K THREADS NEIGHBOURS.npy [INDEX]

Prints one JSON line: seconds of normalising, building and searching, and the peak memory of the process in MiB.
"""
import json
import resource
import sys
import time

import faiss
import numpy as np

file, k, threads, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
faiss.omp_set_num_threads(threads)
rows = np.load(file)
start = time.perf_counter()
faiss.normalize_L2(rows)
index = faiss.index_factory(rows.shape[1], sys.argv[5] if len(sys.argv) > 5 else "Flat", faiss.METRIC_INNER_PRODUCT)
index.train(rows)
index.add(rows)
_, found = index.search(rows, k + 1)
seconds = time.perf_counter() - start
own = np.arange(len(rows))[:, None]
found = np.stack([np.append(row[row != at], -1)[:k] for at, row in zip(own[:, 0], found)])
np.save(out, found)
print(json.dumps({"seconds": round(seconds, 3), "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "faiss": faiss.get_compile_options().strip()}))
