"""LFW View 2 the way a Python user would write it: onnxruntime + Pillow, one image after the other, numpy at the end.

usage: verify_baseline.py MODEL FOLDER PAIRS.txt [--threads N] [--size N] [--paste LEFT,TOP]

Each distinct image is resized to SIZE, pasted on black 112x112 at LEFT,TOP, and put through the model with
(x - 127.5) / 127.5. Folds as the list has them; the threshold of a fold is the best of the other nine, at midpoints
between their scores. Prints one JSON line.
"""
import argparse
import json
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image


def read_pairs(path):
    lines = [line.split() for line in Path(path).read_text().splitlines()]
    folds, each = int(lines[0][0]), int(lines[0][1])
    name = lambda person, number: f"{person}/{person}_{int(number):04d}.jpg"
    pairs = []
    for at, line in enumerate(lines[1 : 1 + 2 * folds * each]):
        if len(line) == 3:
            pairs.append((name(line[0], line[1]), name(line[0], line[2]), True, at // (2 * each)))
        else:
            pairs.append((name(line[0], line[1]), name(line[2], line[3]), False, at // (2 * each)))
    return pairs


def best_threshold(scores, same):
    order = np.sort(np.unique(scores))
    middles = (order[1:] + order[:-1]) / 2
    genuine, impostor = np.sort(scores[same]), np.sort(scores[~same])
    right = len(genuine) - np.searchsorted(genuine, middles) + np.searchsorted(impostor, middles)
    return middles[np.argmax(right)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("pairs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, default=81)
    parser.add_argument("--paste", default="15,18")
    arguments = parser.parse_args()
    left, top = (int(n) for n in arguments.paste.split(","))

    start = time.perf_counter()
    pairs = read_pairs(arguments.pairs)
    options = ort.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    session = ort.InferenceSession(arguments.model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def embed(path):
        image = Image.open(arguments.folder / path).convert("RGB").resize((arguments.size,) * 2, Image.BILINEAR)
        canvas = Image.new("RGB", (112, 112))
        canvas.paste(image, (left, top))
        pixels = (np.asarray(canvas, np.float32) - 127.5) / 127.5
        return session.run(None, {name: pixels.transpose(2, 0, 1)[None]})[0][0]

    images = sorted({path for pair in pairs for path in pair[:2]})
    embeddings = {path: embed(path) for path in images}
    embedded = time.perf_counter() - start
    unit = {path: row / np.linalg.norm(row) for path, row in embeddings.items()}
    scores = np.array([unit[a] @ unit[b] for a, b, _, _ in pairs])
    same = np.array([pair[2] for pair in pairs])
    fold = np.array([pair[3] for pair in pairs])
    accuracies = []
    for test in range(fold.max() + 1):
        threshold = best_threshold(scores[fold != test], same[fold != test])
        accuracies.append(np.mean((scores >= threshold)[fold == test] == same[fold == test]))
    print(json.dumps({
        "accuracy": float(np.mean(accuracies)),
        "standard_error": float(np.std(accuracies, ddof=1) / np.sqrt(len(accuracies))),
        "images": len(images),
        "seconds_embed": embedded,
        "seconds_total": time.perf_counter() - start,
    }))


if __name__ == "__main__":
    main()
