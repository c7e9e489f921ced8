"""What the paper says, what was seen, and whether that bears it out.

Each verdict is a rule on the 95 % interval of differences that are paired by seed, fixed before the runs were made:
an interval on one side of the bound decides, one that holds the bound decides nothing.
"""
import numpy as np

from interval import Interval, difference
from plan import NAMES

# "Competitive" is: less than this below the best other loss.
MARGIN = 0.02


def last(results):
    """Recall@1 at the end of each run."""
    return [result["recall"][0] for result in results]


def verdict(interval, bound=0.0):
    """Whether the difference is above `bound`."""
    if interval.low > bound:
        return "holds"
    return "does not hold" if interval.high < bound else "undecided"


def competitive(results):
    for name, losses in results["figure3"].items():
        others = {loss: last(found) for loss, found in losses.items() if loss != "pd"}
        best = max(others, key=lambda loss: np.mean(others[loss]))
        gap = difference(last(losses["pd"]), others[best])
        yield f"competitive Recall@K: less than {MARGIN} below the best other loss ({name})", \
            f"Recall@1 of PD-Loss minus that of {NAMES[best]}, the best other: {gap}", verdict(gap, -MARGIN)


def logarithm(results):
    for name, losses in results["figure2"].items():
        gap = difference(last(losses["pd"]), last(losses["pd-negative"]))
        yield f"the logarithm helps ({name})", f"Recall@1 with minus without: {gap}", verdict(gap)


def proxies(results):
    for name, losses in results["figure2"].items():
        gap = difference(last(losses["pd"]), last(losses["d-loss"]))
        yield f"proxies help: better than D-Loss ({name})", f"Recall@1 of PD-Loss minus that of D-Loss: {gap}", verdict(gap)


def batch_size(results):
    for name, found in results["figure4"].items():
        losses = {loss: np.array([last(runs) for (other, _), runs in found.items() if other == loss]) for loss in ("pd", "d-loss")}
        spread = {loss: table.max(axis=0) - table.min(axis=0) for loss, table in losses.items()}
        gap = difference(spread["d-loss"], spread["pd"])
        yield f"robust to batch size where D-Loss is not ({name})", \
            f"best minus worst Recall@1 over batch sizes: PD-Loss {Interval.of(spread['pd'])}, D-Loss {Interval.of(spread['d-loss'])}; " \
            f"D-Loss's minus PD-Loss's {gap}", verdict(gap)


def cheaper(results):
    """Each loss by its faster spelling. Medians of one process each, without an interval over seeds: a factor of 1.1 decides."""
    for axis in dict.fromkeys(row["axis"] for row in results["cost"]):
        most = max(row[axis] for row in results["cost"] if row["axis"] == axis)
        rows = [row for row in results["cost"] if row["axis"] == axis and row[axis] == most]
        seconds = {loss: min(row["seconds"] for row in rows if row["name"].split()[0] == loss) for loss in ("pd", "d-loss", "multi-similarity")}
        factor = min(seconds["d-loss"], seconds["multi-similarity"]) / seconds["pd"]
        seen = ", ".join(f"{NAMES[loss]} {1000 * found:.2f} ms" for loss, found in seconds.items())
        yield f"cheaper than losses over pairs ({rows[0]['batch']:,} images a batch, {rows[0]['classes']:,} classes)", f"one step: {seen}", \
            "holds" if factor > 1.1 else "does not hold" if factor < 1 / 1.1 else "undecided"


def claims(results):
    """Rows of claim, what was seen, verdict."""
    rows = [row for part in (competitive, logarithm, proxies, batch_size, cheaper) for row in part(results)]
    return [*rows, ("Recall@K on CUB-200-2011 and Cars196 with ResNet-50", "needs GPUs; commands below", "not testable here")]
