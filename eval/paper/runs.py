"""Makes runs by `pdloss train`, each in a folder named by the digest of its command: what is finished is not made again, and
what was interrupted goes on."""
import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target" / "debug"


def commit():
    """What the programs were built from, as far as git knows."""
    def git(*words):
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return git("rev-parse", "--short=12", "HEAD") + (" with changes" if git("status", "--porcelain", "--untracked-files=no") else "")


class Runs:
    """The runs under a folder. `sources` says where each data set lies."""

    def __init__(self, folder, sources, jobs=os.cpu_count()):
        self.folder = folder
        self.sources = sources
        self.jobs = jobs
        self.commit = commit()
        self.started = time.monotonic()

    def backbone(self, data, seed):
        path = self.folder / "backbones" / f"{data.name}-{seed}.onnx"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            call([sys.executable, ROOT / "fixtures" / "backbones.py", path, "--side", data.side, "--channels", data.channels,
                  "--dim", data.dim, "--widths", ",".join(map(str, data.widths)), "--seed", seed, *data.net])
        return path

    def place(self, run):
        described = [run.data.name, run.data.side, run.data.dim, run.data.widths, run.data.net, *run.flags()]
        return self.folder / "runs" / hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]

    def make(self, wanted):
        """Makes those of `wanted` that are not there yet, `jobs` at a time, each on one thread."""
        missing = [run for run in dict.fromkeys(wanted) if not (self.place(run) / "result.json").is_file()]
        for run in missing:
            self.backbone(run.data, run.seed)
        pool = ThreadPoolExecutor(self.jobs)
        try:
            for done, run in enumerate(pool.map(self.train, missing), 1):
                words = " ".join(f"{name} {value}" for name, value in run.settings)
                print(f"{time.monotonic() - self.started:6.0f} s  {done}/{len(missing)}  {run.data.name}, {run.loss}, batch "
                      f"{run.batch or run.data.batch}, seed {run.seed}, {words}", file=sys.stderr, flush=True)
        finally:
            pool.shutdown(cancel_futures=True)

    def train(self, run):
        folder = self.place(run)
        if (folder / "run.toml").is_file():
            call([PROGRAM / "pdloss", "train", "--resume", folder])
        else:
            shutil.rmtree(folder, ignore_errors=True)
            self.begin(run, folder, "--threads", 1, *run.validation())
        kept = folder / "recall.json"
        call([PROGRAM / "pdloss-eval", "recall", "--model", folder / "embedder.onnx", "--data", self.sources[run.data.name], "--split", "all",
              "--classes", run.measured(), "--k", "1,2,4,8", "--threads", 1, "--out", kept])
        row = json.loads(kept.read_text())[0]
        validations, images = table(folder / "validation.csv"), images_of(folder)
        batch = run.batch or run.data.batch
        result = {
            "epochs": [int(validation["step"]) * batch / images for validation in validations],
            "curve": [float(validation["recall@1"]) for validation in validations],
            "recall": [row[f"recall@{k}"] for k in (1, 2, 4, 8)],
            "map@r": row["map@r"],
            "commit": self.commit,
        }
        # Last, so that a run with a result is whole; and at once, so that a result is.
        unfinished = folder / "result.part"
        unfinished.write_text(json.dumps(result))
        unfinished.rename(folder / "result.json")
        return run

    def begin(self, run, folder, *flags):
        """One training, without a result."""
        call([PROGRAM / "pdloss", "train", "--model", self.backbone(run.data, run.seed), "--data", self.sources[run.data.name],
              "--out", folder, *run.flags(), *flags])

    def of(self, run):
        """The result of a run that is made."""
        return json.loads((self.place(run) / "result.json").read_text())


def table(path):
    """The rows of a CSV file."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def images_of(folder):
    """How many images a run trained on."""
    return tomllib.loads((folder / "run.toml").read_text())["made_with"]["images"]


def call(command):
    command = [str(part) for part in command]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(command)}\nended with {result.returncode}:\n{result.stderr[-3000:]}")
    return result.stdout
