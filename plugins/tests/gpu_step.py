"""A whole training step in the library's operators on a GPU, beside the same step in standard operators on the processor.

    python gpu_step.py make PDLOSS FOLDER        writes the steps: where there is `pdloss`, no GPU is needed
    python gpu_step.py run LIBRARY FOLDER [cpu]  holds them to each other; on a GPU also times

Called by gpu-check. The net is drawn: convolutions dense, grouped, depthwise and strided, BatchNormalization, LayerNormalization,
activations, pools. Sessions on the GPU may not fall back to the CPU. `cpu` runs the operators on the processor, which tests this script.
"""

import pathlib
import subprocess
import sys
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

BATCH, SIDE, DIM, CLASSES, STEPS = 16, 40, 48, 10, 3
# Name, flags of `pdloss export`, largest difference of a result relative to the largest of its tensor: AdamW makes steps of one
# length of small gradients as of large ones, and so of what rounding leaves of them.
STEPS_OF = [
    ("adamw", ["--optimizer", "adamw", "--clip", "1", "--ema", "0.9"], 1e-2),
    ("sgd", ["--optimizer", "sgd", "--momentum", "0.9"], 2e-4),
    ("f16", ["--optimizer", "sgd", "--momentum", "0.9", "--precision", "f16"], 3e-2),
    ("bf16", ["--optimizer", "sgd", "--momentum", "0.9", "--precision", "bf16"], 2e-1),
]


def net():
    """Images [N, 3, SIDE, SIDE] to rows [N, DIM]."""
    random = np.random.default_rng(0)
    nodes, tensors = [], []

    def tensor(name, values):
        tensors.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def add(operator, *inputs, **settings):
        out = f"v{len(nodes)}"
        nodes.append(helper.make_node(operator, list(inputs), [out], name=out, **settings))
        return out

    def convolve(x, channels, into, kernel, **settings):
        size = (into, channels // settings.get("group", 1), kernel, kernel)
        weight = tensor(f"w{len(nodes)}", random.normal(size=size) / np.sqrt(np.prod(size[1:])))
        return add("Conv", x, weight, kernel_shape=[kernel, kernel], **settings)

    def normalize(x, channels):
        at = len(nodes)
        values = [np.ones(channels), np.zeros(channels), np.zeros(channels), np.ones(channels)]
        names = [tensor(f"n{at}_{index}", value) for index, value in enumerate(values)]
        return add("BatchNormalization", x, *names)

    x = add("Relu", normalize(convolve("images", 3, 16, 3, pads=[1] * 4, strides=[2, 2]), 16))
    x = add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    x = add("HardSwish", normalize(convolve(x, 16, 16, 3, pads=[1] * 4, group=16), 16))
    x = add("LeakyRelu", normalize(convolve(x, 16, 32, 3, pads=[2] * 4, dilations=[2, 2], group=4), 32), alpha=0.1)
    gate = add("Sigmoid", x)
    x = add("Mul", x, gate)
    x = add("Gelu", convolve(x, 32, DIM, 1))
    x = add("Flatten", add("GlobalAveragePool", x))
    x = add("LayerNormalization", x, tensor("ln_scale", np.ones(DIM)), tensor("ln_bias", np.zeros(DIM)))
    nodes.append(helper.make_node("Gemm", [x, tensor("last", random.normal(size=(DIM, DIM)) / DIM**0.5)], ["rows"], name="rows"))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", DIM])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


def make(pdloss, folder):
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "net.onnx"
    onnx.save(net(), source)
    for name, flags, _ in STEPS_OF:
        for kind, how in [("standard", ["--as", "inline"]), ("cuda", ["--as", "op", "--device", "cuda"]), ("cpu", ["--as", "op"])]:
            out = folder / f"{name}.{kind}.onnx"
            command = [pdloss, "export", source, out, "--train", "--loss", "pd", "--classes", str(CLASSES), *flags, *how]
            done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"gpu_step.py: {' '.join(map(str, command))}: {done.stderr.strip()}")


class Step:
    """A step that carries its state on."""

    def __init__(self, path, library, provider):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.register_custom_ops_library(str(library))
        providers = ["CPUExecutionProvider"]
        if provider == "cuda":
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
            # Beside float32 on the processor: no TF32.
            providers = [("CUDAExecutionProvider", {"use_tf32": "0"})]
        self.session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        first = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
        outputs = [output.name for output in self.session.get_outputs()]
        self.names = outputs
        inputs = [wanted.name for wanted in self.session.get_inputs() + self.session.get_overridable_initializers()]
        self.state = {name: first[name] for name in inputs if f"{name}.next" in outputs}

    def feeds(self, seed):
        random = np.random.default_rng(seed)
        feeds = dict(self.state)
        for wanted in self.session.get_inputs():
            if wanted.name in feeds:
                continue
            if wanted.type == "tensor(int64)":
                feeds[wanted.name] = np.arange(BATCH, dtype=np.int64) % CLASSES
            elif len(wanted.shape) == 4:
                feeds[wanted.name] = random.normal(size=(BATCH, 3, SIDE, SIDE)).astype(np.float32)
            else:
                feeds[wanted.name] = np.full([], 0.01, np.float32)
        return feeds

    def __call__(self, seed):
        results = dict(zip(self.names, self.session.run(self.names, self.feeds(seed))))
        self.state = {name: results[f"{name}.next"] for name in self.state}
        return results


def hold(name, tolerance, library, folder, provider):
    wanted = Step(folder / f"{name}.standard.onnx", library, "cpu")
    got = Step(folder / f"{name}.{provider}.onnx", library, provider)
    for number in range(STEPS):
        results, truth = got(number), wanted(number)
        for output, want in truth.items():
            have = results[output]
            if want.dtype.kind != "f":
                if not np.array_equal(have, want):
                    sys.exit(f"gpu_step.py: {name}, step {number}: {output}: got {have}, wanted {want}")
                continue
            difference, largest = np.abs(have - want).max(initial=0), max(np.abs(want).max(initial=0), 1e-3)
            if not difference <= tolerance * largest:
                sys.exit(f"gpu_step.py: {name}, step {number}: {output} is off by {difference:.3g}, its largest is {largest:.3g}")


def hold_bits(name, library, folder, provider):
    """Twice the same, and the same where one buffer of the device is a tensor and its next value."""
    path = folder / f"{name}.{provider}.onnx"
    runs = [Step(path, library, provider)(1) for _ in range(2)]
    step = Step(path, library, provider)
    feeds = step.feeds(1)
    values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(value, provider, 0) for name, value in feeds.items()}
    binding = step.session.io_binding()
    for name, value in values.items():
        binding.bind_ortvalue_input(name, value)
    moved = [name for name in step.state if name in updated(path)]
    for output in step.names:
        if output.removesuffix(".next") in moved:
            binding.bind_ortvalue_output(output, values[output.removesuffix(".next")])
        else:
            binding.bind_output(output, provider)
    step.session.run_with_iobinding(binding)
    in_place = dict(zip(step.names, binding.get_outputs()))
    for output, want in runs[0].items():
        for what, have in [("again", runs[1][output]), ("in place", in_place[output].numpy())]:
            if have.tobytes() != want.tobytes():
                sys.exit(f"gpu_step.py: {path.name}: {output}, {what}: other bits")


def updated(path):
    """What the node `Update` gives as next values."""
    (node,) = [node for node in onnx.load(path).graph.node if node.op_type == "Update"]
    return {name.removeprefix("pdloss.update.") for name in node.output}


def milliseconds(path, library):
    """A step whose state stays on the device, median of 20."""
    step = Step(path, library, "cuda")
    values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(value, "cuda", 0) for name, value in step.feeds(0).items()}
    times = []
    for _ in range(25):
        binding = step.session.io_binding()
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        for output in step.names:
            binding.bind_output(output, "cuda")
        begun = time.perf_counter()
        step.session.run_with_iobinding(binding)
        times.append(1e3 * (time.perf_counter() - begun))
        outputs = dict(zip(step.names, binding.get_outputs()))
        values |= {name: outputs[f"{name}.next"] for name in step.state}
    return sorted(times[5:])[10]


def main():
    if len(sys.argv) not in (4, 5) or sys.argv[1] not in ("make", "run"):
        sys.exit(__doc__)
    _, what, file, folder = sys.argv[:4]
    folder = pathlib.Path(folder)
    if what == "make":
        return make(file, folder)
    provider = sys.argv[4] if len(sys.argv) == 5 else "cuda"
    narrow = ("f16", "bf16") if provider == "cpu" else ()
    steps = [(name, tolerance) for name, _, tolerance in STEPS_OF if name not in narrow]
    for name, tolerance in steps:
        hold(name, tolerance, file, folder, provider)
        hold_bits(name, file, folder, provider)
    told = f"{', '.join(name for name, _ in steps)}: {STEPS} steps as in standard operators, bits repeat, also in place"
    if provider == "cuda":
        nodes = {kind: len(onnx.load(folder / f"sgd.{kind}.onnx").graph.node) for kind in ("standard", "cuda")}
        times = {kind: milliseconds(folder / f"sgd.{kind}.onnx", file) for kind in nodes}
        told += "; " + ", ".join(f"{kind} operators {nodes[kind]} nodes, {times[kind]:.2f} ms" for kind in nodes)
    print(told)


main()
