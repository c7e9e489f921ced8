"""What check.py, faults.py and bench.py share: programs on several ranks, and comparisons."""
import atexit
import csv
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BIN = Path(sys.argv[1]).resolve()
LIBRARY = BIN / "libpdloss_ort.so"
FIXTURES = ROOT / "fixtures"
SHAPES = FIXTURES / "shapes"
work = Path(tempfile.mkdtemp(prefix="distributed-"))
atexit.register(shutil.rmtree, work, ignore_errors=True)
skipped = []


def mpirun(ranks, *more):
    """The launcher's words; none for one process."""
    return ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", *more, "-n", str(ranks)] if ranks > 1 or more else []


def run(words, wanted=0, **more):
    words = [str(word) for word in words]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, **more)
    if done.returncode != wanted:
        sys.exit(f"{' '.join(words)}\nended with {done.returncode}, wanted {wanted}\n{done.stdout}{done.stderr}")
    return done


def check(holds, words):
    if not holds:
        sys.exit(f"distributed: {words}")


def training(out, more=(), batch=21):
    """The words of a short run."""
    words = [BIN / "pdloss", "train", "--model", FIXTURES / "backbone.onnx", "--data", SHAPES, "--out", out, "--threads", "1"]
    return [*words, "--batch", batch, "--flip", *more, *([] if "--steps" in more else ["--steps", "12"])]


def train(out, ranks=1, more=(), wanted=0, batch=21, **kwargs):
    return run(mpirun(ranks) + training(out, more, batch), wanted, **kwargs)


def metrics(folder):
    with open(folder / "metrics.csv") as file:
        return list(csv.DictReader(file))


def losses_apart(one, many):
    return max(abs(float(a["loss"]) - float(b["loss"])) for a, b in zip(metrics(one), metrics(many), strict=True))


def same_files(one, other, names):
    for name in names:
        check((one / name).read_bytes() == (other / name).read_bytes(), f"{one / name} and {other / name} differ")


def children(pid):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [int(word) for word in found.split()]


def environment(pid):
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    return dict(entry.decode(errors="replace").split("=", 1) for entry in entries if b"=" in entry)


def process_of(launcher, rank):
    """The process of a rank that this launcher started."""
    return next(pid for pid in children(launcher.pid) if environment(pid).get("OMPI_COMM_WORLD_RANK") == str(rank))
