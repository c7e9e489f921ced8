"""The page: figures, tables, and claim by claim what holds; beside it every run as a row of a CSV file."""
import csv
import platform
from pathlib import Path

import pictures
from claims import claims, last
from interval import Interval, difference
from plan import DEFAULTS, NAMES, PER_CLASS, TRIALS

HARDWARE = """```text
pdloss train --model resnet50.onnx --data CUB_200_2011 --split protocol-train --validation-split protocol --device cuda \\
  --preset imagenet --random-crop 0.16 --flip --batch 128 --per-class 4 --epochs 60 --learning-rate 1e-4 --proxies-rate 100 --out cub
pdloss-eval recall --model cub/embedder.onnx --data CUB_200_2011 --device cuda --k 1,2,4,8
pdloss train --model resnet50.onnx --data cars196 --split protocol-train --validation-split protocol --device cuda \\
  --preset imagenet --random-crop 0.16 --flip --batch 128 --per-class 4 --epochs 60 --learning-rate 1e-4 --proxies-rate 100 --out cars
pdloss-eval recall --model cars/embedder.onnx --data cars196 --device cuda --k 1,2,4,8
```"""


def table(head, rows):
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join('---' for _ in head)}|"]
    return "\n".join(lines + [f"| {' | '.join(map(str, row))} |" for row in rows])


def settings_of(chosen):
    return ", ".join(f"{name} {value}" for name, value in chosen)


def costs(axis, rows):
    """A row a spelling of a loss, a column a point of the axis."""
    rows = [row for row in rows if row["axis"] == axis]
    points = sorted({row[axis] for row in rows})
    fixed = f"{rows[0]['batch']:,} images a batch" if axis == "classes" else f"{rows[0]['classes']:,} classes"

    def cell(name, point):
        row = next(row for row in rows if (row["name"], row[axis]) == (name, point))
        return f"{1000 * row['seconds']:.2f} ms, {row['peak_mib']:.0f} MiB"

    spelt = {name: NAMES[name.split()[0]] + (", standard operators" if " in " in name else "") for name in dict.fromkeys(row["name"] for row in rows)}
    head = (fixed, *(f"{point:,} {'classes' if axis == 'classes' else 'images'}" for point in points))
    return table(head, [(words, *(cell(name, point) for point in points)) for name, words in spelt.items()])


def write_runs(path, wanted, runs):
    """Every run behind the figures, equal ones once."""
    made = dict.fromkeys(run for tables in wanted.values() for table_ in tables.values() for group in table_.values() for run in group)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["data", "loss", "settings", "batch", "per_class", "steps", "seed", "recall@1", "recall@2", "recall@4", "recall@8", "map@r"])
        for run in made:
            result = runs.of(run)
            writer.writerow([run.data.name, run.loss, " ".join(f"--{name} {value}" for name, value in run.settings),
                             run.batch or run.data.batch, run.per_class, run.steps or run.data.steps, run.seed, *result["recall"], result["map@r"]])


def write(path, results, wanted):
    path = Path(path).resolve()
    folder = path.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    quick, seeds = results["quick"], results["seeds"]

    def picture(name, words):
        return f"![{words}]({folder.name}/{name}.svg)"

    def ended(tables):
        return {name: {key: Interval.of(last(found)) for key, found in table_.items()} for name, table_ in tables.items()}

    pictures.curves(folder / "figure2.svg", results["figure2"])
    pictures.bars(folder / "figure3.svg", ended(results["figure3"]))
    pictures.batches(folder / "figure4.svg", ended(results["figure4"]))
    pictures.costs(folder / "cost.svg", results["cost"])
    write_runs(folder / "runs.csv", wanted, results["runs"])

    commits = sorted({result["commit"] for figure in ("figures23", "figure4", "ours") for table_ in results[figure].values()
                      for found in table_.values() for result in found})
    trials = len(TRIALS["pd"][:: 3 if quick else 1])
    parts = [
        "# The paper's experiments, made again",
        f"Made by `{'make paper-quick' if quick else 'make paper DATA=folder'}` at commit {' and '.join(commits)}, {seeds} seeds a point, on "
        f"{platform.machine()} with two cores. Recall@K is that of classes which were not trained on and chose nothing; means and 95 % intervals "
        f"(Student's t over seeds). Every run is a row of [{folder.name}/runs.csv]({folder.name}/runs.csv)."
        + (" **Quick: short runs on the drawn fixtures; it shows that the machinery works and no more.**" if quick else ""),
        "Small nets (3 x 3 convolutions with batch normalization and Relu, halving the image by max pooling or strides, then a linear layer; "
        "`fixtures/backbones.py` with the flags in the table), trained from scratch by AdamW with "
        f"a warm-up and a cosine schedule, small random turns and shifts, {PER_CLASS} images a class in each batch. Photographs are shrunk to the "
        "size that the net takes before training.",
        table(("data", "classes trained on", "classes measured", "image", "net", "embedding", "batch", "steps"),
              [(data.name, data.train, data.test, f"{data.side} x {data.side} x {data.channels}", f"`--widths {','.join(map(str, data.widths))} {' '.join(data.net)}`", data.dim, data.batch, data.steps)
               for data in results["sets"]]),
        "## Claim by claim",
        "Differences are paired by seed. A claim holds, or does not, where the whole 95 % interval of the difference lies on one side of its bound; "
        "else it is undecided. The rules (`eval/paper/claims.py`) were written before the runs were made.",
        table(("claim", "seen", "so it is"), claims(results)),
        "For whoever has GPUs, and a ResNet-50 as ONNX (torchvision's, exported with its pooled feature as output):",
        HARDWARE,
        "## Figure 2: with and without proxies and logarithm",
        "Each with the settings chosen for it. With and without the logarithm the gradients are parallel, both losses being functions of d' "
        "alone: they differ by a factor 1 / d', of which AdamW, dividing by the gradient's size, leaves little.",
        picture("figure2", "Recall@1 on unseen classes over the epochs"),
        "## Figure 3: against other losses",
        f"The learning rate of each loss, and its temperature, steepness or form, are the best of {trials} trials, one seed each, on classes kept "
        "for that: trained and measured on parts of the classes that the figures train on. The trials' rates (`eval/paper/plan.py`) reach 0.03 "
        "for every loss but D-Loss (0.01); those of the losses with a temperature or steepness were moved up once, as nearly all of their "
        "best lay at the upper end.",
        picture("figure3", "Recall@1 on unseen classes by loss"),
        table(("data", "loss", "chosen"), [(name, NAMES[loss], settings_of(value)) for name, chosen in results["chosen"].items() for loss, value in chosen.items()]),
        "## Figure 4: batch sizes",
        "As many images in all for each size, two of a class (more where there are too few classes), the settings chosen above.",
        picture("figure4", "Recall@1 on unseen classes by batch size"),
        table(("data", "loss", "batch", "Recall@1"),
              [(name, NAMES[loss], size, Interval.of(last(found))) for name, found_ in results["figure4"].items() for (loss, size), found in found_.items()]),
        "## Figure 5: Recall@K and time",
    ]
    rows = []
    for name, losses in results["figure3"].items():
        for loss, found in losses.items():
            seconds = sorted(row["seconds"] for row in results["epochs"] if (row["data"], row["loss"]) == (name, loss))
            rows.append((name, NAMES[loss], *(Interval.of(column) for column in zip(*(result["recall"] for result in found))),
                         Interval.of([result["map@r"] for result in found]), f"{seconds[len(seconds) // 2]:.2f}"))
    parts += [
        table(("data", "loss", "Recall@1", "Recall@2", "Recall@4", "Recall@8", "MAP@R", "s an epoch"), rows),
        "One step of a linear layer and its loss, 64 numbers an embedding, on two threads. PD-Loss and D-Loss once as this project's operators, "
        "once in the standard operators that the other losses are made of. Medians and the process's peak memory, nothing else running:",
        picture("cost", "Milliseconds and memory of one step, by number of classes and by batch"),
        *(costs(axis, results["cost"]) for axis in dict.fromkeys(row["axis"] for row in results["cost"])),
        "## Ours: first proxies, temperature, floor, forms",
        "Variants of PD-Loss at the learning rate chosen for it, and D-Loss at its own.",
    ]
    for name, variants in results["ours"].items():
        base = last(variants[DEFAULTS])
        parts.append(table((name, "Recall@1", "minus the first row"),
                           [(variant, Interval.of(last(found)), difference(last(found), base)) for variant, found in variants.items()]))
        same = [result["curve"] for result in variants["temperature 0.1"]] == [result["curve"] for result in variants["temperature 10"]]
        parts.append("The temperature cancels: Recall@1 of the runs with 0.1 and with 10 is "
                     + ("the same at every validation." if same else "not the same bit for bit, as roundings differ; the difference is above."))
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print(path)
