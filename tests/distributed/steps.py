"""Gradients of several ranks against one process: from each state of a one-process run, on the same batch.

    steps.py smooth NET.onnx SMOOTH.onnx     the net without ReLU and MaxPool
    steps.py record LIBRARY STEP.onnx STATES.npz            one process: ten states, the batches between them, what each step gives
    mpirun ... steps.py compare LIBRARY RANKS.onnx STATES.npz [REPORT]   each rank runs its rows from each of those states
    steps.py wander LIBRARY STEP.onnx RUN.npz               one process: 100 steps, and again from other last bits of its weights
    mpirun ... steps.py follow LIBRARY RANKS.onnx RUN.npz   the same steps on the ranks: as near as those of other last bits

With {rank} in its name, RANKS.onnx is a graph of each rank's own, which has a part of the classes.

The steps are of SGD with momentum: fed with a momentum of zeros, its next value is the gradient.
"""
import hashlib
import json
import os
import sys

import numpy as np
import onnx
import onnxruntime

STATES = 10
BATCH = 21  # no multiple of 2, 3 or 4
CLASSES = 7
# Of the largest number of each tensor. Gradients that cancel (of a scale in front of a normalisation) have less to go by: they may
# be as far off as four times what another order of the same rows does to one process.
TOLERANCE, ORDER = 1e-5, 4.0
# Steps of a free run, and runs that begin with other last bits: of a loss that chooses its pairs (triplet), two in six end a hundred times
# as far away as the others.
FREE, OTHERS = 100, 6


def smooth(model, path):
    """The net without corners, at which rounding alone may switch a gradient on or off."""
    net = onnx.load(model)
    for node in net.graph.node:
        if node.op_type in ("Relu", "MaxPool"):
            node.op_type = {"Relu": "Tanh", "MaxPool": "AveragePool"}[node.op_type]
            kept = [a for a in node.attribute if a.name in ("kernel_shape", "strides", "pads", "auto_pad")]
            del node.attribute[:]
            node.attribute.extend(kept)
    onnx.save(net, path)


def session(library, model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # that the state is fed is as it is meant
    options.register_custom_ops_library(library)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def description(model):
    return json.loads(next(p.value for p in onnx.load(model).metadata_props if p.key == "pdloss.step"))


def first_state(model, about):
    values = {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(model).graph.initializer}
    return {tensor["name"]: values[tensor["name"]] for tensor in about["state"]}


def run(opened, about, state, images, labels, rate, is_first=True):
    feeds = {**state, about["data"]: images, "pdloss.labels": labels, "pdloss.learning_rate": np.array(rate, np.float32)}
    if is_first:
        # Gradients: the momentum of a step that had none.
        feeds.update({t["name"]: np.zeros_like(state[t["name"]]) for t in about["state"] if t["name"].startswith("pdloss.momentum.")})
    names = [output.name for output in opened.get_outputs()]
    return dict(zip(names, opened.run(names, feeds)))


def record(library, model, path):
    about, opened = description(model), session(library, model)
    shape = [d if isinstance(d, int) else BATCH for d in next(i.shape for i in opened.get_inputs() if i.name == about["data"])]
    state, random, kept, orders = first_state(model, about), np.random.default_rng(7), {}, {}
    for at in range(STATES):
        labels = np.sort(random.permutation(np.arange(BATCH) % CLASSES)).astype(np.int64)
        labels = labels[random.permutation(BATCH)]
        images = (random.standard_normal(shape) + labels.reshape(-1, 1, 1, 1) * 0.3).astype(np.float32)
        found = run(opened, about, state, images, labels, 0.05)
        kept.update({f"{at}/state/{name}": value for name, value in state.items()})
        kept.update({f"{at}/found/{name}": value for name, value in found.items()})
        for _ in range(3):
            order = random.permutation(BATCH)
            turned = run(opened, about, state, images[order], labels[order], 0.05)
            for name in found.keys() - {"pdloss.embeddings"}:
                orders[name] = max(orders.get(name, 0.0), np.abs(turned[name] - found[name]).max(initial=0))
        kept[f"{at}/images"], kept[f"{at}/labels"] = images, labels
        state = {tensor["name"]: found[tensor["next"]] for tensor in about["state"]}
    np.savez(path, **kept, **{f"order/{name}": apart for name, apart in orders.items()})


def compare(library, model, path, report=None):
    # The tests are of Open MPI's launcher.
    rank, size = (int(os.environ[f"OMPI_COMM_WORLD_{name}"]) for name in ("RANK", "SIZE"))
    model, is_sharded = model.replace("{rank}", str(rank)), "{rank}" in model
    about, opened, kept = description(model), session(library, model), np.load(path)
    classes = slice(rank * CLASSES // size, (rank + 1) * CLASSES // size)
    own = lambda name, value: value[classes] if is_sharded and "pdloss.proxies" in name else value
    rows = slice(rank * BATCH // size, (rank + 1) * BATCH // size)
    lines, apart, order = [], {}, {}
    for at in range(STATES):
        state = {t["name"]: own(t["name"], kept[f"{at}/state/{t['name']}"]) for t in about["state"]}
        found = run(opened, about, state, kept[f"{at}/images"][rows], kept[f"{at}/labels"][rows], 0.05)
        for name, value in found.items():
            wanted = kept[f"{at}/found/{name}"]
            scale = max(np.abs(wanted).max(initial=0), 1e-30)
            wanted = wanted[rows] if name == "pdloss.embeddings" else own(name, wanted)
            assert value.shape == wanted.shape, f"{name}: {value.shape}, wanted {wanted.shape}"
            off = np.abs(value.astype(np.float64) - wanted).max(initial=0) / scale
            apart[name] = max(apart.get(name, 0.0), off)
            # A row's embedding is its own in any order.
            turned = 0.0 if name == "pdloss.embeddings" else kept[f"order/{name}"] / scale
            order[name] = max(order.get(name, 0.0), turned)
            if not off <= max(TOLERANCE, ORDER * turned):
                lines.append(f"state {at}, rank {rank} of {size}: {name} is {off:.1e} of its largest number off")
            elif report:
                lines.append(f"{name} {hashlib.sha256(value.tobytes()).hexdigest()}")
    bad = [line for line in lines if line.startswith("state ")]
    if bad:
        sys.exit("\n".join(bad[:8]))
    if report and rank == 0:
        with open(report, "w") as file:
            file.write("\n".join(lines))
    if rank == 0:
        # Where rounding alone is more than the tolerance, what another order of rows does to one process is what there is.
        cancelled = sorted(name for name in apart if ORDER * order[name] > TOLERANCE and apart[name] > TOLERANCE)
        worst = max(off for name, off in apart.items() if name not in cancelled)
        print(f"{os.path.basename(model)}: loss, gradients and statistics of {size} ranks within {worst:.1e} of one process"
              + "".join(f"; {name} {apart[name]:.1e}, another order of rows {order[name]:.1e}" for name in cancelled))


def wander(library, model, path):
    """The batches of a run, the embeddings of its last one, and how far these are off where the run began with other last bits of its weights.

    Weights are no measure: a bias in front of a normalisation moves by rounding alone, and moves nothing."""
    about, opened = description(model), session(library, model)
    shape = [d if isinstance(d, int) else BATCH for d in next(i.shape for i in opened.get_inputs() if i.name == about["data"])]
    first, random = first_state(model, about), np.random.default_rng(11)
    labels = [random.permutation(np.arange(BATCH) % CLASSES).astype(np.int64) for _ in range(FREE)]
    images = [(random.standard_normal(shape) + of.reshape(-1, 1, 1, 1) * 0.3).astype(np.float32) for of in labels]
    end = free_run(opened, about, first, images, labels)

    def last_bits(state):
        def other(name, value):
            if value.dtype != np.float32 or name.startswith("pdloss.momentum."):
                return value
            return np.asarray(np.nextafter(value, np.where(random.random(value.shape) < 0.5, -np.inf, np.inf).astype(np.float32)))
        return {name: other(name, value) for name, value in state.items()}

    others = [distance(end, free_run(opened, about, last_bits(first), images, labels)) for _ in range(OTHERS)]
    np.savez(path, images=images, labels=labels, end=end, spread=max(others))


def follow(library, model, path):
    rank, size = (int(os.environ[f"OMPI_COMM_WORLD_{name}"]) for name in ("RANK", "SIZE"))
    model = model.replace("{rank}", str(rank))
    about, opened, kept = description(model), session(library, model), np.load(path)
    rows = slice(rank * BATCH // size, (rank + 1) * BATCH // size)
    end = free_run(opened, about, first_state(model, about), [of[rows] for of in kept["images"]], [of[rows] for of in kept["labels"]])
    off, spread = distance(kept["end"][rows], end), float(kept["spread"])
    if not off <= ORDER * spread:
        sys.exit(f"rank {rank} of {size}: embeddings after {FREE} steps are {off:.1e} off, with other last bits {spread:.1e}")
    if rank == 0:
        print(f"{os.path.basename(model)}: embeddings after {FREE} steps of {size} ranks {off:.1e} from those of one process, which are {spread:.1e} "
              "off where its weights began with other last bits")


def free_run(opened, about, state, images, labels):
    """The embeddings of the last batch."""
    for image, label in zip(images, labels, strict=True):
        found = run(opened, about, state, image, label, 0.05, is_first=False)
        state = {tensor["name"]: found[tensor["next"]] for tensor in about["state"]}
    return found["pdloss.embeddings"]


def distance(one, other):
    """The root of the mean square of what differs."""
    return float(np.sqrt(np.mean((one.astype(np.float64) - other) ** 2)))


if __name__ == "__main__":
    {"smooth": smooth, "record": record, "compare": compare, "wander": wander, "follow": follow}[sys.argv[1]](*sys.argv[2:])
