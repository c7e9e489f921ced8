"""PD-Loss and its gradient on a GPU, side by side: the operator, PyTorch that forms the similarities (eager and compiled), and
the forward pass alone against the function that `pdloss export` writes. Called by `gpu-check`; fails without a GPU.

    python cuda.py --library libpdloss_ort.so --pdloss PROGRAM_OR_FOLDER [--shapes 128,10000,512 ...] [--repeat 20]

Everything is float32 without TF32, but for one column, where our operator is given float16. Held to float64 first (in bands of classes, so that every shape fits), then timed in turn by
events on one stream, the second-level cache flushed between runs, medians. Extra memory is what is taken beyond inputs and
outputs. Floors are what no implementation can beat, from rates measured here: memory's (inputs read and gradients written once at
the rate of a copy), tensor cores' (three TF32 products of the cheaper path, the symmetric Gram matrix once; in 16 bits one), and
that of float32 without tensor cores. The last columns are each floor's share of the time.
"""

import argparse
import math
import statistics
import sys

import numpy as np
import torch
from onnx import TensorProto, helper

import onnxruntime

from function import read as function_of

SHAPES = ["1024,100000,128", "1024,100000,512", "1024,1000000,128", "1024,1000000,512", "128,10000,512", "512,100000,512", "4096,1000000,128", "8192,1000000,512"]
TOLERANCE = 2e-5


def declare(name, element, shape):
    return helper.make_tensor_value_info(name, element, shape)


def model_of_node(operator, outputs, kind=TensorProto.FLOAT):
    inputs = [("embeddings", kind, 2), ("proxies", kind, 2), ("labels", TensorProto.INT64, 1)]
    node = helper.make_node(operator, [name for name, *_ in inputs], outputs, domain="com.pdloss")
    graph = helper.make_graph(
        [node],
        "bench",
        [declare(name, element, [None] * rank) for name, element, rank in inputs],
        [declare(name, TensorProto.DOUBLE if name == "moments" else kind, None) for name in outputs],
    )
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("com.pdloss", 1)]
    return helper.make_model(graph, opset_imports=sets, ir_version=8)


class Ort:
    """A session on torch's stream, with torch's tensors bound to it."""

    def __init__(self, library, model, feeds, outputs):
        options = onnxruntime.SessionOptions()
        options.register_custom_ops_library(str(library))
        settings = {
            "user_compute_stream": str(torch.cuda.current_stream().cuda_stream),
            "arena_extend_strategy": "kSameAsRequested",
            "use_tf32": "0",
        }
        provider = [("CUDAExecutionProvider", settings)]
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=provider)
        # Without this every run ends with a wait, whose latency the events would count.
        self.run_options = onnxruntime.RunOptions()
        self.run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self.binding = self.session.io_binding()
        numbers = {torch.float16: np.float16, torch.float32: np.float32, torch.float64: np.float64, torch.int64: np.int64}
        for bind, tensors in [(self.binding.bind_input, feeds), (self.binding.bind_output, outputs)]:
            for name, tensor in tensors.items():
                bind(name, "cuda", 0, numbers[tensor.dtype], tuple(tensor.shape), tensor.data_ptr())

    def __call__(self):
        self.session.run_with_iobinding(self.binding, self.run_options)


def loss_of(x, p, labels):
    """As anyone would write it: similarities and all."""
    z, q = torch.nn.functional.normalize(x), torch.nn.functional.normalize(p)
    s = z @ q.T
    genuine = s.gather(1, labels[:, None])
    n = s.numel() - len(labels)
    mu_g, var_g = genuine.mean(), genuine.var(unbiased=False)
    mu_m = (s.sum() - genuine.sum()) / n
    var_m = (((s - mu_m) ** 2).sum() - ((genuine - mu_m) ** 2).sum()) / n
    index = (mu_g - mu_m) / ((var_g + var_m + 1e-12) / 2).sqrt()
    return torch.where(index > 1, 0.5 * math.log(2) - index.clamp_min(1).log(), 0.5 * math.log(2) - (index - 1))


def truth(x, p, labels, band=16384):
    """Loss and gradients in float64, a band of classes at a time."""
    x, p = x.double(), p.double()
    z, r, t = x / x.norm(dim=1, keepdim=True), x.norm(dim=1, keepdim=True), p.norm(dim=1, keepdim=True)
    q = p / t
    genuine = (z * q[labels]).sum(1)
    n_g, n_m = len(labels), len(labels) * (len(p) - 1)
    bands = [slice(start, start + band) for start in range(0, len(p), band)]
    mu_g, var_g = genuine.mean(), genuine.var(unbiased=False)
    mu_m = (sum((z @ q[b].T).sum() for b in bands) - genuine.sum()) / n_m
    var_m = (sum(((z @ q[b].T - mu_m) ** 2).sum() for b in bands) - ((genuine - mu_m) ** 2).sum()) / n_m
    v = var_g + var_m + 1e-12
    index = (mu_g - mu_m) / (v / 2).sqrt()
    loss = 0.5 * math.log(2) + (-index.log() if index > 1 else 1 - index)
    steep = 1 / index if index > 1 else torch.ones_like(index)
    pull, squeeze = steep / (v / 2).sqrt(), steep * index / (2 * v)
    own = (-pull + 2 * squeeze * (genuine - mu_g)) / n_g
    dz, dq = torch.zeros_like(z), torch.zeros_like(q)
    for b in bands:
        weights = (pull + 2 * squeeze * (z @ q[b].T - mu_m)) / n_m
        inside = (labels >= b.start) & (labels < b.stop)
        weights[inside, labels[inside] - b.start] = own[inside]
        dz += weights @ q[b]
        dq[b] = weights.T @ z
    return loss, (dz - z * (z * dz).sum(1, keepdim=True)) / r, (dq - q * (q * dq).sum(1, keepdim=True)) / t


def check(what, got, want):
    far = ((got.double() - want).abs().max() / want.abs().max()).item()
    if not far <= TOLERANCE:
        sys.exit(f"{what} is {far:.1e} of the largest element from float64, allowed {TOLERANCE:.0e}")


def time_in_turn(ways, repeat):
    """Median milliseconds of each way; None where it ran out of memory."""
    flush = torch.empty(1 << 28, dtype=torch.uint8, device="cuda")
    times = {name: [] for name in ways}
    for name, way in list(ways.items()):
        try:
            for _ in range(3):
                way()
        except torch.cuda.OutOfMemoryError:
            del ways[name], times[name]
            torch.cuda.empty_cache()
    for _ in range(repeat):
        for name, way in ways.items():
            flush.zero_()
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            way()
            end.record()
            end.synchronize()
            times[name].append(start.elapsed_time(end))
    return {name: statistics.median(values) for name, values in times.items()}


def rates():
    """Bytes a second of a copy (read and written), multiply-adds a second of products in float32, TF32 and float16."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target, a = torch.empty_like(source), torch.randn(8192, 8192, device="cuda")
    b = torch.randn_like(a)
    half = a.half(), b.half()

    def reduced():
        torch.backends.cuda.matmul.allow_tf32 = True
        a @ b
        torch.backends.cuda.matmul.allow_tf32 = False

    products = {"float32": lambda: a @ b, "TF32": reduced, "float16": lambda: half[0] @ half[1]}
    ms = time_in_turn({"copy": lambda: target.copy_(source), **products}, 10)
    return 2 * len(source) / ms["copy"] * 1e3, {name: 8192**3 / ms[name] * 1e3 for name in products}


def extra_memory(way, outputs):
    """MiB that a call takes beyond what is there and beyond the bytes it returns; None where that does not fit.

    What torch allocates torch knows; what onnxruntime's arena took it keeps, so the device's free memory tells.
    """
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    free, held = torch.cuda.mem_get_info()[0], torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    try:
        way()
    except torch.cuda.OutOfMemoryError:
        return None
    torch.cuda.synchronize()
    in_torch = torch.cuda.max_memory_allocated() - held
    taken = in_torch - outputs if in_torch else free - torch.cuda.mem_get_info()[0]
    return taken / 2**20


def measure(shape, options, copy_rate, product_rates):
    batch, classes, dim = shape
    random = torch.Generator(device="cuda").manual_seed(0)
    p = torch.randn(classes, dim, generator=random, device="cuda")
    labels = torch.randint(classes, (batch,), generator=random, device="cuda")
    x = p[labels] + torch.randn(batch, dim, generator=random, device="cuda")
    feeds = {"embeddings": x, "proxies": p, "labels": labels}
    loss, fused = torch.zeros((), device="cuda"), torch.zeros((), device="cuda")
    moments = torch.zeros(8, dtype=torch.float64, device="cuda")
    dx, dp = torch.zeros_like(x), torch.zeros_like(p)

    def torch_way(function):
        xs, ps = x.clone().requires_grad_(), p.clone().requires_grad_()
        return lambda: torch.autograd.grad(function(xs, ps, labels), (xs, ps))

    results = {"loss": loss, "moments": moments, "embeddings_grad": dx, "proxies_grad": dp}
    ours = Ort(options.library, model_of_node("PDLossWithGrad", list(results)), feeds, results)
    space = {"ours": extra_memory(ours, 0)}
    want = truth(x, p, labels)
    for what, got, value in zip(("loss", "embeddings_grad", "proxies_grad"), (loss, dx, dp), want):
        check(f"{what} at {shape}", got, value)
    del want
    torch.cuda.empty_cache()
    narrow = {name: tensor.half() if tensor.dtype == torch.float32 else tensor for name, tensor in feeds.items()}
    narrow_results = {name: torch.zeros_like(tensor, dtype=torch.float16) for name, tensor in results.items() if name != "moments"}
    narrow_results = {"loss": narrow_results.pop("loss"), "moments": moments, **narrow_results}
    model = model_of_node("PDLossWithGrad", list(narrow_results), TensorProto.FLOAT16)
    in_half = time_in_turn({"ours": Ort(options.library, model, narrow, narrow_results)}, options.repeat)["ours"]
    del narrow, narrow_results
    eager, compiled = torch_way(loss_of), torch_way(torch.compile(loss_of))
    space["eager"] = extra_memory(eager, 4 * (x.numel() + p.numel()))
    times = time_in_turn({"ours": ours, "eager": eager, "compiled": compiled}, options.repeat)
    del eager, compiled
    torch.cuda.empty_cache()
    forward = Ort(options.library, model_of_node("PDLoss", ["loss"]), feeds, {"loss": fused})
    function_feeds = {"x": x, "pdloss.proxies": p, "pdloss.labels": labels}
    model = function_of(options.pdloss, dim)
    function = Ort(options.library, model, function_feeds, {"pdloss.loss": loss})
    forwards = time_in_turn({"ours": forward, "function": function}, options.repeat)
    check(f"loss of the function at {shape}", loss, fused.double())

    data = 2 * 4 * (batch + classes) * dim
    work = min(1.5 * (batch + classes) * dim * dim, 4 * batch * classes * dim)
    memory, plain = data / copy_rate * 1e3, work / product_rates["float32"] * 1e3
    tensor, in_half_tensor = 3 * work / product_rates["TF32"] * 1e3, work / product_rates["float16"] * 1e3

    def cell(value, digits=2):
        return "does not fit" if value is None else f"{value:.{digits}f}"

    row = [*map(str, shape), cell(times["ours"]), cell(times.get("eager")), cell(times.get("compiled"))]
    row += [cell(forwards["ours"]), cell(forwards["function"]), cell(space["ours"], 0), cell(space["eager"], 0)]
    row += [cell(in_half)] + [f"{floor / times['ours']:.0%}" for floor in (memory, tensor, plain)]
    return [*row, f"{max(memory / 2, in_half_tensor) / in_half:.0%}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", required=True)
    parser.add_argument("--pdloss", required=True)
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    parser.add_argument("--repeat", type=int, default=20)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("benches/cuda.py: no GPU")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.cuda.set_stream(torch.cuda.Stream())
    copy_rate, product_rates = rates()
    products = ", ".join(f"{name} {2 * rate / 1e12:.1f}" for name, rate in product_rates.items())
    print(f"copy {copy_rate / 1e12:.2f} TB/s; products, TFLOP/s: {products}; medians of {options.repeat}\n")
    head = "B, C, D, ours ms, eager ms, compiled ms, forward ms, function's forward ms, extra MiB, eager's MiB, ours in float16 ms"
    head += ", memory floor, tensor-core floor, float32 floor, float16: nearer floor"
    print("| " + " | ".join(head.split(", ")) + " |\n" + "|---" * len(head.split(", ")) + "|")
    for text in options.shapes:
        shape = tuple(int(length) for length in text.split(","))
        print("| " + " | ".join(measure(shape, options, copy_rate, product_rates)) + " |", flush=True)


if __name__ == "__main__":
    main()
