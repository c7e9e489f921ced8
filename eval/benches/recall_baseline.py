"""Recall@K the way a Python user would write it: onnxruntime + Pillow + faiss-cpu, a thread pool that decodes.

usage: recall_baseline.py MODEL LIST.csv [--label N] [--threads N] [--save FILE.npy] [--batch N]

LIST holds `path, label, ...` lines (paths relative to the list). Preprocessing is torchvision's for ImageNet: shorter
side to 256, centre crop 224, mean and deviation. Prints one JSON line.
"""
import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faiss
import numpy as np
import onnxruntime as ort
from PIL import Image

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def load(path):
    image = Image.open(path).convert("RGB")
    width, height = image.size
    if width <= height:
        size = (256, int(256 * height / width))
    else:
        size = (int(256 * width / height), 256)
    image = image.resize(size, Image.BILINEAR)
    left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) / 255
    return ((pixels - MEAN) / STD).transpose(2, 0, 1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("list", type=Path)
    parser.add_argument("--label", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--save")
    arguments = parser.parse_args()

    rows = [line.split(",") for line in arguments.list.read_text().splitlines() if line.strip()]
    paths = [arguments.list.parent / row[0].strip() for row in rows]
    labels = np.array([int(row[arguments.label]) for row in rows])

    options = ort.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    session = ort.InferenceSession(arguments.model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    faiss.omp_set_num_threads(arguments.threads)

    start = time.perf_counter()
    embeddings = []
    with ThreadPoolExecutor(arguments.threads) as pool:
        images = pool.map(load, paths)
        batch = []
        for image in images:
            batch.append(image)
            if len(batch) == arguments.batch:
                embeddings.append(session.run(None, {name: np.stack(batch)})[0])
                batch = []
        if batch:
            embeddings.append(session.run(None, {name: np.stack(batch)})[0])
    embeddings = np.ascontiguousarray(np.concatenate(embeddings), np.float32)
    embedded = time.perf_counter() - start
    if arguments.save:
        np.save(arguments.save, embeddings)

    start = time.perf_counter()
    faiss.normalize_L2(embeddings)
    index = faiss.IndexFlatIP(embeddings.shape[1])
    index.add(embeddings)
    _, neighbours = index.search(embeddings, 9)
    recall = {}
    hits = [labels[[n for n in row if n != at][:8]] == labels[at] for at, row in enumerate(neighbours)]
    for k in (1, 2, 4, 8):
        recall[f"recall@{k}"] = float(np.mean([hit[:k].any() for hit in hits]))
    searched = time.perf_counter() - start
    print(json.dumps({**recall, "images": len(paths), "seconds_embed": embedded, "seconds_search": searched}))


if __name__ == "__main__":
    main()
