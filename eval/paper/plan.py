"""What the experiments are: data sets, backbones, losses, and the runs behind each figure. Data only."""
from dataclasses import dataclass

# What may be chosen for each loss: six trials each. Those with a temperature or a steepness get two values of it at three
# learning rates, D-Loss its three forms at two (which one its paper uses could not be read), those without (in PD-Loss the
# temperature cancels) six learning rates; ArcFace two of its scale (the temperature's reciprocal), the triplet loss its two ways of
# choosing triplets. The three were 0.0003, 0.001 and 0.003 at first; all but one
# of the choices fell on the last of them, so they were moved up.
RATES = (0.003, 0.01, 0.03)
MORE_RATES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03)
TRIALS = {
    "pd": [{"learning-rate": rate} for rate in MORE_RATES],
    "pd-negative": [{"learning-rate": rate} for rate in MORE_RATES],
    "d-loss": [{"learning-rate": rate, "form": form} for rate in (0.003, 0.01) for form in ("log", "negative", "inverse")],
    "softmax": [{"learning-rate": rate, "temperature": t} for rate in RATES for t in (0.05, 0.1)],
    "proxy-nca": [{"learning-rate": rate, "temperature": t} for rate in RATES for t in ("0.111111", 0.05)],
    "proxy-anchor": [{"learning-rate": rate, "alpha": alpha} for rate in RATES for alpha in (16, 32)],
    "multi-similarity": [{"learning-rate": rate, "beta": beta} for rate in RATES for beta in (25, 50)],
    "arcface": [{"learning-rate": rate, "logit-scale": scale} for rate in RATES for scale in (16, 64)],
    "triplet": [{"learning-rate": rate, "triplets": chosen} for rate in RATES for chosen in ("batch-hard", "semi-hard")],
    "supcon": [{"learning-rate": rate, "temperature": t} for rate in RATES for t in (0.05, 0.1)],
}
NAMES = {
    "pd": "PD-Loss",
    "pd-negative": "PD-Loss without log",
    "d-loss": "D-Loss",
    "softmax": "normalised softmax",
    "proxy-nca": "ProxyNCA++",
    "proxy-anchor": "Proxy-Anchor",
    "multi-similarity": "Multi-Similarity",
    "arcface": "ArcFace",
    "triplet": "triplet",
    "supcon": "SupCon",
}
FIGURE2 = ("d-loss", "pd-negative", "pd")
FIGURE3 = ("pd", "softmax", "proxy-nca", "proxy-anchor", "arcface", "multi-similarity", "triplet", "supcon", "d-loss")
FIGURE4 = ("pd", "d-loss")
# Losses over the pairs of a batch need pairs: batches of this many images a class. The others get the same batches.
PER_CLASS = 4
# No seed of the figures chooses anything.
TRIAL_SEED = 1000
# The variant of `ours` that the others are compared with: the defaults.
DEFAULTS = "random proxies, floor 1"


@dataclass(frozen=True)
class Data:
    """A data set, its three disjoint parts of classes, and the net that is trained on it."""

    name: str
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
    net: tuple
    """Flags of `fixtures/backbones.py`."""
    batch: int
    steps: int
    flags: tuple
    """Preprocessing and augmentation."""
    sizes: tuple = ()
    """Figure 4's batch sizes: up to as many images as there are to train on."""


TURNED = ("--translate", "0.1", "--rotate")
OMNIGLOT = ("--channels", "gray", "--mean", "0.9", "--std", "0.25", *TURNED, "10", "--zoom", "0.1", "--shear", "5")
GROCERY = ("--channels", "rgb", "--mean", "0.5", "--std", "0.5", *TURNED, "10", "--zoom", "0.1", "--flip")
SHAPES = ("--channels", "rgb", "--mean", "0.5", "--std", "0.5", *TURNED, "180", "--zoom", "0.2", "--flip")


def data_sets(quick):
    """Omniglot and grocery as `small.py` makes them; the drawn fixtures as they are."""
    deep, pooled = (16, 32, 64), ("--pool", "--flatten")
    shapes = Data("shapes", "1-7", "8-10", "1-10", "11-20", 32, 3, deep, 32, ("--contrast",), 28, 60 if quick else 200, SHAPES,
                  (8, 32, 128) if quick else (8, 16, 32, 64, 128))
    omniglot = Data("omniglot", "1-80", "81-100", "1-100", "101-136", 20, 1, deep, 64, pooled, 64, 500, OMNIGLOT,
                    (8, 16, 32, 64, 128, 256))
    grocery = Data("grocery", "1-40", "41-54", "1-54", "55-81", 20, 3, deep, 64, pooled, 64, 400, GROCERY)
    return [shapes] if quick else [shapes, omniglot, grocery]


@dataclass(frozen=True)
class Run:
    """One training. Equal runs are made once."""

    data: Data
    loss: str
    seed: int
    settings: tuple = ()
    """Flags and values of the loss and the optimiser."""
    batch: int | None = None
    """The data set's where `None`."""
    per_class: int = PER_CLASS
    steps: int | None = None
    choosing: bool = False
    """Whether it is a trial: on other classes."""

    def measured(self):
        """The classes it is measured on."""
        return self.data.choose if self.choosing else self.data.test

    def validation(self):
        """Flags of `pdloss train` that have it measured, ten times on the way."""
        every = max(1, (self.steps or self.data.steps) // 10)
        return ["--validation-classes", self.measured(), "--validation-split", "all", "--validate-every", str(every)]

    def flags(self):
        """The command line of `pdloss train`, but for files, threads and validation."""
        steps = self.steps or self.data.steps
        flags = ["--classes", self.data.tune if self.choosing else self.data.train, "--split", "all",
                 "--steps", steps, "--checkpoint-every", steps, "--batch", self.batch or self.data.batch, "--per-class", self.per_class, "--seed", self.seed, "--loss", self.loss,
                 "--warmup", max(1, steps // 20)]
        for name, value in self.settings:
            flags += [f"--{name}", value]
        resize = f"exact:{self.data.side}x{self.data.side}"
        return [str(flag) for flag in [*flags, "--resize", resize, *self.data.flags]]


def settings(values):
    """Flags in one order, so that equal runs are equal."""
    return tuple(sorted((name, str(value)) for name, value in values.items()))


def trials(data, loss, quick):
    """The runs that a loss's hyperparameters are chosen by."""
    return [Run(data, loss, TRIAL_SEED, settings(trial), choosing=True) for trial in TRIALS[loss][:: 3 if quick else 1]]


def figures23(data, chosen, seeds):
    """Each loss with its own best settings."""
    return {loss: [Run(data, loss, seed, chosen[loss]) for seed in seeds] for loss in TRIALS}


def images_a_class(data, size):
    """Two, or as many more as it takes to fill a batch from the classes that there are."""
    first, last = map(int, data.train.split("-"))
    found = 2
    while size // found > last - first + 1:
        found *= 2
    return found


def figure4(data, chosen, seeds):
    """Batches from 8 to 256, as many images in all."""

    def run(loss, size, seed):
        return Run(data, loss, seed, chosen[loss], size, images_a_class(data, size), data.steps * data.batch // size)

    return {(loss, size): [run(loss, size, seed) for seed in seeds] for loss in FIGURE4 for size in data.sizes}


def ours(data, chosen, seeds):
    """Proxies' first values, temperature, floor, without the logarithm: all with PD-Loss's learning rate; and D-Loss's forms."""
    variants = {
        DEFAULTS: {},
        "class-mean proxies": {"first-proxies": "class-means"},
        "temperature 0.1": {"temperature": 0.1},
        "temperature 10": {"temperature": 10},
        "floor 0.25": {"floor": 0.25},
        "floor 0.5": {"floor": 0.5},
        "floor 2": {"floor": 2},
        "clamp at 1e-6 (the paper's letter)": {"floor-mode": "clamp"},
    }
    found = {name: [Run(data, "pd", seed, settings({**dict(chosen["pd"]), **extra})) for seed in seeds] for name, extra in variants.items()}
    found["-d' (no logarithm, no floor)"] = [Run(data, "pd-negative", seed, chosen["pd"]) for seed in seeds]
    found["1/d' (form inverse)"] = [Run(data, "pd-inverse", seed, chosen["pd"]) for seed in seeds]
    for form in ("log", "negative", "inverse"):
        found[f"D-Loss, form {form}"] = [Run(data, "d-loss", seed, settings({**dict(chosen["d-loss"]), "form": form})) for seed in seeds]
    return found
