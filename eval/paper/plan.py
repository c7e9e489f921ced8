"""What the experiments are: data sets, backbones, losses, and the runs behind each figure. Data only."""
from dataclasses import dataclass, field

# The losses of Figure 3. Each gets the same number of trials: those with a temperature or a steepness 3 learning rates x 2
# values, those without (PD-Loss and D-Loss, where the temperature cancels) 6 learning rates.
RATES = (0.0003, 0.001, 0.003)
MORE_RATES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03)
TRIALS = {
    "pd": [{"learning-rate": rate} for rate in MORE_RATES],
    "d-loss": [{"learning-rate": rate} for rate in MORE_RATES],
    "softmax": [{"learning-rate": rate, "temperature": t} for rate in RATES for t in (0.05, 0.1)],
    "proxy-nca": [{"learning-rate": rate, "temperature": t} for rate in RATES for t in (1 / 9, 0.05)],
    "proxy-anchor": [{"learning-rate": rate, "alpha": alpha} for rate in RATES for alpha in (16, 32)],
    "multi-similarity": [{"learning-rate": rate, "beta": beta} for rate in RATES for beta in (25, 50)],
}
# Losses over the pairs of a batch need pairs: batches of this many images a class. The others get the same batches.
PER_CLASS = 4
NAMES = {
    "pd": "PD-Loss",
    "pd-negative": "PD-Loss without log",
    "d-loss": "D-Loss",
    "softmax": "normalised softmax",
    "proxy-nca": "ProxyNCA++",
    "proxy-anchor": "Proxy-Anchor",
    "multi-similarity": "Multi-Similarity",
}


@dataclass(frozen=True)
class Data:
    """A data set, its three disjoint parts of classes, and the net that is trained on it."""

    name: str
    path: str
    tune: str
    """Classes trained on while hyperparameters are chosen."""
    choose: str
    """Classes they are chosen on."""
    train: str
    test: str
    side: int
    channels: int
    widths: tuple
    dim: int
    batch: int
    steps: int
    flags: tuple
    """Preprocessing and augmentation."""


TURNED = ("--rotate", "10", "--translate", "0.1", "--zoom", "0.1")
GRAY = ("--color", "gray", "--mean", "0.9", "--std", "0.25", "--resize", "exact:28x28", *TURNED, "--shear", "5")
RGB = ("--color", "rgb", "--mean", "0.5", "--std", "0.5", "--resize", "exact:32x32", "--flip", *TURNED)
SHAPES = ("--color", "rgb", "--mean", "0.5", "--std", "0.5", "--resize", "exact:32x32", *TURNED)


def data_sets(folder, quick):
    """Those that are there. `folder` may hold `omniglot/images_background_small1.zip` and `grocery/dataset/test.txt`."""
    shapes = Data("shapes", "fixtures/shapes", "1-7", "8-10", "1-10", "11-20", 32, 3, (16, 32), 32, 28, 60 if quick else 300, SHAPES)
    found = [shapes]
    omniglot = folder and folder / "omniglot" / "images_background_small1.zip"
    if not quick and omniglot and omniglot.is_file():
        found.append(
            Data("omniglot", str(omniglot), "1-80", "81-100", "1-100", "101-136", 28, 1, (32, 64, 64), 64, 64, 800, GRAY))
    grocery = folder and folder / "grocery" / "dataset" / "test.txt"
    if not quick and grocery and grocery.is_file():
        found.append(Data("grocery", str(grocery), "1-40", "41-54", "1-54", "55-81", 32, 3, (32, 64, 64), 64, 64, 600, RGB))
    return found


@dataclass(frozen=True)
class Run:
    """One training. Equal runs are made once."""

    data: Data
    loss: str
    seed: int
    settings: tuple = ()
    batch: int | None = None
    """The data set's where `None`."""
    per_class: int = PER_CLASS
    part: str = "test"
    steps: int | None = None
    extra: tuple = field(default=())

    def flags(self):
        """The command line of `pdloss train`, but for --model and --out."""
        train, measured = (self.data.train, self.data.test) if self.part == "test" else (self.data.tune, self.data.choose)
        steps = self.steps or self.data.steps
        flags = ["--data", self.data.path, "--classes", train, "--validation-classes", measured, "--split", "all",
                 "--validation-split", "all", "--steps", steps, "--validate-every", max(1, steps // 10),
                 "--batch", self.batch or self.data.batch, "--per-class", self.per_class, "--seed", self.seed, "--loss", self.loss,
                 "--warmup", max(1, steps // 20)]
        for name, value in self.settings:
            flags += [f"--{name}", value]
        return [str(flag) for flag in [*flags, *self.extra, *self.data.flags]]


def settings(**values):
    return tuple(sorted((name.replace("_", "-"), f"{value:.6g}") for name, value in values.items()))


def trials(data, loss, quick):
    """The runs that a loss's hyperparameters are chosen by."""
    return [Run(data, loss, 1000, settings(**trial), part="choose") for trial in TRIALS[loss][:: 3 if quick else 1]]


def figure2(data, chosen, seeds):
    """D-Loss, PD-Loss without and with the logarithm: Recall@1 over time, all with PD-Loss's learning rate."""
    return {loss: [Run(data, loss, seed, chosen["pd"]) for seed in seeds] for loss in ("d-loss", "pd-negative", "pd")}


def figure3(data, chosen, seeds):
    """Each loss with its own best settings."""
    return {loss: [Run(data, loss, seed, chosen[loss]) for seed in seeds] for loss in TRIALS}


def images_a_class(data, size):
    """Two, or as many more as it takes to fill a batch from the classes that there are."""
    first, last = map(int, data.train.split("-"))
    found = 2
    while size // found > last - first + 1:
        found *= 2
    return found


def figure4(data, chosen, seeds, quick):
    """Batches from 8 to 256, as many images in all."""
    sizes = (8, 32, 128) if quick else (8, 16, 32, 64, 128, 256)

    def run(loss, size, seed):
        return Run(data, loss, seed, chosen[loss], size, images_a_class(data, size), steps=data.steps * data.batch // size)

    return {(loss, size): [run(loss, size, seed) for seed in seeds] for loss in ("pd", "d-loss") for size in sizes}


def ours(data, chosen, seeds):
    """Proxies' first values, temperature, floor."""
    rate = chosen["pd"]
    variants = {
        "random proxies, floor 1": (),
        "class-mean proxies": ("--first-proxies", "class-means"),
        "temperature 0.1": ("--temperature", "0.1"),
        "temperature 10": ("--temperature", "10"),
        "floor 0.25": ("--floor", "0.25"),
        "floor 0.5": ("--floor", "0.5"),
        "floor 2": ("--floor", "2"),
        "clamp at 1e-6 (the paper's letter)": ("--floor-mode", "clamp"),
    }
    found = {name: [Run(data, "pd", seed, rate, extra=extra) for seed in seeds] for name, extra in variants.items()}
    found["-d' (no logarithm, no floor)"] = [Run(data, "pd-negative", seed, rate) for seed in seeds]
    return found
