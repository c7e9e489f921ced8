"""What several ranks cost: bench.py FOLDER [exchanges] [steps] [memory]; all of them without a word. Two threads in all, or as many as ranks.

exchanges   latency and bandwidth of the operators through shared memory and TCP; the cost model of docs/distributed.md beside what an exchange of a
            step of ResNet-50 takes
steps       images a second of `pdloss train`, one rank of two threads and two ranks of one in turn; bytes that a rank gives to exchanges in a step
memory      the largest memory of any rank: training with many classes, with and without --shard-classes, and recall
"""
import csv
import os
import re
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import onnxruntime
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper, save

from tools import BIN, HERE, LIBRARY, check, mpirun, run, training, work

# ResNet-50 with a head of D = 512: numbers in its weights.
WEIGHTS, DIM = 24_557_120, 512
TCP = ["--mca", "btl", "tcp,self"]


def exchange(sizes, times):
    """On each rank: seconds of an AllReduce of so many float32 values, and of an AllGather of as many in all."""
    rank, size = (int(os.environ[f"OMPI_COMM_WORLD_{name}"]) for name in ("RANK", "SIZE"))
    value = h.make_tensor_value_info
    node = lambda operator, inputs, outputs: h.make_node(operator, inputs, outputs, domain="com.pdloss")
    for operator in ("AllReduce", "AllGather"):
        shape, outputs = (["n"], ["t1", "out"]) if operator == "AllReduce" else (["n"], ["t1", "out", "first"])
        graph = h.make_graph([node(operator, ["t0", "in"], outputs)], "exchange", [value("t0", T.INT64, []), value("in", T.FLOAT, shape)], [value("t1", T.INT64, [])])
        model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17), h.make_opsetid("com.pdloss", 1)], ir_version=8)
        for count in sizes:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            options.register_custom_ops_library(str(LIBRARY))
            session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
            feeds = {"t0": np.array(0), "in": np.ones(count if operator == "AllReduce" else count // size, np.float32)}
            session.run(None, feeds)
            taken = []
            for _ in range(times if count < 1 << 20 else max(times // 4, 5)):
                began = time.perf_counter()
                session.run(None, feeds)
                taken.append(time.perf_counter() - began)
            if rank == 0:
                print(operator, count, statistics.median(taken), flush=True)


def measured(ranks, sizes, times, *more):
    words = [*mpirun(ranks, *more), sys.executable, HERE / "bench.py", BIN, "--exchange", ",".join(map(str, sizes)), str(times)]
    found = {}
    for line in run(words).stdout.splitlines():
        operator, count, seconds = line.split()
        found[operator, int(count)] = float(seconds)
    return found


def exchanges():
    """A line through two sizes is latency and bandwidth; with the ring's share of the bytes it predicts other sizes and ranks."""
    small, large = 16, 1 << 22
    batch = {ranks: 32 * ranks * DIM for ranks in (2, 4)}
    print("\n| by | AllReduce of 64 bytes | bandwidth a rank | exchanges of a step of ResNet-50, N | predicted | measured |\n|---|---|---|---|---|---|")
    for name, more in (("shared memory", []), ("TCP to the same machine", TCP)):
        found = measured(2, [small, large], 40, *more)
        latency = found["AllReduce", small]
        share = lambda ranks: 2 * (ranks - 1) / ranks
        rate = share(2) * 4 * large / (found["AllReduce", large] - latency)
        for ranks in (2, 4):
            step = measured(ranks, [WEIGHTS], 20, *more)["AllReduce", WEIGHTS] + measured(ranks, [batch[ranks]], 20, *more)["AllGather", batch[ranks]]
            # Two exchanges, of as many hops as there are other ranks; a gather sends what the others have.
            bytes_ = share(ranks) * 4 * WEIGHTS + (ranks - 1) / ranks * 4 * batch[ranks]
            predicted = 2 * latency * (ranks - 1) + bytes_ / rate
            print(f"| {name} | {1e6 * latency:.0f} us | {rate / 1e9:.2f} GB/s | {ranks} | {predicted:.2f} s | {step:.2f} s |", flush=True)


def steps():
    """In turn, so that what else the machine does meets both."""
    rates, given = {1: [], 2: []}, None
    for again in range(5):
        for ranks in (1, 2):
            out = work / f"steps{ranks}"
            words = [*training(out, ["--steps", "60", "--sync-statistics"], batch=64), "--threads", str(2 // ranks)]
            at = words.index("--threads")
            del words[at:at + 2]
            done = run(mpirun(ranks) + words)
            with open(out / "metrics.csv") as file:
                rates[ranks].append(statistics.median(float(row["images_per_second"]) for row in list(csv.DictReader(file))[10:]))
            given = given or re.search(r"each step gave .*", done.stderr)
            shutil.rmtree(out)
    spread = lambda of: f"{statistics.median(of):.0f} ({min(of):.0f} to {max(of):.0f})"
    print(f"\nimages a second, fixtures' backbone, batch 64, --sync-statistics: one rank of two threads {spread(rates[1])}, two ranks of one {spread(rates[2])}")
    print(given.group(0))


def memory():
    """The largest resident set of any rank, by a wrapper that waits for it."""
    classes = int(os.environ.get("CLASSES", "50000"))
    data, random = work / "many", np.random.default_rng(3)
    for at in range(classes):
        folder = data / f"{at:06}"
        folder.mkdir(parents=True)
        for image in range(2 if at < 100 else 1):
            (folder / f"{image}.png").write_bytes(png(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)))
    weight = (random.standard_normal((3 * 16 * 16, DIM)) / 28).astype(np.float32)
    nodes = [h.make_node("Flatten", ["data"], ["flat"]), h.make_node("MatMul", ["flat", "weight"], ["embedding"])]
    inputs = [h.make_tensor_value_info("data", T.FLOAT, ["n", 3, 16, 16])]
    graph = h.make_graph(nodes, "net", inputs, [h.make_tensor_value_info("embedding", T.FLOAT, ["n", DIM])], [numpy_helper.from_array(weight, "weight")])
    save(h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8), work / "wide.onnx")
    common = ["--model", work / "wide.onnx", "--data", data, "--resize", "exact:16x16", "--threads", "1"]
    base = [BIN / "pdloss", "train", *common, "--batch", "64", "--cache", "0", "--steps", "4", "--checkpoint-every", "2", "--split", "all"]
    print(f"\n{classes:,} classes, D = {DIM}: proxies, AdamW's state and gradient are {4 * 4 * classes * DIM / 1e6:.0f} MB\n\n| N | every rank all proxies | --shard-classes | recall |\n|---|---|---|---|")
    for ranks in (1, 2, 4):
        cells = []
        for words in ([*base, "--out", work / "m"], [*base, "--out", work / "m", "--shard-classes"], [BIN / "pdloss-eval", "recall", *common, "--split", "all", "--k", "1"]):
            done = run([*mpirun(ranks), sys.executable, HERE / "bench.py", BIN, "--watch", *words])
            peaks = [int(peak) for peak in re.findall(r"^peak (\d+)$", done.stderr, re.M)]
            check(len(peaks) == ranks, done.stderr)
            cells.append(f"{max(peaks) / 1e6:,.0f} MB")
            shutil.rmtree(work / "m", ignore_errors=True)
        print(f"| {ranks} | {' | '.join(cells)} |", flush=True)


def png(pixels):
    """A file of these pixels, `[height, width, 3]`."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def watch(words):
    done = subprocess.run(words)
    print(f"peak {1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}", file=sys.stderr)
    sys.exit(done.returncode)


if __name__ == "__main__":
    asked = sys.argv[2:]
    if asked[:1] == ["--exchange"]:
        exchange([int(size) for size in asked[1].split(",")], int(asked[2]))
    elif asked[:1] == ["--watch"]:
        watch(asked[1:])
    else:
        for what in asked or ["exchanges", "steps", "memory"]:
            {"exchanges": exchanges, "steps": steps, "memory": memory}[what]()
