"""The page: figures, tables, and claim by claim what holds."""
import platform
from pathlib import Path

import pictures
from interval import Interval, difference
from plan import NAMES, PER_CLASS, TRIALS


def last(results):
    return [result["recall"][-1] for result in results]


def table(head, rows):
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join('---' for _ in head)}|"]
    return "\n".join(lines + [f"| {' | '.join(map(str, row))} |" for row in rows])


def verdict(holds):
    return "holds" if holds else "does not hold"


def claims(results):
    """What the paper says, what was seen, and whether that bears it out. Differences are paired by seed, 95 % intervals."""
    rows = []
    for name, losses in results["figure3"].items():
        others = {loss: last(found) for loss, found in losses.items() if loss != "pd"}
        best = max(others, key=lambda loss: Interval.of(others[loss]).mean)
        gap = difference(last(losses["pd"]), others[best])
        rows.append((f"competitive Recall@K ({name})", f"PD-Loss minus the best other ({NAMES[best]}): {gap}", verdict(gap.high >= 0)))
    for name, losses in results["figure2"].items():
        gap = difference(last(losses["pd"]), last(losses["pd-negative"]))
        rows.append((f"the logarithm helps ({name})", f"with minus without: {gap}", verdict(gap.low > 0)))
    for name, losses in results["figure2"].items():
        gap = difference(last(losses["pd"]), last(losses["d-loss"]))
        rows.append((f"proxies help ({name})", f"PD-Loss minus D-Loss: {gap}", verdict(gap.low > 0)))
    for name, found in results["figure4"].items():
        spread = {}
        for loss in ("pd", "d-loss"):
            means = [Interval.of(last(runs)).mean for (other, _), runs in found.items() if other == loss]
            spread[loss] = max(means) - min(means)
        rows.append((f"robust to batch size where D-Loss is not ({name})",
                     f"largest minus smallest mean over batch sizes: PD-Loss {spread['pd']:.3f}, D-Loss {spread['d-loss']:.3f}",
                     verdict(spread["pd"] < spread["d-loss"])))
    most = max(row["classes"] for row in results["cost"])
    time_of = {row["name"]: row["seconds"] for row in results["cost"] if row["classes"] == most}
    rows.append(("cheaper than pair losses", f"one step with {most:,} classes: PD-Loss {1000 * time_of['pd']:.2f} ms, Multi-Similarity "
                 f"{1000 * time_of['multi-similarity']:.2f} ms, D-Loss {1000 * time_of['d-loss']:.2f} ms (neither has proxies), normalised softmax "
                 f"{1000 * time_of['softmax']:.2f} ms", verdict(time_of["pd"] < time_of["multi-similarity"])))
    rows.append(("Recall@K on CUB-200-2011 and Cars196 with ResNet-50", "needs GPUs; commands below", "not testable here"))
    return rows


def settings_of(chosen):
    return ", ".join(f"{name} {value}" for name, value in chosen)


HARDWARE = """```text
pdloss train --model resnet50.onnx --data CUB_200_2011 --split protocol-train --validation-split protocol --device cuda \\
  --preset imagenet --random-crop 0.16 --flip --batch 128 --per-class 4 --epochs 60 --learning-rate 1e-4 --proxies-rate 100 --out cub
pdloss-eval recall --model cub/embedder.onnx --data CUB_200_2011 --device cuda --k 1,2,4,8
pdloss train --model resnet50.onnx --data cars196 --split protocol-train --validation-split protocol --device cuda \\
  --preset imagenet --random-crop 0.16 --flip --batch 128 --per-class 4 --epochs 60 --learning-rate 1e-4 --proxies-rate 100 --out cars
pdloss-eval recall --model cars/embedder.onnx --data cars196 --device cuda --k 1,2,4,8
```"""


def write(path, results):
    path = Path(path).resolve()
    folder = path.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)

    def picture(name, words):
        return f"![{words}]({folder.name}/{name}.svg)"

    pictures.curves(folder / "figure2.svg", results["figure2"])
    pictures.bars(folder / "figure3.svg",
                  {name: {loss: Interval.of(last(found)) for loss, found in losses.items()} for name, losses in results["figure3"].items()})
    pictures.batches(folder / "figure4.svg",
                     {name: {key: Interval.of(last(found)) for key, found in table_.items()} for name, table_ in results["figure4"].items()})
    pictures.costs(folder / "cost.svg", results["cost"])

    command = "make paper-quick" if results["quick"] else "make paper DATA=..."
    parts = [
        "# The paper's experiments, made again",
        f"Made by `{command}` at commit {results['commit']}, {results['seeds']} seeds, on {platform.machine()} with two cores. Means and 95 % "
        "intervals (Student's t over seeds). Classes that are measured are never trained on, nor used to choose anything. "
        + ("**Quick: short runs on the drawn fixtures; it shows that the machinery works and no more.**" if results["quick"] else ""),
        "Small nets (3 x 3 convolutions with batch normalization, Relu and max pooling, then a linear layer), trained from scratch by AdamW with a "
        f"cosine schedule and small random turns and shifts, {PER_CLASS} images a class in each batch.",
        table(("data", "classes trained on", "classes measured", "image", "net", "batch", "steps"),
              [(data.name, data.train, data.test, f"{data.side} x {data.side} x {data.channels}", " ".join(map(str, data.widths)), data.batch, data.steps)
               for data in results["sets"]]),
        "## Claim by claim",
        table(("claim", "seen", "so it"), claims(results)),
        "Exact commands for whoever has GPUs, and a ResNet-50 as ONNX (torchvision's, exported with its pooled feature as output):",
        HARDWARE,
        "## Figure 2: with and without proxies and logarithm",
        picture("figure2", "Recall@1 on unseen classes over the steps"),
        "## Figure 3: against other losses",
        f"Each loss's learning rate and temperature (or steepness) were chosen among {len(TRIALS['pd']) if not results['quick'] else 2} trials, one seed each, on "
        "classes kept for it.",
        picture("figure3", "Recall@1 on unseen classes by loss"),
        table(("data", "loss", "chosen"), [(name, NAMES[loss], settings_of(value)) for name, chosen in results["chosen"].items() for loss, value in chosen.items()]),
        "## Figure 4: batch sizes",
        "As many images in all for each size, two of a class (more where there are too few classes), the learning rate chosen above.",
        picture("figure4", "Recall@1 on unseen classes by batch size"),
        table(("data", "loss", "batch", "Recall@1"),
              [(name, NAMES[loss], size, Interval.of(last(found))) for name, found_ in results["figure4"].items() for (loss, size), found in found_.items()]),
        "## Figure 5: Recall@K and time",
    ]
    rows = []
    for name, losses in results["recall"].items():
        for loss, found in losses.items():
            speed = Interval.of([result["images_per_second"] for result in results["figure3"][name][loss]])
            rows.append((name, NAMES[loss], *(Interval.of(column) for column in zip(*found)), f"{speed.mean:.0f}"))
    parts += [
        table(("data", "loss", "Recall@1", "Recall@2", "Recall@4", "Recall@8", "images/s in training"), rows),
        "One step of a linear layer and its loss, 64 images, 64 numbers an embedding:",
        picture("cost", "Milliseconds and memory of one step by number of classes"),
        table(("loss", "classes", "ms", "peak MiB"),
              [(row["name"], f"{row['classes']:,}", f"{1000 * row['seconds']:.2f}", f"{row['peak_mib']:.0f}") for row in results["cost"]]),
        "## Ours: first proxies, temperature, floor",
    ]
    for name, variants in results["ours"].items():
        base = last(variants["random proxies, floor 1"])
        parts.append(table((name, "Recall@1", "minus the first row"),
                           [(variant, Interval.of(last(found)), difference(last(found), base)) for variant, found in variants.items()]))
        same = [result["recall"] for result in variants["temperature 0.1"]] == [result["recall"] for result in variants["temperature 10"]]
        parts.append("The temperature cancels: Recall@1 of the runs with 0.1 and 10 is "
                     + ("the same at every validation." if same else "not bit for bit the same, as roundings differ; the difference is above."))
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print(path)
