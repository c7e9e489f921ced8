"""Peak memory of losses over pairs as the batch grows, which is to grow with it and not with its square.

    pair_memory.py [--program target/debug/pdloss] [--losses supcon,...] [--batches 1024,...]

Each is one step of `pdloss train --dry-run` with the fixtures' backbone, whose batch goes through the net 128 images at a time
(`--accumulate`), so that what grows is the loss. Images are drawn here, 16 x 16 pixels in one archive, and are not kept decoded. Memory is the
process's largest resident set as the program says it, the time that of the step; the last column is the matrix of all
similarities in float32, of which a loss forms several at once where it forms any.

Fails where a batch that is twice as large takes three times the memory that grew, or more.
"""

import argparse
import os
import pathlib
import random
import re
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
PER_CLASS = 4
PART = 128
SIDE = 16


def png(draw):
    """An image of one colour with noise, by Python's own library."""
    color = [draw.randrange(40, 215) for _ in range(3)]
    pixels = lambda: bytes(value + draw.randrange(-40, 41) for _ in range(SIDE) for value in color)
    rows = b"".join(b"\0" + pixels() for _ in range(SIDE))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


def images(path, count):
    draw = random.Random(count)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number in range(count):
            archive.writestr(f"class{number // PER_CLASS:05}/{number % PER_CLASS}.png", png(draw))


def measure(program, data, loss, batch, out):
    command = [program, "train", "--model", ROOT / "fixtures/backbone.onnx", "--data", data, "--out", out, "--dry-run"]
    command += ["--batch", batch, "--accumulate", batch // PART, "--per-class", PER_CLASS, "--loss", loss]
    command += ["--steps", 1, "--cache", 0, "--threads", 2]
    command = [str(word) for word in command]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{made.stderr}")
    lines = [line for line in made.stdout.splitlines() if re.match(r"\|[^-]", line)]
    head, cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[-2:]]
    row = dict(zip(head, cells, strict=True))
    return float(row["memory at most, MiB"]), float(row["seconds a step"])


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--program", default=ROOT / "target/debug/pdloss")
    arguments.add_argument("--losses", default="contrastive,triplet,multi-similarity,supcon,nt-xent,circle,histogram,d-loss")
    arguments.add_argument("--batches", default="1024,2048,4096,8192,16384,32768")
    arguments = arguments.parse_args()
    batches = [int(batch) for batch in arguments.batches.split(",")]
    is_grown = True
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        data = {}
        for batch in batches:
            data[batch] = folder / f"{batch}.zip"
            images(data[batch], batch)
        print("| loss | " + " | ".join(f"{batch:,}" for batch in batches) + " |\n|---|" + "---|" * len(batches))
        for loss in arguments.losses.split(","):
            found = [measure(arguments.program, data[batch], loss, batch, folder / "run") for batch in batches]
            cells = [f"{memory:.0f} ({seconds:.1f} s)" for memory, seconds in found]
            print(f"| `{loss}` | " + " | ".join(cells) + " |", flush=True)
            grown = [after - before for (before, _), (after, _) in zip(found, found[1:])]
            # Below this a tile is all of it, or nearly.
            late = [(now, then) for batch, now, then in zip(batches[2:], grown[1:], grown) if batch > 8192]
            is_grown &= all(now <= max(3 * then, 64) for now, then in late)
        squares = " | ".join(f"{4 * batch * batch / 2**20:,.0f}" for batch in batches)
        print(f"| one matrix of all similarities | {squares} |")
    print(f"load of the machine at the end, over 1, 5 and 15 minutes: {' '.join(f'{load:.2f}' for load in os.getloadavg())}")
    if not is_grown:
        sys.exit("the memory of a loss grows faster than three times as the batch doubles")


if __name__ == "__main__":
    main()
