"""Trains a small embedder with PD-Loss in ONNX Runtime training, and writes it as ONNX before and after.

    plugins/tests/training.sh plugins/examples/python/train.py DATA --out RUN

DATA is a folder with one sub-folder of images per class, or a data set in the layout of CUB-200-2011 (`images.txt`,
`image_class_labels.txt`, `images/`). Of the classes in order, the first half is trained on; Recall@1 is measured on the other
half, which the training never sees. Written: RUN/untrained.onnx and RUN/trained.onnx, input `images` [N, 1, 32, 32] in 0..1
(grey), output `embeddings` [N, 64]; and beside each a .toml that tells `pdloss-eval` how its images are prepared.
"""

import argparse
import pathlib
import sys
import tempfile
import time

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from pdloss_ort import get_library_path, training  # before onnxruntime.training: it works without torch

from onnxruntime import InferenceSession, set_default_logger_severity
from onnxruntime.training import artifacts
from onnxruntime.training.api import CheckpointState, Module, Optimizer

SIDE, DIM = 32, 64
MANIFEST = f'color = "gray"\nresize = "exact:{SIDE}x{SIDE}"\n'


def read_images(root):
    """Images [N, 1, SIDE, SIDE] in 0..1 and labels 0..C-1, classes in order of their names or numbers."""
    index = root / "images.txt"
    if index.is_file():
        paths = dict(line.split(maxsplit=1) for line in index.read_text().splitlines() if line.strip())
        lines = (root / "image_class_labels.txt").read_text().splitlines()
        classes = {key: int(value) for key, value in (line.split() for line in lines if line.strip())}
        files = [(root / "images" / path.strip(), classes[key]) for key, path in paths.items()]
    else:
        suffixes = {".png", ".jpg", ".jpeg", ".bmp"}
        files = [
            (path, str(path.parent.relative_to(root)))
            for path in sorted(root.rglob("*"))
            if path.suffix.lower() in suffixes and path.parent != root
        ]
    if not files:
        sys.exit(f"{root}: no images in sub-folders, and no images.txt")
    numbers = {name: number for number, name in enumerate(sorted({name for _, name in files}))}
    images = np.empty((len(files), 1, SIDE, SIDE), np.float32)
    for row, (path, _) in enumerate(files):
        with Image.open(path) as image:
            images[row, 0] = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)) / 255.0
    return images, np.array([numbers[name] for _, name in files], np.int64)


def embedder(seed):
    """Three strided convolutions and a linear layer, random weights."""
    random = np.random.default_rng(seed)
    nodes, weights, value, channels = [], [], "images", 1
    for layer, width in enumerate((32, 64, 128)):
        kernel = random.standard_normal((width, channels, 3, 3)) * np.sqrt(2 / (9 * channels))
        weights += [(f"conv{layer}.weight", kernel), (f"conv{layer}.bias", np.zeros(width))]
        inputs = [value, f"conv{layer}.weight", f"conv{layer}.bias"]
        nodes.append(
            helper.make_node("Conv", inputs, [f"conv{layer}"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        )
        nodes.append(helper.make_node("Relu", [f"conv{layer}"], [f"relu{layer}"]))
        value, channels = f"relu{layer}", width
    size = channels * (SIDE // 8) ** 2
    weights += [("linear.weight", random.standard_normal((DIM, size)) / np.sqrt(size)), ("linear.bias", np.zeros(DIM))]
    nodes.append(helper.make_node("Flatten", [value], ["flat"]))
    nodes.append(helper.make_node("Gemm", ["flat", "linear.weight", "linear.bias"], ["embeddings"], transB=1))
    graph = helper.make_graph(
        nodes,
        "embedder",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["N", DIM])],
        [numpy_helper.from_array(np.asarray(values, np.float32), name) for name, values in weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model, [name for name, _ in weights]


def recall_at_1(model, images, labels):
    """The share of images whose nearest other image, by cosine, is of their class."""
    session = InferenceSession(str(model), providers=["CPUExecutionProvider"])
    parts = [session.run(None, {"images": images[row : row + 256]})[0] for row in range(0, len(images), 256)]
    unit = np.concatenate(parts)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    return float((labels[similarity.argmax(1)] == labels).mean())


def train(model, weights, images, labels, options):
    """The trained state, after `options.steps` steps of AdamW on random batches."""
    loss = training.PDLoss(num_classes=int(labels.max()) + 1, embedding_dim=DIM, seed=options.seed)
    with tempfile.TemporaryDirectory() as folder:
        artifacts.generate_artifacts(
            model,
            requires_grad=[*weights, loss.proxies_name],
            loss=loss,
            optimizer=artifacts.OptimType.AdamW,
            artifact_directory=folder,
            custom_op_library=get_library_path(),
            additional_output_names=[loss.moments_name],
        )
        state = CheckpointState.load_checkpoint(f"{folder}/checkpoint")
        paths = [f"{folder}/{name}_model.onnx" for name in ("training", "eval", "optimizer")]
        module = Module(paths[0], state, paths[1], session_options=training.session_options())
        optimizer = Optimizer(paths[2], module)
        optimizer.set_learning_rate(options.learning_rate)
        module.train()
        random = np.random.default_rng(options.seed)
        began = time.perf_counter()
        for step in range(1, options.steps + 1):
            rows = random.choice(len(images), min(options.batch, len(images)), replace=False)
            value, moments = module(images[rows], labels[rows])
            optimizer.step()
            module.lazy_reset_grad()
            if step == 1 or step % 50 == 0 or step == options.steps:
                rate = step * len(rows) / (time.perf_counter() - began)
                print(f"step {step:4d}  loss {float(value):8.4f}  d' {moments[4]:7.3f}  {rate:6.0f} images/s", flush=True)
        return state


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    set_default_logger_severity(3)  # the gradient builder tells of every graph transformation

    images, labels = read_images(options.data)
    half = (int(labels.max()) + 1) // 2
    if half < 2:
        sys.exit(f"{options.data}: {labels.max() + 1} classes, wanted at least 4")
    seen = labels < half
    print(f"{seen.sum()} images of {half} classes to train, {(~seen).sum()} of {labels.max() + 1 - half} to measure")

    options.out.mkdir(parents=True, exist_ok=True)
    before, after = options.out / "untrained.onnx", options.out / "trained.onnx"
    model, weights = embedder(options.seed)
    onnx.save(model, before)
    state = train(model, weights, images[seen], labels[seen], options)
    training.export_embedder(state, model, after)
    for path in (before, after):
        path.with_suffix(".toml").write_text(MANIFEST)
    scores = [recall_at_1(path, images[~seen], labels[~seen]) for path in (before, after)]
    print(f"Recall@1 on unseen classes: untrained {scores[0]:.3f}, trained {scores[1]:.3f}")
    if not scores[1] > scores[0]:
        sys.exit("training did not improve the embedder")


if __name__ == "__main__":
    main()
