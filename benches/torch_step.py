"""Training beside pytorch-metric-learning in PyTorch eager, on the CPU: losses, time, memory, Recall@1.

    benches/torch_step.sh [DATA] [LOSS ...]           STEPS=200 SEEDS=5 BATCH=64 THREADS=2

A small CNN at 48 px, in PyTorch and as its export; the same first weights, batches, optimiser (Adam) and threads. PD-Loss is
written in PyTorch here. First the losses of the same embeddings are compared, then steps are timed in turn, each side in a process
of its own, whose peak memory is read; at last each side trains on the first half of the classes and is measured on the second.
Ratios are ours over theirs: below 1 ours is faster, or smaller.
"""

import csv
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import warnings

import in_turn
import numpy as np

warnings.filterwarnings("ignore", category=DeprecationWarning)
SIZE, DIM, RATE = 48, 64, 1e-3
THREADS, STEPS, SEEDS, BATCH = (int(os.environ.get(name, usual)) for name, usual in (("THREADS", 2), ("STEPS", 200), ("SEEDS", 5), ("BATCH", 64)))
LOSSES = ["proxy-anchor", "softmax", "multi-similarity", "pd"]
ROUNDS = 30
# Of Student's t with as many degrees of freedom as there are seeds but one, for 95 %.
T95 = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}


def make_net(seed):
    import torch
    from torch import nn

    torch.manual_seed(seed)
    layers, before = [], 3
    for after in (32, 64, 128, 128):
        layers += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        # Torch's exporter makes one tensor of several that are equal; first numbers of their own keep the norms apart.
        norm = layers[-2]
        for scale, shift in ((norm.weight, norm.bias), (norm.running_var, norm.running_mean)):
            nn.init.uniform_(scale, 0.9, 1.1)
            nn.init.uniform_(shift, -0.1, 0.1)
        before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, DIM))


def make_loss(name, classes, proxies):
    """A function of embeddings and labels, and its proxies."""
    import torch
    from pytorch_metric_learning import losses, miners
    from torch.nn.functional import normalize

    if name == "multi-similarity":
        miner, loss = miners.MultiSimilarityMiner(epsilon=0.1), losses.MultiSimilarityLoss(alpha=2, beta=50, base=1.0)
        return lambda x, y: loss(x, y, miner(x, y)), []
    if name == "pd":
        rows = torch.nn.Parameter(proxies.clone())

        def pd(x, y):
            s = normalize(x) @ normalize(rows).T
            own = torch.nn.functional.one_hot(y, classes).bool()
            genuine, impostor = s[own], s[~own]
            spread = ((genuine.var(correction=0) + impostor.var(correction=0) + 1e-12) / 2).sqrt()
            d = (genuine.mean() - impostor.mean()) / spread
            # Its tangent below 1.
            return torch.where(d > 1, -d.clamp(min=1).log(), 1 - d) + math.log(2) / 2

        return pd, [rows]
    if name == "softmax":
        loss = losses.NormalizedSoftmaxLoss(classes, DIM, temperature=0.05)
        rows, first = loss.W, proxies.T
    else:
        loss = losses.ProxyAnchorLoss(classes, DIM, margin=0.1, alpha=32)
        rows, first = loss.proxies, proxies
    rows.data = first.clone().contiguous()
    return loss, [rows]


class Theirs:
    def __init__(self, folder, name, seed):
        import torch

        self.torch = torch
        torch.set_num_threads(THREADS)
        proxies = torch.from_numpy(np.load(folder / f"{name}.proxies.npy"))
        self.net = make_net(seed).train()
        self.loss, rows = make_loss(name, len(proxies), proxies)
        self.adam = torch.optim.Adam([*self.net.parameters(), *rows], lr=RATE)

    def step(self, images, labels):
        self.adam.zero_grad()
        loss = self.loss(self.net(self.torch.from_numpy(images)), self.torch.from_numpy(labels))
        loss.backward()
        self.adam.step()
        return float(loss.detach())

    def embed(self, images):
        self.net.eval()
        with self.torch.no_grad():
            return np.concatenate([self.net(self.torch.from_numpy(part)).numpy() for part in in_parts(images)])


class Ours:
    """As `pdloss train` does: the state is fed, bound to what the session made, and no memory pattern is kept."""

    def __init__(self, folder, name, seed):
        import onnxruntime

        self.runtime, self.folder = onnxruntime, folder
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.enable_mem_pattern, options.log_severity_level = THREADS, False, 3
        self.session = onnxruntime.InferenceSession(str(folder / f"{name}.step.onnx"), options, providers=["CPUExecutionProvider"])
        self.description = json.loads(self.session.get_modelmeta().custom_metadata_map["pdloss.step"])
        self.value = onnxruntime.OrtValue.ortvalue_from_numpy
        with np.load(folder / f"{name}.state.npz") as first:
            self.state = {key: self.value(first[key]) for key in first}
        self.rate = self.value(np.array(RATE, np.float32))

    def step(self, images, labels):
        binding = self.session.io_binding()
        fed = {self.description["data"]: self.value(images), "pdloss.labels": self.value(labels), "pdloss.learning_rate": self.rate, **self.state}
        for key, value in fed.items():
            binding.bind_ortvalue_input(key, value)
        for key in ["pdloss.loss", *(tensor["next"] for tensor in self.description["state"])]:
            binding.bind_output(key, "cpu")
        self.session.run_with_iobinding(binding)
        loss, *following = binding.get_outputs()
        self.state = dict(zip((tensor["name"] for tensor in self.description["state"]), following))
        return float(loss.numpy())

    def embed(self, images):
        import onnx
        from onnx import numpy_helper

        model = onnx.load(self.folder / "net.onnx")
        for tensor in model.graph.initializer:
            if tensor.name in self.state:
                tensor.CopyFrom(numpy_helper.from_array(self.state[tensor.name].numpy(), tensor.name))
        session = self.runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return np.concatenate([session.run(None, {"image": part})[0] for part in in_parts(images)])


SIDES = {"ours": Ours, "theirs": Theirs}


def in_parts(images):
    return np.array_split(images, max(1, len(images) // 128))


def serve(side, folder, name, seed):
    """A step of the batch in the folder for each line; answers with its seconds, its loss, and the process's peak memory in MiB."""
    with np.load(folder / "batch.npz") as batch:
        images, labels = batch["images"], batch["labels"]
    worker = SIDES[side](folder, name, seed)
    in_turn.serve(lambda: worker.step(images, labels))


def train(side, folder, name, seed):
    """Trains on the first half of the classes; prints Recall@1 of the second."""
    with np.load(folder / "data.npz") as data:
        images, labels = data["images"], data["labels"]
    train_on, test_on = halves(labels)
    worker = SIDES[side](folder, name, seed)
    random = np.random.default_rng(seed)
    for _ in range(STEPS):
        places, numbers = draw(random, labels, train_on)
        worker.step(images[places], numbers)
    tested = np.isin(labels, test_on)
    found, labels = worker.embed(images[tested]), labels[tested]
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    cosines = found @ found.T
    np.fill_diagonal(cosines, -2)
    print(json.dumps(float((labels[cosines.argmax(1)] == labels).mean())))


def halves(labels):
    classes = np.unique(labels)
    return np.array_split(classes, 2)


def draw(random, labels, classes):
    """Four images of each of some classes, and the classes' numbers."""
    chosen = random.choice(len(classes), min(len(classes), BATCH // 4), replace=False)
    places = [random.choice(np.flatnonzero(labels == classes[number]), 4, replace=False) for number in chosen]
    return np.concatenate(places), np.repeat(chosen, 4).astype(np.int64)


def read(data, folder):
    """All images of a data set as this project reads and prepares them: as the embeddings of a model that flattens them."""
    import onnx
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(*value) for value in (("image", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE]), ("pixels", TensorProto.FLOAT, ["batch", 3 * SIZE * SIZE]))]
    graph = helper.make_graph([helper.make_node("Flatten", ["image"], ["pixels"])], "flat", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "flat.onnx")
    prepared = ["--resize", f"exact:{SIZE}x{SIZE}", "--channels", "rgb", "--interpolation", "bilinear", "--scale", "1/255", "--mean", "0.5", "--std", "0.25"]
    arguments = ["recall", "-q", "--model", folder / "flat.onnx", "--data", data, "--split", "all", *prepared, "--k", "1", "--save-embeddings", folder / "flat.npy"]
    subprocess.run([os.environ["PDLOSS"], *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
    with open(folder / "flat.csv", newline="") as rows:
        names = [row["label"] for row in csv.DictReader(rows)]
    labels = np.unique(names, return_inverse=True)[1]
    images = np.load(folder / "flat.npy").reshape(-1, 3, SIZE, SIZE)
    several = np.isin(labels, np.flatnonzero(np.bincount(labels) >= 4))
    np.savez(folder / "data.npz", images=images[several], labels=labels[several])
    return images[several], labels[several]


def prepare(folder, seed, losses, classes):
    """The net's export, and for each loss its step graph, the first state and proxies."""
    import onnx
    import torch
    from onnx import numpy_helper

    net = make_net(seed).eval()
    torch.onnx.export(net, (torch.randn(2, 3, SIZE, SIZE),), str(folder / "net.onnx"), dynamo=False, opset_version=17, input_names=["image"],
                      training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False, dynamic_axes={"image": {0: "batch"}})
    for name in losses:
        step = folder / f"{name}.step.onnx"
        subprocess.run([os.environ["PDLOSS"], "export", folder / "net.onnx", step, "--train", "--as", "inline", "--classes", str(classes), "--loss",
                        name, "--weight-decay", "0", "--seed", str(seed)], check=True, stderr=subprocess.DEVNULL)
        model = onnx.load(step)
        description = json.loads({entry.key: entry.value for entry in model.metadata_props}["pdloss.step"])
        first = {tensor.name: tensor for tensor in model.graph.initializer}
        state = {tensor["name"]: numpy_helper.to_array(first.pop(tensor["name"])) for tensor in description["state"]}
        rest = list(first.values())
        del model.graph.initializer[:]
        model.graph.initializer.extend(rest)
        onnx.save(model, step)
        np.savez(folder / f"{name}.state.npz", **state)
        # Losses without proxies have as many classes as there are, and no rows.
        np.save(folder / f"{name}.proxies.npy", state.get("pdloss.proxies", np.zeros((classes, DIM), np.float32)))


def check(folder, name, images, labels):
    """How far the two losses of the same embeddings are from each other, theirs in float64, relative to it."""
    import torch

    ours = Ours(folder, name, 0)
    state = {key: value.numpy() for key, value in ours.state.items()}
    feeds = {ours.description["data"]: images, "pdloss.labels": labels, "pdloss.learning_rate": np.array(0, np.float32), **state}
    got, embeddings = ours.session.run(["pdloss.loss", "pdloss.embeddings"], feeds)
    proxies = torch.from_numpy(np.load(folder / f"{name}.proxies.npy")).double()
    loss, _ = make_loss(name, len(proxies), proxies)
    wanted = float(loss(torch.from_numpy(embeddings).double(), torch.from_numpy(labels)).detach())
    return abs(float(got) - wanted) / max(1.0, abs(wanted))


def spawn(*words):
    return subprocess.Popen([sys.executable, __file__, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def timed(folder, name):
    workers = {side: spawn("serve", side, folder, name, 0) for side in SIDES}
    return in_turn.timed(name, workers, ROUNDS, 1.0)


def recalls(root, losses, classes):
    found = {(name, side): [] for name in losses for side in SIDES}
    for seed in range(SEEDS):
        prepare(root, seed, losses, classes)
        for name in losses:
            for side in SIDES:
                worker = spawn("train", side, root, name, seed)
                answer, _ = worker.communicate()
                if worker.returncode:
                    sys.exit(f"{name}: {side} failed with seed {seed}")
                found[name, side].append(json.loads(answer))
    return found


def main():
    words = sys.argv[1:]
    if words[:1] in (["serve"], ["train"]):
        act = serve if words[0] == "serve" else train
        return act(words[1], pathlib.Path(words[2]), words[3], int(words[4]))
    data = words[0] if words else "fixtures/shapes"
    losses = words[1:] or LOSSES
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        images, labels = read(data, folder)
        train_on, test_on = halves(labels)
        places, numbers = draw(np.random.default_rng(0), labels, train_on)
        np.savez(folder / "batch.npz", images=images[places], labels=numbers)
        print(f"{data}: {len(labels)} images, {len(train_on)} classes to train on and {len(test_on)} others; batches of {len(places)}, {THREADS} threads, {SEEDS} seeds, {STEPS} steps")
        prepare(folder, 0, losses, len(train_on))
        rows = {}
        for name in losses:
            distance = check(folder, name, images[places], numbers)
            if not distance <= 1e-6:
                sys.exit(f"{name}: the losses of the same embeddings are {distance:.1e} apart, wanted 1e-6")
            rows[name] = distance, *timed(folder, name)
        found = recalls(folder, losses, len(train_on))
    print(f"{'loss':<17} {'apart':>8} {'ours ms':>8} {'theirs':>7} {'ratio':>6} {'ours MiB':>9} {'theirs':>7} {'ratio':>6} {'ours R@1':>9} {'theirs':>7}  difference")
    outside = []
    for name, (distance, seconds, peak) in rows.items():
        ours, theirs = np.array(found[name, "ours"]), np.array(found[name, "theirs"])
        gap = ours - theirs
        interval = T95.get(SEEDS, 2.3) * gap.std(ddof=1) / math.sqrt(SEEDS) if SEEDS > 1 else math.inf
        if abs(gap.mean()) > interval and gap.any():
            outside.append(name)
        print(f"{name:<17} {distance:>8.1e} {1000 * seconds['ours']:>8.1f} {1000 * seconds['theirs']:>7.1f} {seconds['ours'] / seconds['theirs']:>6.2f} "
              f"{peak['ours']:>9.0f} {peak['theirs']:>7.0f} {peak['ours'] / peak['theirs']:>6.2f} {ours.mean():>9.4f} {theirs.mean():>7.4f}  {gap.mean():+.4f} +- {interval:.4f}")
    if outside:
        print(f"Recall@1 differs by more than the 95 % interval of {SEEDS} seeds: {', '.join(outside)}")


if __name__ == "__main__":
    main()
