"""Gradients of whole models against those that onnxruntime-training 1.19.2 builds itself.

    tests/ort_training/run.sh

Ours come from `examples/differentiate.rs` and run on the stock onnxruntime of the Python in `STOCK`; theirs run here.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime

import models
import reference

onnxruntime.set_default_logger_severity(3)

# Both sides are float32 and sum in different orders. Measured against each weight's own largest gradient element (at least
# a thousandth of the largest of all); a wrong or missing term is off by a good part of it.
CLOSE = 2e-4
# What is nearly 0 in front of a Relu or a Clip falls on either side of its corner with the rounding, and a whole element of a
# gradient comes or goes. How much that is in a net is measured: by how far their own gradients go when the last bit of the
# images changes. Never more than this, which is far from a wrong term.
CORNERS = 1e-2
HERE = pathlib.Path(__file__).parent


def ours(model, feeds, folder):
    paths = {name: folder / name for name in ("model.onnx", "gradient.onnx", "feeds.npz", "out.npz")}
    onnx.save(model, paths["model.onnx"])
    np.savez(paths["feeds.npz"], **feeds)
    command = [os.environ["DIFFERENTIATE"], paths["model.onnx"], paths["gradient.onnx"], "loss"]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    rows = [line.split("\t") for line in lines]
    script = [os.environ["STOCK"], HERE / "evaluate.py", paths["gradient.onnx"], paths["feeds.npz"], paths["out.npz"]]
    subprocess.run(script, check=True)
    out = np.load(paths["out.npz"])
    gradients = {weight: out[value] for kind, weight, value in rows if kind == "gradient"}
    running = {weight: out[value] for kind, weight, value in rows if kind == "running"}
    return float(out["loss"]), gradients, running


def theirs(model, feeds, wrt):
    gradient = reference.differentiated(model, wrt)
    names = ["loss", *(f"{name}_grad" for name in wrt)]
    session = onnxruntime.InferenceSession(gradient.SerializeToString(), providers=["CPUExecutionProvider"])
    loss, *gradients = session.run(names, feeds)
    return float(loss), dict(zip(wrt, gradients))


def furthest(got, wanted):
    """The largest distance of a gradient's element, relative to the largest of its weight, and the weight."""
    largest = max(np.abs(value).max() for value in wanted.values())
    worst, where = 0.0, ""
    for weight, value in wanted.items():
        # A bias whose effect a later batch normalization takes away has the gradient 0, up to the rounding of its terms.
        distance = np.abs(got[weight] - value).max() / max(np.abs(value).max(), 1e-3 * largest)
        if not distance <= worst:
            worst, where = distance, weight
    return worst, where


def compare(name, model, feeds):
    with tempfile.TemporaryDirectory() as folder:
        loss, got, running = ours(model, feeds, pathlib.Path(folder))
    floats = [tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    statistics = [part for node in model.graph.node if node.op_type == "BatchNormalization" for part in node.input[3:5]]
    missing = set(floats) - set(got) - set(statistics)
    if missing:
        raise SystemExit(f"{name}: no gradient for {sorted(missing)}")
    if sorted(running) != sorted(statistics):
        raise SystemExit(f"{name}: running statistics {sorted(running)}, wanted {sorted(statistics)}")
    wanted_loss, wanted = theirs(model, feeds, list(got))
    if not abs(loss - wanted_loss) <= 1e-5 * max(1.0, abs(wanted_loss)):
        raise SystemExit(f"{name}: loss {loss}, wanted {wanted_loss}")
    for weight, value in wanted.items():
        if got[weight].shape != value.shape:
            raise SystemExit(f"{name}: {weight}: shape {got[weight].shape}, wanted {value.shape}")
    worst, where = furthest(got, wanted)
    nudged = {key: np.nextafter(value, np.float32(np.inf)) if value.dtype == np.float32 else value for key, value in feeds.items()}
    moved, _ = furthest(theirs(model, nudged, list(got))[1], wanted)
    allowed = max(CLOSE, min(moved, CORNERS))
    print(f"{name:<16} {len(wanted):>4} weights, loss {loss:.6f}, largest distance {worst:.1e} at {where}; theirs with another last bit of the "
          f"images {moved:.1e}", flush=True)
    if not worst <= allowed:
        raise SystemExit(f"{name}: {where} is off by {worst:.1e} of its largest element, allowed {allowed:.0e}")


def images(batch, size, seed=0):
    return {"x": np.random.default_rng(seed).standard_normal((batch, 3, size, size)).astype(np.float32)}


def main():
    compare("resnet18", models.with_loss(models.resnet18(64, 64), 64), images(4, 64))
    compare("mobilenet", models.with_loss(models.mobilenet(32, 32), 32), images(6, 32))
    compare("vit", models.with_loss(models.vit(32, dim=32), 32), images(5, 32))
    real = os.environ.get("MOBILEFACENET")
    if real:
        model = onnx.load(real)
        dim = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
        feed = {model.graph.input[0].name: images(1, 112)["x"]}
        compare("mobilefacenet", models.with_loss(model, dim), feed)
    else:
        print("mobilefacenet    SKIPPED: no file (set MOBILEFACENET)")


if __name__ == "__main__":
    sys.exit(main())
