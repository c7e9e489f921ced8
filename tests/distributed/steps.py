"""Gradients of several ranks against one process: from each state of a one-process run, on the same batch.

    steps.py smooth NET.onnx SMOOTH.onnx     the net without ReLU and MaxPool
    steps.py record LIBRARY STEP.onnx STATES.npz            one process: ten states, the batches between them, what each step gives
    mpirun ... steps.py compare LIBRARY RANKS.onnx STATES.npz [REPORT]   each rank runs its rows from each of those states

With {rank} in its name, RANKS.onnx is a graph of each rank's own, which has a part of the classes.

The steps are of SGD with momentum: fed with a momentum of zeros, its next value is the gradient.
"""
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


def run(opened, about, state, images, labels, rate):
    feeds = {**state, about["data"]: images, "pdloss.labels": labels, "pdloss.learning_rate": np.array(rate, np.float32)}
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
    worst, lines, cancelled = 0.0, [], set()
    for at in range(STATES):
        state = {t["name"]: own(t["name"], kept[f"{at}/state/{t['name']}"]) for t in about["state"]}
        found = run(opened, about, state, kept[f"{at}/images"][rows], kept[f"{at}/labels"][rows], 0.05)
        for name, value in found.items():
            wanted = kept[f"{at}/found/{name}"]
            scale = np.abs(wanted).max(initial=0)
            wanted = own(name, wanted)
            if name == "pdloss.embeddings":
                wanted = wanted[rows]
            assert value.shape == wanted.shape, f"{name}: {value.shape}, wanted {wanted.shape}"
            apart = np.abs(value.astype(np.float64) - wanted).max(initial=0) / max(scale, 1e-30)
            order = 0.0 if name == "pdloss.embeddings" else ORDER * kept[f"order/{name}"] / max(scale, 1e-30)
            if order > TOLERANCE and apart > TOLERANCE:
                cancelled.add(name)
                apart = 0.0 if apart <= order else apart
            worst = max(worst, apart)
            if not apart <= TOLERANCE:
                lines.append(f"state {at}, rank {rank} of {size}: {name} is {apart:.1e} of its largest number off")
            elif report:
                lines.append(f"{name} {value.tobytes().hex()[:64]}")
    bad = [line for line in lines if line.startswith("state ")]
    if bad:
        sys.exit("\n".join(bad[:8]))
    if report and rank == 0:
        with open(report, "w") as file:
            file.write("\n".join(lines))
    if rank == 0:
        print(f"{os.path.basename(model)}: loss, gradients and statistics of {size} ranks within {worst:.1e} of one process"
              + (f"; as far off as another order of rows is: {', '.join(sorted(cancelled))}" if cancelled else ""))


if __name__ == "__main__":
    {"smooth": smooth, "record": record, "compare": compare}[sys.argv[1]](*sys.argv[2:])
