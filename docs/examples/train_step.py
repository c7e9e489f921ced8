"""Trains with a step graph on stock onnxruntime: no gradient code, no other library.

    python docs/examples/train_step.py STEP.onnx --backbone BACKBONE.onnx --out EMBEDDER.onnx

The pictures are made up: one colour a class, with noise. What is real is the loop: the state stays in the runtime's own
memory, a checkpoint is written and read, and what goes on from it equals what never stopped, to the bit.
"""

import argparse
import json
import os

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime


class Step:
    """A step graph and its state."""

    def __init__(self, path, library=None):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # else it warns that every tensor of the state has a first value
        options.enable_mem_pattern = False  # see docs/step-graph.md, memory
        if library:  # only for graphs with this project's operators
            options.register_custom_ops_library(library)
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.description = json.loads(self.session.get_modelmeta().custom_metadata_map["pdloss.step"])
        # What is not fed has its first value: that of the initializer in the file.
        self.state = {}

    def run(self, data, labels, learning_rate):
        """One step; the loss and the mean cosine of the batch."""
        binding = self.session.io_binding()
        binding.bind_cpu_input(self.description["data"], data)
        binding.bind_cpu_input("pdloss.labels", labels)
        binding.bind_cpu_input("pdloss.learning_rate", np.array(learning_rate, np.float32))
        for name, value in self.state.items():
            binding.bind_ortvalue_input(name, value)
        reports = ["pdloss.loss", "pdloss.mean_cosine"]
        for name in reports + [state["next"] for state in self.description["state"]]:
            binding.bind_output(name, "cpu")  # "cuda" keeps the state on the device
        self.session.run_with_iobinding(binding)
        values = binding.get_outputs()
        names = [state["name"] for state in self.description["state"]]
        self.state = dict(zip(names, values[len(reports):]))
        return [float(value.numpy()) for value in values[: len(reports)]]

    def save(self, path):
        """Writes the state whole or not at all."""
        with open(path + ".partial", "wb") as file:
            np.savez(file, **{name: value.numpy() for name, value in self.state.items()})
        os.replace(path + ".partial", path)

    def load(self, path):
        with np.load(path) as arrays:
            self.state = {name: onnxruntime.OrtValue.ortvalue_from_numpy(arrays[name]) for name in arrays.files}


def embedder(backbone, state, copies=()):
    """The backbone with the trained weights and running statistics, which have the same names in both. `copies` are tensors that
    layers of the backbone share and that were trained by themselves; "pdloss.copies" in the step graph's metadata lists them."""
    model = onnx.load(backbone)
    for copy in copies:
        for node in model.graph.node:
            for output, index in copy["reads"]:
                if output in node.output:
                    node.input[index] = copy["name"]
        for node in [node for node in model.graph.node if copy["name"] in node.output]:
            model.graph.node.remove(node)
        shared = next(tensor for tensor in model.graph.initializer if tensor.name == copy["of"])
        model.graph.initializer.add().CopyFrom(shared)
        model.graph.initializer[-1].name = copy["name"]
    # Exports in training mode normalise by the batch; an embedder goes by the running statistics.
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            kept = [attribute for attribute in node.attribute if attribute.name != "training_mode"]
            del node.attribute[:], node.output[1:]
            node.attribute.extend(kept)
    for initializer in model.graph.initializer:
        if initializer.name in state:
            # The state of what is stored in 16 bits is float32.
            stored = onnx.numpy_helper.to_array(initializer).dtype
            initializer.CopyFrom(onnx.numpy_helper.from_array(state[initializer.name].numpy().astype(stored), initializer.name))
    return model


def batch(random, colours, shape, size):
    labels = random.integers(0, len(colours), size)
    colour = colours[labels].reshape(size, -1, *[1] * (len(shape) - 1))
    return (colour + random.standard_normal((size, *shape))).astype(np.float32), labels


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step")
    parser.add_argument("--backbone", required=True, help="what the step graph was made from")
    parser.add_argument("--out", required=True, help="where to write the trained embedder")
    parser.add_argument("--library", help="libpdloss_ort.so, where the loss is an operator")
    parser.add_argument("--steps", type=int, default=40)
    arguments = parser.parse_args()

    random = np.random.default_rng(0)
    step = Step(arguments.step, arguments.library)
    shape = next(value.shape for value in step.session.get_inputs() if value.name == step.description["data"])[1:]
    colours = random.standard_normal((step.description["classes"], shape[0]))
    batches = [batch(random, colours, shape, 32) for _ in range(arguments.steps)]

    losses = []
    half = len(batches) // 2
    checkpoint = arguments.out + ".checkpoint.npz"
    for number, (data, labels) in enumerate(batches):
        if number == half:
            step.save(checkpoint)
        loss, mean_cosine = step.run(data, labels, 1e-3)
        losses.append(loss)
        if number % 10 == 0 or number == len(batches) - 1:
            print(f"step {number:3}  loss {loss:8.4f}  mean cosine {mean_cosine:7.4f}")
    assert losses[-1] < losses[0], losses

    again = Step(arguments.step, arguments.library)
    again.load(checkpoint)
    os.remove(checkpoint)
    resumed = [again.run(data, labels, 1e-3)[0] for data, labels in batches[half:]]
    assert resumed == losses[half:], "a resumed run differs"
    for name, value in step.state.items():
        assert np.array_equal(value.numpy(), again.state[name].numpy()), name
    print(f"resumed from step {half}: the same losses and weights, to the bit")

    copies = json.loads(step.session.get_modelmeta().custom_metadata_map.get("pdloss.copies", "[]"))
    onnx.save(embedder(arguments.backbone, step.state, copies), arguments.out)
    print(f"{arguments.out}: the trained embedder")


if __name__ == "__main__":
    main()
