"""Makes runs by `pdloss train`, each in a folder named by the digest of its command: what is finished is not made again, and
what was interrupted goes on."""
import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target" / "debug"


class Runs:
    """The runs under a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.made = 0

    def backbone(self, data, seed):
        path = self.folder / "backbones" / f"{data.name}-{seed}.onnx"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            call([sys.executable, ROOT / "fixtures" / "backbones.py", path, "--side", data.side, "--channels", data.channels,
                  "--dim", data.dim, "--widths", ",".join(map(str, data.widths)), "--pool", "--flatten", "--seed", seed])
        return path

    def of(self, run):
        """Its result: `steps`, `recall` after each of them, `seconds` of training, and its folder."""
        flags = run.flags()
        digest = hashlib.sha256(json.dumps([run.data.side, run.data.dim, run.data.widths, *flags]).encode()).hexdigest()[:16]
        folder = self.folder / "runs" / digest
        done = folder / "result.json"
        if not done.is_file():
            if (folder / "run.toml").is_file():
                call([PROGRAM / "pdloss", "train", "--resume", folder])
            else:
                call([PROGRAM / "pdloss", "train", "--model", self.backbone(run.data, run.seed), "--out", folder, *flags])
            done.write_text(json.dumps({"flags": flags, **read(folder)}))
            self.made += 1
            print(f"{self.made:4} made  {run.data.name} {run.loss} batch {run.batch or run.data.batch} seed {run.seed} {' '.join(f'{a} {b}' for a, b in run.settings)}"
                  f" {' '.join(run.extra)}", file=sys.stderr, flush=True)
        return {**json.loads(done.read_text()), "folder": folder}


def read(folder):
    with open(folder / "validation.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with open(folder / "metrics.csv", newline="") as file:
        rates = sorted(float(row["images_per_second"]) for row in csv.DictReader(file))
    return {
        "steps": [int(row["step"]) for row in rows],
        "recall": [float(row["recall@1"]) for row in rows],
        "images_per_second": rates[len(rates) // 2],
    }


def call(command):
    command = [str(part) for part in command]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(command)}\nended with {result.returncode}:\n{result.stderr[-3000:]}")
    return result.stdout
