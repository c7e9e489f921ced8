"""The experiments of the paper (Silva et al. 2025, arXiv 2508.17082), made again at a size that two cores can train.

usage: paper.py [--quick] [--data FOLDER] [--out FOLDER] [--page FILE.md] [--jobs N]

--data holds Omniglot (omniglot/images_background_small1.zip) and the test part of the Grocery Store dataset
(grocery/dataset/test.txt). --quick makes two seeds of short runs on the drawn fixtures alone. A run that is done is not
made again, one that was interrupted goes on. --jobs runs are made at a time; times are measured afterwards, one by one.
"""
import argparse
import sys
from pathlib import Path

import cost
import page
import plan
import small
from runs import ROOT, Runs


def choose(runs, sets, quick):
    """The settings of the best trial of each loss on each data set, by Recall@1 on classes kept for choosing."""
    trials = {data.name: {loss: plan.trials(data, loss, quick) for loss in plan.TRIALS} for data in sets}
    runs.make(run for losses in trials.values() for made in losses.values() for run in made)
    return {name: {loss: max(made, key=lambda run: runs.of(run)["recall"][0]).settings for loss, made in losses.items()}
            for name, losses in trials.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    if not arguments.quick and arguments.data is None:
        parser.error("--data FOLDER is missing: where omniglot/ and grocery/ lie (or give --quick)")
    out = (arguments.out or ROOT / "out" / ("paper-quick" if arguments.quick else "paper")).resolve()
    out.mkdir(parents=True, exist_ok=True)
    sets = plan.data_sets(arguments.quick)
    sources = {data.name: small.make(data, arguments.data.resolve(), out / "data" / data.name) if data.name in small.SOURCES
               else ROOT / "fixtures" / data.name for data in sets}
    runs = Runs(out, sources, arguments.jobs)
    seeds = range(2 if arguments.quick else 5)
    chosen = choose(runs, sets, arguments.quick)
    # Batch sizes and variants on one data set of photographs or drawings, and on the fixtures.
    few = sets[:2]
    wanted = {
        "figures23": {data.name: plan.figures23(data, chosen[data.name], seeds) for data in sets},
        "figure4": {data.name: plan.figure4(data, chosen[data.name], seeds) for data in few},
        "ours": {data.name: plan.ours(data, chosen[data.name], seeds) for data in few},
    }
    runs.make(run for figure in wanted.values() for table in figure.values() for made in table.values() for run in made)
    results = {figure: {name: {key: [runs.of(run) for run in made] for key, made in table.items()} for name, table in tables.items()}
               for figure, tables in wanted.items()}
    print("measuring times", file=sys.stderr, flush=True)
    results |= {
        "quick": arguments.quick, "seeds": len(seeds), "sets": sets, "chosen": chosen, "runs": runs,
        "figure2": {name: {loss: losses[loss] for loss in plan.FIGURE2} for name, losses in results["figures23"].items()},
        "figure3": {name: {loss: losses[loss] for loss in plan.FIGURE3} for name, losses in results["figures23"].items()},
        "epochs": cost.epochs(out / "epochs.json", runs, sets, chosen, arguments.quick),
        "cost": cost.steps(out / "cost.json", arguments.quick),
    }
    page.write(arguments.page or out / "paper.md", results, wanted)


if __name__ == "__main__":
    main()
