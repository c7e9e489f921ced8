"""Cost of one training step as the classes grow: a linear layer and its loss, 64 images, 64 numbers an embedding.

    cost.py LOSS CLASSES      one measurement, one line of JSON: seconds of a step (median), peak memory of the process in MiB

Each runs in a process of its own, on onnxruntime: PD-Loss once by this project's operator and once in standard operators.
"""
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from runs import PROGRAM, call

BATCH, DIM = 64, 64
CLASSES = (100, 1_000, 10_000, 100_000, 1_000_000)
# name: loss, spelling
LOSSES = {
    "pd": ("pd", "op"),
    "pd in standard operators": ("pd", "inline"),
    "softmax": ("softmax", "inline"),
    "proxy-nca": ("proxy-nca", "inline"),
    "proxy-anchor": ("proxy-anchor", "inline"),
    "multi-similarity": ("multi-similarity", "inline"),
    "d-loss": ("d-loss", "op"),
}


def backbone(path):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(0).standard_normal((DIM, DIM), np.float32) / 8
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["image", "weight"], ["embedding"])], "linear",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", DIM])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", DIM])],
        [numpy_helper.from_array(weight, "weight")])
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def measure(name, classes):
    import onnxruntime

    loss, spelling = LOSSES[name]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        backbone(folder / "linear.onnx")
        call([PROGRAM / "pdloss", "export", folder / "linear.onnx", folder / "step.onnx", "--train", "--as", spelling,
              "--classes", classes, "--loss", loss, "--optimizer", "sgd", "--momentum", "0"])
        options = onnxruntime.SessionOptions()
        if spelling == "op":
            options.register_custom_ops_library(str(PROGRAM / "libpdloss_ort.so"))
        options.intra_op_num_threads = 2
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(folder / "step.onnx"), options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(1)
    feeds = {
        "image": random.standard_normal((BATCH, DIM), np.float32),
        "pdloss.labels": np.repeat(random.choice(classes, BATCH // 4, replace=False), 4).astype(np.int64),
        "pdloss.learning_rate": np.array(0.01, np.float32),
    }
    outputs = [output.name for output in session.get_outputs()]
    seconds = []
    started = time.perf_counter()
    while len(seconds) < 5 or (time.perf_counter() - started < 2 and len(seconds) < 200):
        before = time.perf_counter()
        results = dict(zip(outputs, session.run(outputs, feeds)))
        seconds.append(time.perf_counter() - before)
        if not np.isfinite(results["pdloss.loss"]):
            sys.exit(f"{name}, {classes} classes: loss {results['pdloss.loss']}")
    # Not ru_maxrss: that begins at the peak of the process which started this one.
    peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    return {"name": name, "classes": classes, "seconds": statistics.median(seconds), "peak_mib": peak,
            "loss": float(results["pdloss.loss"])}


def measure_all(file, quick):
    """Every loss at every number of classes; what is in the file already is not measured again."""
    known = json.loads(file.read_text()) if file.is_file() else []
    for classes in CLASSES[:3] if quick else CLASSES:
        for name in LOSSES:
            if any((row["name"], row["classes"]) == (name, classes) for row in known):
                continue
            known.append(json.loads(call([sys.executable, __file__, name, classes])))
            file.write_text(json.dumps(known, indent=1))
        both = [row["loss"] for row in known if row["classes"] == classes and row["name"].startswith("pd")]
        if not abs(both[0] - both[1]) <= 1e-4 * max(1, abs(both[0])):
            sys.exit(f"{classes} classes: the operator's loss {both[0]}, that of standard operators {both[1]}: times mean nothing")
    return known


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
