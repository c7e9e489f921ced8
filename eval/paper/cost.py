"""Cost of one training step, of a linear layer and its loss, as the classes grow and as the batch grows; and of whole epochs.

    cost.py LOSS BATCH CLASSES   one measurement, one line of JSON: seconds of a step (median), peak memory of the process in MiB

Each step runs in a process of its own, on onnxruntime: PD-Loss and D-Loss once by this project's operators and once in standard
operators, as the other losses are.
"""
import json
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from plan import FIGURE3, Run
from runs import PROGRAM, call, images_of, table

DIM = 64
CLASSES = (100, 1_000, 10_000, 100_000, 1_000_000)
BATCHES = (64, 256, 1024, 4096)
# The axis that grows, and the (batch, classes) along it.
AXES = {"classes": [(64, classes) for classes in CLASSES], "batch": [(batch, 100) for batch in BATCHES]}
# name: loss, spelling
LOSSES = {
    "pd": ("pd", "op"),
    "pd in standard operators": ("pd", "inline"),
    "softmax": ("softmax", "inline"),
    "proxy-nca": ("proxy-nca", "inline"),
    "proxy-anchor": ("proxy-anchor", "inline"),
    "arcface": ("arcface", "inline"),
    "multi-similarity": ("multi-similarity", "inline"),
    "triplet": ("triplet", "inline"),
    "supcon": ("supcon", "inline"),
    "d-loss": ("d-loss", "op"),
    "d-loss in standard operators": ("d-loss", "inline"),
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


def measure(name, batch, classes):
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
    present = random.choice(classes, min(classes, batch // 4), replace=False)
    feeds = {
        "image": random.standard_normal((batch, DIM), np.float32),
        "pdloss.labels": np.resize(present, batch).astype(np.int64),
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
            sys.exit(f"{name}, batch {batch}, {classes} classes: loss {results['pdloss.loss']}")
    # Not ru_maxrss: that begins at the peak of the process which started this one.
    peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    return {"name": name, "batch": batch, "classes": classes, "seconds": statistics.median(seconds), "peak_mib": peak,
            "loss": float(results["pdloss.loss"])}


def steps(file, quick):
    """Every loss along both axes; what is in the file already is not measured again."""
    known = json.loads(file.read_text()) if file.is_file() else []
    for axis, points in AXES.items():
        for batch, classes in points[:3] if quick else points:
            for name in LOSSES:
                if not any((row["axis"], row["name"], row["batch"], row["classes"]) == (axis, name, batch, classes) for row in known):
                    known.append({"axis": axis, **json.loads(call([sys.executable, __file__, name, batch, classes]))})
                    file.write_text(json.dumps(known, indent=1))
            loss_of = {row["name"]: row["loss"] for row in known if (row["axis"], row["batch"], row["classes"]) == (axis, batch, classes)}
            for name in ("pd", "d-loss"):
                ours, standard = loss_of[name], loss_of[f"{name} in standard operators"]
                if not abs(ours - standard) <= 1e-4 * max(1, abs(ours)):
                    sys.exit(f"batch {batch}, {classes} classes: the operator's {name} {ours}, that of standard operators {standard}: times mean nothing")
    return known


def epochs(file, runs, sets, chosen, quick):
    """Seconds of an epoch of `pdloss train` with each loss, without validations: the median of runs that take turns, on all
    processors, nothing else running."""
    known = json.loads(file.read_text()) if file.is_file() else []
    for data in sets:
        for repeat in range(1 if quick else 3):
            for loss in FIGURE3:
                if any((row["data"], row["loss"], row["repeat"]) == (data.name, loss, repeat) for row in known):
                    continue
                run = Run(data, loss, repeat, chosen[data.name][loss], steps=20 if quick else 60)
                with tempfile.TemporaryDirectory() as folder:
                    folder = Path(folder) / "run"
                    runs.begin(run, folder)
                    rates = [float(row["images_per_second"]) for row in table(folder / "metrics.csv")]
                    images = images_of(folder)
                known.append({"data": data.name, "loss": loss, "repeat": repeat, "seconds": images / statistics.median(rates), "images": images})
                file.write_text(json.dumps(known, indent=1))
    return known


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
