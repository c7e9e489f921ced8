"""The operators against the same loss in standard operators, forward and gradient, in ONNX Runtime training.

    plugins/tests/training.sh plugins/benches/training.py [--batch 256 1024] [--classes 10000 100000] [--dim 128 512] [--repeat 5]

Three ways to the same numbers: the pair PDLoss and PDLossGrad, the one node PDLossWithGrad, and the function that `pdloss export
--as function` writes, with the gradient that onnxruntime builds for it. Held to the float64 result first, then timed in
turn (A B C A B C …), medians. Peak memory is that of a process of its own for each way, less that of the same process before
the first run (inputs and an open session).
"""

import argparse
import itertools
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnx.inliner
from onnx import TensorProto, helper

from pdloss_ort import training

import onnxruntime
from onnxruntime.capi._pybind_state import GradientGraphBuilder, get_optimized_model

WAYS = ("pair", "one node", "function")
OUTPUTS = ["pdloss.loss", "x_grad", "pdloss.proxies_grad"]
SLACK = 1e-5


def declare(name, element, shape):
    return helper.make_tensor_value_info(name, element, shape)


def graph_of(way, dim, element=TensorProto.FLOAT):
    """A model: x [B, D], pdloss.proxies [C, D], labels [B] -> loss and both gradients."""
    if way == "one node":
        outputs = ["pdloss.loss", "moments", *OUTPUTS[1:]]
        node = helper.make_node("PDLossWithGrad", ["x", "pdloss.proxies", "pdloss.labels"], outputs, domain="com.pdloss")
        inputs = [declare("x", element, ["B", dim]), declare("pdloss.proxies", element, ["C", dim])]
        inputs.append(declare("pdloss.labels", TensorProto.INT64, ["B"]))
        graph = helper.make_graph(
            [node], "bench", inputs, [declare(name, element, None) for name in OUTPUTS]
        )
        sets = [helper.make_opsetid("", 17), helper.make_opsetid("com.pdloss", 1)]
        return helper.make_model(graph, opset_imports=sets, ir_version=8)
    with tempfile.TemporaryDirectory() as folder:
        source, out = pathlib.Path(folder, "identity.onnx"), pathlib.Path(folder, "out.onnx")
        identity = helper.make_graph(
            [helper.make_node("Identity", ["x"], ["embeddings"])],
            "identity",
            [declare("x", TensorProto.FLOAT, ["B", dim])],
            [declare("embeddings", TensorProto.FLOAT, ["B", dim])],
        )
        onnx.save(helper.make_model(identity, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), source)
        spelling = "op" if way == "pair" else "function"
        subprocess.run([os.environ["PDLOSS"], "export", source, out, "--as", spelling, "--classes", "2"], check=True)
        model = onnx.inliner.inline_local_functions(onnx.load(out))
    del model.graph.initializer[:]  # nothing in the graph depends on how many proxies there are
    model.graph.input.append(declare("pdloss.proxies", TensorProto.FLOAT, ["C", dim]))
    wanted = {"x", "pdloss.proxies"}
    options = training.session_options()
    builder = GradientGraphBuilder(
        get_optimized_model(model.SerializeToString(), wanted, options), {"pdloss.loss"}, wanted, "pdloss.loss", options
    )
    builder.build()
    return onnx.load_from_string(builder.get_model())


def session(way, dim, element=TensorProto.FLOAT):
    training.register_gradients()
    return onnxruntime.InferenceSession(graph_of(way, dim, element).SerializeToString(), training.session_options())


def data(batch, classes, dim):
    """Samples around their own proxy, as a model half trained has them."""
    random = np.random.default_rng(0)
    proxies = random.standard_normal((classes, dim), dtype=np.float32)
    labels = random.integers(0, classes, batch)
    rows = proxies[labels] + random.standard_normal((batch, dim), dtype=np.float32)
    return {"x": rows, "pdloss.proxies": proxies, "pdloss.labels": labels}


def resident_mib(field):
    """VmRSS (now) or VmHWM (the most since it was last reset) of this process."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def memory(way, batch, classes, dim):
    """Peak memory of forward and gradient, in a process of its own, less what was there before."""
    command = [sys.executable, __file__, "--memory", way, *(str(length) for length in (batch, classes, dim))]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def measure_memory(way, batch, classes, dim):
    feeds, opened = data(batch, classes, dim), session(way, dim)
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the most resets to what is resident now
    before = resident_mib("VmRSS")
    opened.run(OUTPUTS, feeds)
    print(json.dumps(resident_mib("VmHWM") - before))


def check(feeds, sessions, dim):
    """Each way must be as near to the operators' own float64 result as the function is, or within a rounding or so."""
    wide = {name: values.astype(np.float64) if values.dtype == np.float32 else values for name, values in feeds.items()}
    truth = session("one node", dim, TensorProto.DOUBLE).run(OUTPUTS, wide)
    del wide
    far = {}
    for way, opened in sessions.items():
        results = opened.run(OUTPUTS, feeds)
        far[way] = [np.abs(got - want).max() / np.abs(want).max() for got, want in zip(results, truth)]
    for way in WAYS[:2]:
        for name, ours, theirs in zip(OUTPUTS, far[way], far["function"]):
            if not ours <= theirs + SLACK:
                sys.exit(f"{name} of the {way} is {ours:.1e} from the truth, the function's {theirs:.1e}")


def measure(batch, classes, dim, repeat):
    feeds = data(batch, classes, dim)
    sessions = {way: session(way, dim) for way in WAYS}
    check(feeds, sessions, dim)
    seconds = {way: [] for way in WAYS}
    for _ in range(repeat):
        for way, opened in sessions.items():
            began = time.perf_counter()
            opened.run(OUTPUTS, feeds)
            seconds[way].append(time.perf_counter() - began)
    return {way: statistics.median(values) for way, values in seconds.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--classes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--dim", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--memory", nargs=4)
    options = parser.parse_args()
    onnxruntime.set_default_logger_severity(3)
    if options.memory:
        return measure_memory(options.memory[0], *map(int, options.memory[1:]))
    print(f"onnxruntime-training {onnxruntime.__version__}, {os.cpu_count()} cores, {platform.machine()}, medians of {options.repeat}\n")
    print("| B | C | D | pair ms | one node ms | function ms | function / pair | pair MiB | one node MiB | function MiB |")
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for batch, classes, dim in itertools.product(options.batch, options.classes, options.dim):
        times = measure(batch, classes, dim, options.repeat)
        space = [memory(way, batch, classes, dim) for way in WAYS]
        cells = [f"{batch}", f"{classes}", f"{dim}", *(f"{times[way] * 1e3:.1f}" for way in WAYS)]
        cells += [f"**{times['function'] / times['pair']:.1f}**", *(f"{size:.0f}" for size in space)]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
