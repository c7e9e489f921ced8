"""Runs the programs on several ranks and on one, and compares what they leave: check.py FOLDER short, all or some parts' names. See run.sh."""
import csv
import json
import os
import shutil
import sys
import time

import numpy as np

import faults
from tools import BIN, FIXTURES, HERE, LIBRARY, SHAPES, check, losses_apart, mpirun, run, same_files, skipped, train, work

WHICH = sys.argv[2]
LOSSES = ["pd", "multi-similarity", "softmax", "d-loss", "proxy-nca", "proxy-anchor", "curricularface", "soft-triple", "triplet"]
# One with proxies, one of pairs.
QUICK = LOSSES[:2]
# What is left of `--loss`.
OTHERS = ["pd-negative", "pd-inverse", "arcface", "cosface", "subcenter-arcface", "circle", "contrastive", "supcon", "nt-xent", "n-pair", "lifted", "histogram"]
# Columns that are of this run's clock or place.
TIMES = {"seconds_load", "seconds_embed", "seconds_search", "seconds_compare", "seconds_total", "images_per_second", "written", "threads"}


def versions():
    text = run([BIN / "pdloss", "--version"]).stdout
    check("with MPI: Open MPI" in text, f"--version says {text}")
    # An error that all ranks have is said once, with its code.
    done = run([*mpirun(2), BIN / "pdloss", "train", "--model", "nowhere.onnx", "--data", SHAPES, "--out", work / "no"], wanted=1)
    check(done.stderr.count("error:") == 1 and "error: rank" not in done.stderr, f"two ranks without a model: {done.stderr}")
    done = run([*mpirun(2), BIN / "pdloss-eval", "tabulate", "x.json"], wanted=2)
    check("tabulate runs as one process" in done.stderr, f"tabulate: {done.stderr}")
    done = train(work / "alone", more=["--sync-statistics", "--shard-classes", "--steps", "2"])
    check("--sync-statistics and --shard-classes change nothing" in done.stderr, done.stderr)


def operators(ranks):
    for count in [1, *ranks]:
        print(run([*mpirun(count), sys.executable, HERE / "operators.py", LIBRARY]).stdout, end="")


def gradients(ranks, losses):
    """From each of ten states of one process, the same step by some ranks; twice, with the same bits."""
    for loss in losses:
        states, (_, many) = recorded(loss), exported(loss)
        for count in ranks:
            said = [run([*mpirun(count), sys.executable, HERE / "steps.py", "compare", LIBRARY, many, states, work / f"bits{again}"]).stdout for again in range(2)]
            check((work / "bits0").read_bytes() == (work / "bits1").read_bytes(), f"{loss}: {count} ranks give other bits the second time")
            print(said[0], end="")


def recorded(loss):
    """Ten states of one process, and what it makes of them."""
    states = work / f"{loss}.npz"
    if not states.exists():
        run([sys.executable, HERE / "steps.py", "record", LIBRARY, exported(loss)[0], states])
    return states


def exported(loss):
    """The step graph of one process, and that of each of some ranks."""
    net, one, many = work / "smooth.onnx", work / f"{loss}.one.onnx", work / f"{loss}.many.onnx"
    if not net.exists():
        run([sys.executable, HERE / "steps.py", "smooth", FIXTURES / "backbone.onnx", net])
    if not many.exists():
        words = [BIN / "pdloss", "export", net]
        common = ["--train", "--classes", "7", "--loss", loss, "--optimizer", "sgd", "--seed", "3"]
        # As ranks compute it, in standard operators: normalisations of this project's round less.
        run([*words, one, *common, "--as", "inline"])
        run([*words, many, *common, "--ranks", "--sync-statistics"])
    return one, many


def shards(count):
    """The step graphs of ranks with a part of the classes each."""
    words = [BIN / "pdloss", "export", work / "smooth.onnx"]
    for rank in range(count):
        more = ["--train", "--classes", "7", "--optimizer", "sgd", "--seed", "3", "--ranks", "--sync-statistics", "--shard", f"{rank}/{count}"]
        run([*words, work / f"shard{rank}.onnx", *more])
    return work / "shard{rank}.onnx"


def free_runs(ranks, losses):
    """A hundred steps on end."""
    for loss in losses:
        one, many = exported(loss)
        states = work / f"{loss}.free.npz"
        run([sys.executable, HERE / "steps.py", "wander", LIBRARY, one, states])
        for count in ranks:
            graphs = [many, shards(count)] if loss == "pd" else [many]
            for graph in graphs:
                print(run([*mpirun(count), sys.executable, HERE / "steps.py", "follow", LIBRARY, graph, states]).stdout, end="")


def sharded(ranks):
    """Classes over ranks: gradients of proxies, too; and a checkpoint of some ranks goes on with others."""
    states = recorded("pd")
    for count in ranks:
        graphs = shards(count)
        said = run([*mpirun(count), sys.executable, HERE / "steps.py", "compare", LIBRARY, graphs, states]).stdout
        print(f"classes over ranks: {said}", end="")
    more = ["--sync-statistics", "--shard-classes", "--checkpoint-every", "6"]
    for first in ("random", "class-means") if len(ranks) > 1 else ("class-means",):
        one = work / f"{first}1"
        train(one, more=[*more, "--first-proxies", first])
        for count in ranks:
            many = work / f"{first}{count}"
            train(many, count, [*more, "--first-proxies", first])
            apart = losses_apart(one, many)
            check(apart < 1e-3, f"losses of {count} ranks with a part of the classes are {apart} off")
            sizes = [(folder / "checkpoint.safetensors").stat().st_size for folder in (one, many)]
            check(abs(sizes[0] - sizes[1]) < 100, f"checkpoints of {sizes} bytes")
            print(f"train --shard-classes, first proxies {first}: losses of 12 steps on {count} ranks within {apart:.1e} of one process")
    done = train(work / "softmax-shards", 2, ["--loss", "softmax", "--shard-classes"], wanted=2)
    check("--shard-classes" in done.stderr, done.stderr)


def trained(ranks):
    """Whole runs by the program: batch statistics of all, validation, the same bits again."""
    synced = ["--sync-statistics", "--validation-classes", "9-12", "--validate-every", "6", "--checkpoint-every", "5"]
    train(work / "one", more=synced)
    for count in ranks:
        folder = work / f"train{count}"
        done = train(folder, count, synced)
        check(f"spread over {count} ranks" in done.stderr and done.stderr.count("trains on") == 1, done.stderr)
        apart = losses_apart(work / "one", folder)
        check(apart < 1e-3, f"losses of {count} ranks are {apart} off those of one process")
        train(work / "again", count, synced)
        same_files(folder, work / "again", ["checkpoint.safetensors", "embedder.onnx", "validation.csv"])
        shutil.rmtree(work / "again")
        # What was validated last is the embedder that is kept: one process measures the same.
        with open(folder / "validation.csv") as file:
            last = list(csv.DictReader(file))[-1]
        words = ["recall", "--model", folder / "embedder.onnx", "--data", SHAPES, "--classes", "9-12", "--k", "1", "--json", "--threads", "1"]
        found = json.loads(run([BIN / "pdloss-eval", *words]).stdout)
        found = found[0] if isinstance(found, list) else found
        check(float(last["recall@1"]) == found["recall@1"], f"validated as {last}, measured as {found}")
        print(f"train: losses of 12 steps on {count} ranks within {apart:.1e} of one process; validated as one process measures")
    done = train(work / "own", 2)
    check("normalises by the 10 images of a rank" in done.stderr and "each step gave" in done.stderr, done.stderr)
    done = train(work / "few", 4, batch=3, wanted=2)
    check("wanted at least an image for each of 4 ranks" in done.stderr and not (work / "few").exists(), done.stderr)


def in_parts(ranks):
    """Parts of the rows of each rank, what is remembered of earlier batches, and hard classes: as one process has them."""
    pairs = ["--loss", "multi-similarity", "--per-class", "4"]
    ways = {
        "pd": ["--loss", "pd"],
        "pd, classes over ranks": ["--loss", "pd", "--shard-classes"],
        "multi-similarity": pairs,
        "multi-similarity, --memory-bank": [*pairs, "--memory-bank", "48"],
        "multi-similarity, hard classes": [*pairs, "--sampler", "hard-classes", "--hard-every", "3"],
    }
    if len(ranks) == 1:
        ways = {name: ways[name] for name in ("pd, classes over ranks", "multi-similarity, --memory-bank")}
    for name, flags in ways.items():
        whole, live = work / f"whole {name}", work / f"live {name}"
        alone = [flag for flag in flags if flag != "--shard-classes"]
        train(whole, more=[*alone, "--freeze-statistics", "all"], batch=24)
        # As many parts as all ranks have together, which normalise alike.
        train(live, more=[*alone, "--accumulate", "12"], batch=24)
        for count in ranks:
            for parts in (1, 12 // count):
                out = work / f"{parts} of {count} {name}"
                train(out, count, [*flags, "--freeze-statistics", "all", "--accumulate", str(parts)], batch=24)
                apart = losses_apart(whole, out)
                check(apart < 1e-3, f"{name}: losses in {parts} parts of {count} ranks are {apart} off those of one process")
            out = work / f"live {count} {name}"
            train(out, count, [*flags, "--accumulate", str(12 // count)], batch=24)
            live_apart = losses_apart(live, out)
            check(live_apart < 1e-3, f"{name}: losses in {12 // count} live parts of {count} ranks are {live_apart} off those of 12 parts")
            print(f"{name}: losses of 12 steps in parts on {count} ranks within {apart:.1e} of the whole batch, {live_apart:.1e} of 12 parts")
    synced = ["--accumulate", "3", "--sync-statistics"]
    for again in range(2):
        done = train(work / f"synced{again}", 2, synced, batch=24)
    check("normalises by a part of every rank" in done.stderr, done.stderr)
    same_files(work / "synced0", work / "synced1", ["checkpoint.safetensors", "embedder.onnx"])
    done = train(work / "uneven", 2, ["--accumulate", "8"], batch=24, wanted=2)
    check("that 8 times 2 divides, not 24" in done.stderr, done.stderr)
    done = train(work / "hard", 2, ["--sampler", "hard-classes", "--per-class", "4", "--shard-classes"], batch=24, wanted=2)
    check("a part of the classes" in done.stderr, done.stderr)


def rows_of(path):
    with open(path) as file:
        return [{name: value for name, value in row.items() if name not in TIMES} for row in csv.DictReader(file)]


def large_set():
    """Embeddings whose pairs are too many to keep, many of them equal: ties cross the parts of any number of ranks."""
    path, random = work / "large.npy", np.random.default_rng(5)
    labels = random.integers(0, 60, 4300)
    centres = random.standard_normal((60, 12))
    rows = (centres[labels] + 1.5 * random.standard_normal((4300, 12))).astype(np.float32)
    for at in range(0, 4000, 40):
        rows[at + random.integers(1, 300)] = rows[at]
    np.save(path, rows)
    (work / "large.csv").write_text("label\n" + "".join(f"{label}\n" for label in labels))
    return path


def measuring(ranks, everything):
    """What several ranks measure, print and keep is what one process does, to the bit."""
    images = ["--model", FIXTURES / "embedder.onnx", "--data", SHAPES]
    searches = [
        (["recall", *images], "recall", "npy"),
        (["verify", *images, "--all-pairs", "--bootstrap", "100"], "verify", "safetensors"),
        # What the two before have kept.
        (["recall", "--embeddings", work / "recall1" / "kept.npy"], "kept", None),
        (["verify", "--all-pairs", "--embeddings", work / "verify1" / "kept.safetensors"], "kept-verify", None),
    ]
    if everything:
        large = ["--embeddings", large_set()]
        searches += [
            (["recall", "--model", FIXTURES / "backbone.onnx", "--data", SHAPES, "--metric", "l2", "--k", "1,5", "--batch", "7"], "l2", "npy"),
            # Two batches: a third rank has no images.
            (["recall", *images, "--batch", "100"], "few-batches", "safetensors"),
            (["verify", *images, "--all-pairs", "--flip", "concat", "--batch", "100"], "flip", "npy"),
            (["recall", *large, "--k", "1,7"], "large", None),
            (["recall", *large, "--metric", "ip", "--matryoshka", "5"], "large-ip", None),
            (["verify", *large, "--all-pairs"], "large-verify", None),
        ]
        grocery = os.environ.get("GROCERY")
        if grocery:
            net = ["--model", FIXTURES / "embedder.onnx", "--data", grocery]
            searches += [(["recall", *net], "grocery", "npy"), (["verify", *net, "--all-pairs"], "grocery-verify", "npy")]
        else:
            skipped.append("the grocery set: GROCERY names its folder")
    for words, name, kept in searches:
        made = {}
        for count in [1, *ranks]:
            out = work / f"{name}{count}"
            out.mkdir()
            more = ["--out", out / "result.csv", "--threads", "1"] + (["--save-embeddings", out / f"kept.{kept}"] if kept else [])
            more += [] if "--matryoshka" in words else ["--save-run", out / "run"]
            made[count] = out, run(mpirun(count) + [BIN / "pdloss-eval", *words, *more])
        one, alone = made[1]
        for count in ranks:
            many, done = made[count]
            check(done.stdout == alone.stdout, f"{name}: {count} ranks print\n{done.stdout}\nwanted\n{alone.stdout}")
            check(rows_of(one / "result.csv") == rows_of(many / "result.csv"), f"{name}: {count} ranks: results differ")
            files = [sorted(p.relative_to(out) for p in out.rglob("*") if p.is_file()) for out in (one, many)]
            check(files[0] == files[1], f"{name}: {count} ranks leave {files[1]}, wanted {files[0]}")
            # The result and the row of the run have times in them.
            same = [p for p in files[0] if p.suffix in (".parquet", ".npy", ".safetensors", ".bin") or p.name == "kept.csv"]
            check(same != [] or "--matryoshka" in words, f"{name}: nothing to compare among {files[0]}")
            same_files(one, many, same)
        print(f"{name}: the same on {', '.join(map(str, ranks))} ranks as in one process")


def main():
    everything = WHICH != "short"
    ranks = [2, 3, 4] if everything else [2]
    short = {
        "versions": versions,
        "operators": lambda: operators(ranks),
        "gradients": lambda: gradients([2], LOSSES if everything else QUICK),
        "sharded": lambda: sharded(ranks),
        "trained": lambda: trained(ranks),
        "in parts": lambda: in_parts(ranks),
        "measuring": lambda: measuring(ranks, everything),
        "unreadable": faults.unreadable,
    }
    more = {
        # Of 7 classes and 21 images, a fourth rank has 2 classes at most, and some have none of a batch's.
        "more gradients": lambda: gradients([3, 4], LOSSES),
        "other losses": lambda: gradients([2, 3], OTHERS),
        "free runs": lambda: free_runs(ranks, LOSSES),
        "launched wrongly": faults.launched_wrongly,
        "different": faults.different,
        "killed": faults.killed,
        "stopped": faults.stopped,
        "changed": lambda: faults.changed(ranks),
        "killed in search": faults.killed_in_search,
        "full disk": faults.full_disk,
        "namespaces": faults.namespaces,
    }
    parts = short if WHICH == "short" else short | more
    for name in parts if WHICH in ("short", "all") else WHICH.split(","):
        began = time.monotonic()
        parts[name]()
        print(f"--- {name}: {time.monotonic() - began:.0f} s", flush=True)
    for what in skipped:
        print(f"distributed: SKIPPED {what}")
    print("distributed: all held")


main()
