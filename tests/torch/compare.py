"""Gradients of whole nets against autograd: every tensor of the update of one step of plain gradient descent.

    tests/torch/run.sh [NET ...]            ZOO=file.py for other nets than nets.py has; CASES=legacy.eval.free,... for some

Each net is exported by both of PyTorch's exporters, for inference and for training (the older one in training mode, the newer
one without optimisations, as either leaves parameters whole), with a free and a fixed batch. Then
`step.rs` makes its step graph, onnxruntime runs it, and `(w0 - w1) / rate` is compared with what autograd says in float64,
relative to the largest element of that tensor's own gradient. Where float32 is further away, the same step graph is computed in
float64 (`double.py`), and every tensor must agree there; and its float32 must not be far worse than PyTorch's own, of this net or
of nets that differ from it by rounding. Exports for training must have every parameter, and nothing else may be trained.
"""

import argparse
import importlib.util
import logging
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from torch import nn

from double import evaluator

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
onnxruntime.set_default_logger_severity(3)
torch.set_num_threads(int(os.environ.get("THREADS", "1")))

CLOSE = 1e-4
CLASSES, BATCH, STEPS, TEMPERATURE = 6, 4, 3, 0.5
# So large that the rounding of the weights themselves does not show in their differences, even of the smallest gradients.
RATE = 2.0**40
# How far weights are moved, and how often, to see how much of a distance rounding alone can be.
ROUNDING, ROUNDINGS = 1e-6, 4
# So many times the distance of PyTorch's own float32 may that of a step be, where both are beyond CLOSE.
UNSTEADY = 10
STEP = os.environ["TORCH_STEP"]
NORMS = (nn.modules.batchnorm._BatchNorm,)
ALL = [f"{exporter}.{mode}.{batch}" for exporter in ("legacy", "dynamo") for mode in ("eval", "train") for batch in ("free", "fixed")]


def nets():
    path = os.environ.get("ZOO", str(pathlib.Path(__file__).with_name("nets.py")))
    spec = importlib.util.spec_from_file_location("nets", path)
    module = importlib.util.module_from_spec(spec)
    with torch.no_grad():
        spec.loader.exec_module(module)
    return module


def build(zoo, name):
    """The net without chance in it, and no two tensors of it alike."""
    with torch.no_grad():
        net = zoo.make(name)
        random = torch.Generator().manual_seed(3)
        for parameter in net.parameters():
            spread = 0.02 + 0.05 * parameter.abs().mean()
            parameter.add_(spread * torch.randn(parameter.shape, generator=random))
    for module in net.modules():
        for chance in ("p", "drop_prob"):
            if type(module).__name__ in ("Dropout", "Dropout2d", "DropPath", "StochasticDepth") and hasattr(module, chance):
                setattr(module, chance, 0.0)
        # timm's nets drop in their own forward, too.
        if getattr(module, "drop_rate", 0):
            module.drop_rate = 0.0
    return net


def export(net, size, case, path, opset=None):
    exporter, mode, batch = case.split(".")
    net.train(mode == "train")
    images = torch.randn(2 if batch == "free" or mode == "train" else 1, 3, size, size)
    names = {"input_names": ["input"], "output_names": ["embedding"]}
    with torch.no_grad():
        if exporter == "legacy":
            axes = {"input": {0: "batch"}, "embedding": {0: "batch"}} if batch == "free" else None
            training = torch.onnx.TrainingMode.TRAINING if mode == "train" else torch.onnx.TrainingMode.EVAL
            torch.onnx.export(net, (images,), path, dynamo=False, opset_version=17, training=training,
                              do_constant_folding=mode != "train", dynamic_axes=axes, **names)
        else:
            shapes = ({0: torch.export.Dim("batch")},) if batch == "free" else None
            torch.onnx.export(net, (images,), path, dynamo=True, external_data=False, verbose=False, dynamic_shapes=shapes,
                              opset_version=opset, optimize=mode != "train", **names)


def step(path, out, dim):
    """The step graph's state, in the words of `step.rs`, and what is left out."""
    lines = subprocess.run([STEP, path, out, str(CLASSES), str(dim)], check=False, capture_output=True, text=True)
    if lines.returncode:
        raise RuntimeError(lines.stderr.strip()[:400])
    rows = [line.split("\t") for line in lines.stdout.splitlines()]
    trained = {name: following for kind, name, following, what in (row for row in rows if row[0] == "state") if what in ("Weight", "Proxies")}
    state = {row[1]: row[2] for row in rows if row[0] == "state"}
    left = {row[1]: row[2] for row in rows if row[0] == "left"}
    return trained, state, left


def normalized_by_batch(net, model):
    """The BatchNormalization modules that the export has as such: the step normalizes by the batch there. Others are folded."""
    nodes = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    source = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Identity"}
    while any(name in source for name in source.values()):
        source = {name: source.get(of, of) for name, of in source.items()}
    scales = [tensors.get(source.get(node.input[1], node.input[1])) for node in nodes]
    found = set()
    for name, module in net.named_modules():
        if isinstance(module, NORMS) and module.weight is not None:
            weight = module.weight.detach().numpy()
            if any(scale is not None and scale.shape == weight.shape and np.array_equal(scale, weight) for scale in scales):
                found.add(name)
    return found


def autograd(net, images, labels, proxies, by_batch, dtype):
    net = net.to(dtype)
    net.train()
    for name, module in net.named_modules():
        if isinstance(module, NORMS):
            module.train(name in by_batch)
    proxies = torch.tensor(proxies, dtype=dtype, requires_grad=True)
    net.zero_grad()
    embeddings = net(images.to(dtype))
    cosines = nn.functional.normalize(embeddings) @ nn.functional.normalize(proxies).T
    loss = nn.functional.cross_entropy(cosines / TEMPERATURE, labels)
    loss.backward()
    grads = {name: parameter.grad.double().numpy().copy() for name, parameter in net.named_parameters() if parameter.grad is not None}
    grads["pdloss.proxies"] = proxies.grad.double().numpy()
    return float(loss), grads


def candidates(net, by_batch):
    """For every tensor that an exporter may have made of the net's: its value, the parameter's name, and how its gradient
    follows from the parameter's."""
    parameters = {name: parameter.detach().double().numpy() for name, parameter in net.named_parameters()}
    for name, value in parameters.items():
        yield value, name, lambda grad: grad
        if value.ndim == 2:
            yield value.T, name, lambda grad: grad.T
    modules = dict(net.named_modules())
    convolutions = [(name, m) for name, m in modules.items() if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Linear))]
    norms = [(name, m) for name, m in modules.items() if isinstance(m, NORMS) and name not in by_batch and m.affine]
    for norm_name, norm in norms:
        factor = (norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()).detach().numpy()
        for name, layer in convolutions:
            weight = parameters.get(f"{name}.weight")
            if weight is None or weight.shape[0] != len(factor):
                continue
            by_channel = factor.reshape(-1, *[1] * (weight.ndim - 1))
            yield weight * by_channel, f"{name}.weight", lambda grad, by=by_channel: grad / by
            before = parameters.get(f"{name}.bias", 0.0)
            bias = (before - norm.running_mean.double().numpy()) * factor + parameters[f"{norm_name}.bias"]
            yield bias, f"{norm_name}.bias", lambda grad: grad


def match(net, model, trained, by_batch):
    """For each trained tensor of the export the parameter it is, and how to bring the parameter's gradient to it."""
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            tensors[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    by_shape = {}
    for value, name, change in candidates(net, by_batch):
        by_shape.setdefault(value.size, []).append((value, name, change))
    found = {}
    for name in trained:
        if name == "pdloss.proxies":
            found[name] = (name, lambda grad: grad)
            continue
        # The step may have made a tensor of its own.
        if name not in tensors:
            continue
        value = tensors[name].astype(np.float64)
        scale = np.abs(value).max() + 1e-30
        for other, parameter, change in by_shape.get(value.size, []):
            if np.abs(other.reshape(value.shape) - value).max() <= 2e-6 * scale:
                found[name] = (parameter, lambda grad, change=change, shape=value.shape: change(grad).reshape(shape))
                break
    return found


class Reference:
    """A net, and what autograd says of it; the two batches of an export mode have the same gradients, computed once."""

    def __init__(self, zoo, name):
        self.zoo, self.name, self.size, self.known = zoo, name, zoo.size(name), {}
        with torch.no_grad():
            self.dim = self.net().eval()(torch.zeros(2, 3, self.size, self.size)).shape[1]

    def net(self):
        return build(self.zoo, self.name)

    def batch(self, draw=0):
        """Images of coarse patches: of pixels by chance alone all features of a net with first weights are nearly the same, and
        what normalises by their small differences loses most of float32's digits."""
        torch.manual_seed(11 + draw)
        coarse = nn.functional.interpolate(torch.randn(BATCH, 3, 4, 4), size=(self.size, self.size), mode="nearest")
        images = 2 * coarse + 0.3 * torch.randn(BATCH, 3, self.size, self.size)
        return images, torch.arange(BATCH) % CLASSES

    def gradients(self, proxies, by_batch, draw=0):
        """The loss in float64, its gradients, and the same in float32."""
        key = draw, proxies.tobytes(), frozenset(by_batch)
        if key not in self.known:
            images, labels = self.batch(draw)
            _, single = autograd(self.net(), images, labels, proxies, by_batch, torch.float32)
            self.known[key] = *autograd(self.net(), images, labels, proxies, by_batch, torch.float64), single
        return self.known[key]

    def rounding(self, proxies, by_batch):
        """How far the gradient of each parameter moves by rounding, relative to its largest element: of nets that differ from
        this one by rounding, how far float64 is from this one's, and float32 from float64."""
        images, labels = self.batch()
        wanted = self.gradients(proxies, by_batch)[1]
        moved = dict.fromkeys(wanted, 0.0)
        for sample in range(ROUNDINGS):

            def other(dtype, sample=sample):
                net, random = self.net(), torch.Generator().manual_seed(sample)
                with torch.no_grad():
                    for parameter in net.parameters():
                        parameter.mul_(1 + ROUNDING * torch.randn(parameter.shape, generator=random))
                return autograd(net, images, labels, proxies, by_batch, dtype)[1]

            double, single = other(torch.float64), other(torch.float32)
            for name, exact in wanted.items():
                far = max(np.abs(double[name] - exact).max(), np.abs(single[name] - double[name]).max())
                moved[name] = max(moved[name], far / (np.abs(exact).max() + 1e-300))
        return moved


def compare(reference, case, folder):
    """For every tensor how far its update is from autograd and how far float32 is from float64, by the tensor's own scale; the
    same in float64 where that was asked; of these the far ones; parameters not reached, tensors that are none; what stays."""
    net = reference.net()
    path, out = folder / "net.onnx", folder / "step.onnx"
    export(net, reference.size, case, str(path), getattr(reference.zoo, "OPSETS", {}).get(reference.name))
    model = onnx.load(path)
    trained, state, left = step(path, out, reference.dim)
    whole = onnx.load(out)
    first = {t.name: numpy_helper.to_array(t) for t in whole.graph.initializer if t.name in state}
    del whole
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("THREADS", "1"))
    session = onnxruntime.InferenceSession(str(out), options, providers=["CPUExecutionProvider"])
    by_batch = normalized_by_batch(net, model)
    matched = match(net, model, trained, by_batch)
    batch = feeds(session, state, *reference.batch())
    wanted_loss, wanted, single = reference.gradients(first["pdloss.proxies"], by_batch)
    loss, got = update(session.run, batch, trained, first)
    rows, double, far = distances(got, matched, wanted, single), [], []
    train(session, batch, state)
    if not all(distance <= CLOSE for distance in (abs(loss - wanted_loss), *(row[0] for row in rows))):
        # Where float32 does not tell, float64 must.
        wide = {name: value.astype(np.float64) if value.dtype == np.float32 else value for name, value in batch.items()}
        loss, got = update(evaluator(out).run, wide, trained, first)
        double = distances(got, matched, wanted, single)
        far = [row for row in double if not row[0] <= CLOSE]
        suspect = [row for row in rows if not row[0] <= max(CLOSE, 2 * row[1])]
        if suspect:
            moved = reference.rounding(first["pdloss.proxies"], by_batch)
            far += [row for row in suspect if not row[0] <= UNSTEADY * max(row[1], moved[row[3]])]
    if not abs(loss - wanted_loss) <= CLOSE:
        raise RuntimeError(f"loss {loss}, wanted {wanted_loss}")
    reached = {parameter for parameter, _ in matched.values()}
    missing = sorted(set(dict(net.named_parameters())) - reached)
    unknown = sorted(set(trained) - set(matched))
    return rows, double, far, missing, unknown, left


def feeds(session, state, images, labels):
    data = next(i.name for i in session.get_inputs() if i.name not in state and not i.name.startswith("pdloss."))
    return {data: images.numpy(), "pdloss.labels": labels.numpy(), "pdloss.learning_rate": np.array(RATE, np.float32)}


def update(run, batch, trained, first):
    """The loss of one step, and what it takes from every tensor by unit of the rate."""
    loss, *after = run(["pdloss.loss", *trained.values()], batch)
    return float(loss), {tensor: (first[tensor].astype(np.float64) - new) / RATE for tensor, new in zip(trained, after)}


def distances(got, matched, wanted, single):
    """For every tensor how far its update is from autograd, and how far float32 is from float64, both by the tensor's own
    scale."""
    largest = max(np.abs(grad).max() for grad in wanted.values())
    rows = []
    for tensor, (parameter, change) in matched.items():
        if parameter not in wanted:
            continue
        exact = change(wanted[parameter])
        own = np.abs(exact).max()
        # A gradient that is 0 in exact arithmetic, as of a bias before a normalization, has no scale of its own.
        if own <= 1e-9 * largest:
            continue
        distance = np.abs(got[tensor] - exact).max() / own
        float32 = np.abs(change(single[parameter]) - exact).max() / own
        rows.append((distance, float32, tensor, parameter))
    return rows


def train(session, batch, state):
    """A few steps at a rate that trains."""
    batch = {**batch, "pdloss.learning_rate": np.array(1e-3, np.float32)}
    for _ in range(STEPS):
        loss, *values = session.run(["pdloss.loss", *state.values()], batch)
        if not np.isfinite(loss):
            raise RuntimeError(f"loss {loss} within {STEPS} steps")
        batch.update(zip(state, values))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("nets", nargs="*")
    arguments = parser.parse_args()
    zoo = nets()
    chosen = os.environ["CASES"].split(",") if os.environ.get("CASES") else ALL
    known = getattr(zoo, "KNOWN", {})
    failed = 0
    for name in arguments.nets or list(zoo.ZOO):
        reference = Reference(zoo, name)
        for case in chosen:
            started = time.time()
            reason = next((why for (net, start), why in known.items() if net == name and case.startswith(start)), None)
            with tempfile.TemporaryDirectory() as folder:
                try:
                    rows, double, far, missing, unknown, left = compare(reference, case, pathlib.Path(folder))
                except Exception as error:  # an exporter can fail in any way; the case is told and counted
                    failed += not reason
                    text = str(error).strip().splitlines() or [""]
                    print(f"{name:<20} {case:<19} {f'known: {reason};' if reason else 'FAILED '} {type(error).__name__}: {text[0][:400]}", flush=True)
                    continue
            worst = max(rows, default=(0, 0, "", ""))
            # Exported for training every parameter is there by its name, and nothing else is trained.
            is_lost = "train" in case and bool(missing or unknown)
            is_bad = bool(far or is_lost or not rows)
            # What is known to fail must do so, or it is known no more.
            failed += is_bad != bool(reason)
            verdict = f"known: {reason};" if is_bad and reason else "far" if far else "lost" if is_lost else "NOT AS KNOWN" if reason else "ok"
            print(f"{name:<20} {case:<19} {verdict:<4} {len(rows):>4} tensors, worst {worst[0]:.1e} at {worst[2]} (float32: {worst[1]:.1e}); "
                  f"{len(missing)} parameters not there, {len(unknown)} tensors not matched, {len(left)} left; {time.time() - started:.0f} s", flush=True)
            if double:
                print(f"    in float64: worst {max(double)[0]:.1e} at {max(double)[2]}")
            for distance, float32, tensor, parameter in sorted(far, reverse=True)[:3]:
                print(f"    {tensor} ({parameter}): {distance:.1e}, float32 {float32:.1e}")
            if missing:
                print(f"    not there: {', '.join(missing[:4])}")
            if unknown:
                print(f"    not matched: {', '.join(unknown[:4])}")
    sys.exit(f"{failed} failed" if failed else 0)


if __name__ == "__main__":
    main()
