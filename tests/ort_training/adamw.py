"""Ten AdamW steps of step graphs against onnxruntime-training 1.19.2: its own gradients, its own optimiser.

    tests/ort_training/adamw.sh [MODEL.onnx ...]

Both start from the same weights and see the same batches. The loss is the normalised softmax, written once by the step graph
and once by the lines below.

Batch statistics, ReLU and max pools make a rounding grow from step to step. How much is measured: a second run of the step
graph starts from weights that differ in their last bit. It is printed; the two runtimes must stay together to 1e-4.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pdloss_ort import training as _  # lets onnxruntime.training be imported without torch

import onnxruntime
from onnxruntime.training import artifacts, onnxblock
from onnxruntime.training.api import CheckpointState, Module, Optimizer

import models

onnxruntime.set_default_logger_severity(3)

STEPS = 10
BATCH = 16
CLASSES = 10
TEMPERATURE = 0.5
LEARNING_RATE = 1e-4
DECAY = 1.0  # strong, so that a wrong decay shows
# Two gradients of float32 are apart by some 1e-6. The first step divides each by its own size, and what is nearly zero would
# move by rounding alone, as far as the others: epsilon stands well above.
EPSILON = 1e-2
CLOSE = 1e-4


def with_loss(backbone, proxies):
    """The backbone in training mode with the normalised softmax behind it, for ORT's gradient builder."""
    model = onnx.ModelProto()
    model.CopyFrom(backbone)
    graph = model.graph
    for node in graph.node:
        if node.op_type == "BatchNormalization":
            kept = [attribute for attribute in node.attribute if attribute.name != "training_mode"]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute("training_mode", 1)])
            node.output.extend(f"{name}.next" for name in node.input[3:5])
        if node.op_type == "LayerNormalization":
            node.output.extend(f"{node.output[0]}.{part}" for part in ("mean", "inverse_deviation"))
    nodes = []

    def op(operator, *inputs, **attributes):
        output = f"loss.{len(nodes)}"
        nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def unit(rows):
        axes = op("Constant", value=numpy_helper.from_array(np.array([1], np.int64)))
        squares = op("ReduceSum", op("Mul", rows, rows), axes, keepdims=1)
        return op("Div", rows, op("Sqrt", squares))

    features = graph.output[0].name
    graph.initializer.append(numpy_helper.from_array(proxies, "pdloss.proxies"))
    temperature = op("Constant", value=numpy_helper.from_array(np.float32(TEMPERATURE)))
    logits = op("Div", op("MatMul", unit(features), op("Transpose", unit("pdloss.proxies"), perm=[1, 0])), temperature)
    nodes.append(helper.make_node("SoftmaxCrossEntropyLoss", [logits, "labels"], ["loss", "log_probabilities"], reduction="mean"))
    graph.node.extend(nodes)
    graph.input.append(helper.make_tensor_value_info("labels", TensorProto.INT64, ["batch"]))
    graph.output.insert(0, helper.make_tensor_value_info("loss", TensorProto.FLOAT, []))
    del graph.output[1:]
    return model


def step_graph(folder, backbone, *settings):
    source, out = folder / "backbone.onnx", folder / "step.onnx"
    onnx.save(backbone, source)
    subprocess.run([os.environ["PDLOSS_STEP"], source, out, str(CLASSES), *settings], check=True)
    return onnx.load(out)


def ours(step, description, batches, state):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(step.SerializeToString(), options)
    names = [output.name for output in session.get_outputs()]
    losses = []
    for data, labels in batches:
        feeds = {description["data"]: data, "pdloss.labels": labels}
        feeds["pdloss.learning_rate"] = np.array(LEARNING_RATE, np.float32)
        outputs = dict(zip(names, session.run(names, {**feeds, **state})))
        state = {tensor["name"]: outputs[tensor["next"]] for tensor in description["state"]}
        losses.append(float(outputs["pdloss.loss"]))
    return losses, state


def as_pytorch(path):
    """Puts epsilon and weight decay where PyTorch has them; without this ORT computes what Hugging Face's AdamW did."""
    model = onnx.load(path)
    (node,) = [node for node in model.graph.node if node.op_type == "AdamWOptimizer"]
    (mode,) = [attribute for attribute in node.attribute if attribute.name == "adam_mode"]
    mode.i = 0
    onnx.save(model, path)


def write_theirs(folder, backbone, proxies, trained):
    """ORT training's files: model, optimiser, checkpoint."""
    optimizer = onnxblock.optim.AdamW(weight_decay=DECAY, eps=EPSILON)
    model = with_loss(backbone, proxies)
    artifacts.generate_artifacts(model, requires_grad=trained, optimizer=optimizer, artifact_directory=folder)
    as_pytorch(folder / "optimizer_model.onnx")


def open_theirs(folder, threads=0):
    """A function that makes one step and returns its loss, and the state behind it."""
    state = CheckpointState.load_checkpoint(str(folder / "checkpoint"))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    # Without an evaluation model: theirs cannot hold batch statistics.
    module = Module(str(folder / "training_model.onnx"), state, session_options=options)
    optimizer = Optimizer(str(folder / "optimizer_model.onnx"), module)
    optimizer.set_learning_rate(LEARNING_RATE)
    module.train()

    def step(data, labels):
        loss = float(np.asarray(module(data, labels)))
        optimizer.step()
        module.lazy_reset_grad()
        return loss

    return step, state


def theirs(folder, backbone, proxies, trained, batches):
    write_theirs(folder, backbone, proxies, trained)
    step, state = open_theirs(folder)
    losses = [step(data, labels) for data, labels in batches]
    return losses, {name: np.array(state.parameters[name].data) for name in trained}


def batches_for(backbone, batch=BATCH):
    random = np.random.default_rng(5)
    shape = [dim.dim_value for dim in backbone.graph.input[0].type.tensor_type.shape.dim][1:]
    colours = random.standard_normal((CLASSES, shape[0], 1, 1))
    for _ in range(STEPS):
        labels = random.integers(0, CLASSES, batch)
        yield (colours[labels] + random.standard_normal((batch, *shape))).astype(np.float32), labels


def furthest(left, right):
    """The largest distance between two weights, and its name."""
    distances = {name: float(np.abs(left[name] - right[name]).max()) for name in right}
    worst = max(distances, key=distances.get)
    return distances[worst], worst


def compare(name, backbone):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        step = step_graph(folder, backbone)
        description = json.loads({entry.key: entry.value for entry in step.metadata_props}["pdloss.step"])
        first = {tensor.name: numpy_helper.to_array(tensor) for tensor in step.graph.initializer}
        trained = [tensor["name"] for tensor in description["state"] if tensor["kind"] in ("weight", "proxies")]
        batches = list(batches_for(backbone))
        losses, state = ours(step, description, batches, {})
        nudged = {name: np.nextafter(first[name], np.float32(np.inf)) for name in trained}
        _, other = ours(step, description, batches, nudged)
        wanted, weights = theirs(folder, backbone, first["pdloss.proxies"], trained, batches)
    apart, worst = furthest(state, weights)
    rounding, _ = furthest(other, {name: state[name] for name in trained})
    moved, _ = furthest(first, {name: state[name] for name in trained})
    print(
        f"{name}: {len(trained)} weights moved by up to {moved:.1e}, apart by {apart:.1e} ({worst}), "
        f"by {rounding:.1e} from the last bit alone; loss {losses[0]:.4f} to {losses[-1]:.4f}, theirs {wanted[-1]:.4f}",
        flush=True,
    )
    # Negated, so that NaN fails.
    is_start_equal = abs(losses[0] - wanted[0]) < 1e-5 * abs(wanted[0])
    return not (apart < CLOSE and moved > 5 * CLOSE and is_start_equal)


def batch_freed(path):
    """A model exported for single images, with its batch free."""
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    constants = {node.output[0]: node for node in model.graph.node if node.op_type == "Constant"}
    for node in model.graph.node:
        if node.op_type == "Reshape":
            (attribute,) = constants[node.input[1]].attribute
            shape = numpy_helper.to_array(attribute.t).copy()
            shape[0] = 0
            attribute.t.CopyFrom(numpy_helper.from_array(shape))
    return model


def main():
    networks = {name: getattr(models, name)() for name in ("resnet18", "mobilenet", "vit")}
    for path in sys.argv[1:]:
        if pathlib.Path(path).is_file():
            networks[pathlib.Path(path).stem] = batch_freed(path)
        else:
            print(f"{path}: not there, left out")
    failed = [name for name, model in networks.items() if compare(name, model)]
    if failed:
        sys.exit(f"not within {CLOSE}: {failed}")


if __name__ == "__main__":
    main()
