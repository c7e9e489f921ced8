"""The figures, as SVG."""
import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

from interval import Interval  # noqa: E402
from plan import NAMES  # noqa: E402

# Okabe and Ito's colours and two more, told apart by those who see fewer; markers say the same without colour.
STYLE = {
    "pd": ("#0072B2", "o"),
    "pd-negative": ("#56B4E9", "s"),
    "d-loss": ("#D55E00", "^"),
    "softmax": ("#009E73", "D"),
    "proxy-nca": ("#CC79A7", "v"),
    "proxy-anchor": ("#E69F00", "P"),
    "multi-similarity": ("#000000", "X"),
    "arcface": ("#882255", "*"),
    "triplet": ("#999999", "<"),
    "supcon": ("#117733", ">"),
}
plt.rcParams.update({"svg.hashsalt": "pdloss", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3, "axes.axisbelow": True})


def panels(count, rows=1, height=3.0):
    """A figure of `count` axes in `rows` rows."""
    columns = count // rows
    figure, axes = plt.subplots(rows, columns, figsize=(3.6 * columns + 0.4, height * rows), squeeze=False, layout="constrained")
    return figure, axes.flatten()


def legend(figure, axis, columns):
    """One for all axes, below them: nothing lies over the data."""
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=columns, fontsize=8)


def save(figure, path):
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def curves(path, by_data):
    """`by_data[name][loss]`: results of the same run by several seeds. Means, shaded 95 % intervals."""
    figure, axes = panels(len(by_data))
    for axis, (name, losses) in zip(axes, by_data.items()):
        for loss, results in losses.items():
            color, marker = STYLE[loss]
            epochs = results[0]["epochs"]
            points = [Interval.of(column) for column in np.array([result["curve"] for result in results]).T]
            axis.plot(epochs, [point.mean for point in points], color=color, marker=marker, markersize=3, label=NAMES[loss])
            axis.fill_between(epochs, [point.low for point in points], [point.high for point in points], color=color, alpha=0.15, lw=0)
        axis.set(title=name, xlabel="epochs", ylim=(0, 1))
    axes[0].set_ylabel("Recall@1, unseen classes")
    legend(figure, axes[0], 3)
    save(figure, path)


def bars(path, by_data):
    """`by_data[name][loss]`: an interval."""
    figure, axes = panels(len(by_data))
    for axis, (name, losses) in zip(axes, by_data.items()):
        for place, (loss, interval) in enumerate(losses.items()):
            color, marker = STYLE[loss]
            axis.errorbar(interval.mean, -place, xerr=interval.half, color=color, marker=marker, capsize=3)
        axis.set(title=name, xlabel="Recall@1, unseen classes", yticks=range(0, -len(losses), -1), ylim=(-len(losses) + 0.5, 0.5))
        axis.locator_params(axis="x", nbins=5)
        axis.set_yticklabels([NAMES[loss] for loss in losses] if axis is axes[0] else [])
    save(figure, path)


def batches(path, by_data):
    """`by_data[name][loss, size]`: an interval."""
    figure, axes = panels(len(by_data))
    for axis, (name, found) in zip(axes, by_data.items()):
        for loss in dict.fromkeys(loss for loss, _ in found):
            color, marker = STYLE[loss]
            sizes = [size for other, size in found if other == loss]
            points = [found[loss, size] for size in sizes]
            axis.errorbar(sizes, [point.mean for point in points], yerr=[point.half for point in points], color=color, marker=marker,
                          capsize=3, label=NAMES[loss])
        axis.set(title=name, xlabel="batch size", xscale="log")
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.minorticks_off()
    axes[0].set_ylabel("Recall@1, unseen classes")
    legend(figure, axes[0], 3)
    save(figure, path)


def costs(path, rows):
    """Time and memory of a step along each axis."""
    axes_of = list(dict.fromkeys(row["axis"] for row in rows))
    figure, axes = panels(2 * len(axes_of), len(axes_of))
    for place, part in enumerate(axes_of):
        for name in dict.fromkeys(row["name"] for row in rows):
            mine = [row for row in rows if row["axis"] == part and row["name"] == name]
            color, marker = STYLE[name.split()[0]]
            label = NAMES[name.split()[0]] + (", standard operators" if " in " in name else "")
            for axis, key, factor in ((axes[2 * place], "seconds", 1000), (axes[2 * place + 1], "peak_mib", 1)):
                axis.plot([row[part] for row in mine], [row[key] * factor for row in mine], color=color, marker=marker, markersize=4,
                          linestyle="--" if " in " in name else "-", label=label)
        words = {"classes": "classes (64 images a batch)", "batch": "images a batch (100 classes)"}[part]
        axes[2 * place].set(xscale="log", yscale="log", xlabel=words, ylabel="one step, ms")
        axes[2 * place + 1].set(xscale="log", yscale="log", xlabel=words, ylabel="peak memory of the process, MiB")
    legend(figure, axes[0], 3)
    save(figure, path)
