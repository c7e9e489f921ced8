"""The experiments of the paper (Silva et al. 2025, arXiv 2508.17082), made again at a size that two cores can train.

usage: paper.py [--quick] [--data FOLDER] [--out FOLDER] [--page FILE.md]

--data holds Omniglot (omniglot/images_background_small1.zip) and the test part of the Grocery Store dataset
(grocery/dataset/test.txt); without it the drawn fixtures are used alone. A run that is done is not made again, one that
was interrupted goes on. --quick makes two seeds of short runs on the fixtures.
"""
import argparse
import json
import subprocess
import time
from pathlib import Path

import page
import plan
import cost
from runs import PROGRAM, ROOT, Runs, call


def choose(runs, data, quick):
    """The settings of the best trial for each loss, by Recall@1 on classes kept for choosing."""
    chosen = {}
    for loss in plan.TRIALS:
        best = max(plan.trials(data, loss, quick), key=lambda run: runs.of(run)["recall"][-1])
        chosen[loss] = best.settings
    return chosen


def recall_at(runs, run):
    """Recall@1, 2, 4, 8 of a run's embedder on the unseen classes."""
    folder = runs.of(run)["folder"]
    file = folder / "recall.json"
    if not file.is_file():
        call([PROGRAM / "pdloss-eval", "recall", "--model", folder / "embedder.onnx", "--data", run.data.path, "--split", "all",
              "--classes", run.data.test, "--k", "1,2,4,8", "--out", file])
    row = json.loads(file.read_text())[0]
    return [row[f"recall@{k}"] for k in (1, 2, 4, 8)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--page", type=Path)
    arguments = parser.parse_args()
    out = (arguments.out or ROOT / "out" / ("paper-quick" if arguments.quick else "paper")).resolve()
    out.mkdir(parents=True, exist_ok=True)
    started = time.time()
    runs = Runs(out)
    seeds = range(2 if arguments.quick else 5)
    sets = plan.data_sets(arguments.data and arguments.data.resolve(), arguments.quick)
    results = {"quick": arguments.quick, "seeds": len(seeds), "sets": sets, "chosen": {}, "figure2": {}, "figure3": {}, "figure4": {},
               "recall": {}, "ours": {}}

    def make(table):
        return {name: [runs.of(run) for run in made] for name, made in table.items()}

    for data in sets:
        chosen = results["chosen"][data.name] = choose(runs, data, arguments.quick)
        results["figure2"][data.name] = make(plan.figure2(data, chosen, seeds))
        third = plan.figure3(data, chosen, seeds)
        results["figure3"][data.name] = make(third)
        results["recall"][data.name] = {loss: [recall_at(runs, run) for run in made] for loss, made in third.items()}
    # Batch sizes and variants on one data set: Omniglot where it is there.
    main_set = next((data for data in sets if data.name == "omniglot"), sets[0])
    chosen = results["chosen"][main_set.name]
    results["figure4"][main_set.name] = make(plan.figure4(main_set, chosen, seeds, arguments.quick))
    results["ours"][main_set.name] = make(plan.ours(main_set, chosen, seeds))
    results["cost"] = cost.measure_all(out / "cost.json", arguments.quick)
    results["seconds"] = time.time() - started
    results["commit"] = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    page.write(arguments.page or out / "paper.md", results)


if __name__ == "__main__":
    main()
