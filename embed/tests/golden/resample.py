"""Writes resample.json, noise.png, photograph.png and what Pillow makes of them: noise_resampled.png and
photograph_resampled.png hold the pixels of all cases one after the other, 256 a row. Compared to the level in
../it/resample.rs. Ran with numpy 2.4.6 and Pillow 13.0.0: python resample.py
"""
import json

import numpy as np
from PIL import Image

random = np.random.default_rng(2026)
FILTERS = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
# Smaller, larger, one axis each way, one axis alone, one pixel, thin.
SIZES = [(7, 5), (40, 31), (9, 37), (37, 6), (23, 11), (10, 17), (1, 1), (64, 1)]
# Left, top, right, bottom: whole and broken pixels, both at the same size and at others.
REGIONS = [((3, 2, 20, 15), (8, 8)), ((0.25, 1.5, 17.75, 16.5), (15, 30)), ((4, 0, 13, 17), (9, 17)),
           ((5.5, 6.25, 6.75, 7), (12, 5))]


def noise():
    """Black and white, where the order of the passes and every rounding shows."""
    return Image.fromarray((random.random((17, 23, 3)) > 0.5).astype(np.uint8) * 255)


def photograph():
    """Smooth light, sharp edges, grain: what photographs have."""
    y, x = np.mgrid[0:17, 0:23] / 17.0
    light = np.stack([90 + 80 * np.sin(2 * x + y), 110 + 70 * np.cos(3 * y - x), 60 + 90 * x * y], -1)
    light[(x - 0.6) ** 2 + (y - 0.5) ** 2 < 0.06] = (230, 200, 40)
    light[5:12, 15:18] = (20, 25, 60)
    return Image.fromarray(np.clip(light + random.normal(0, 6, light.shape), 0, 255).astype(np.uint8))


cases = []
for name, image in [("noise", noise()), ("photograph", photograph())]:
    whole = (0, 0, *image.size)
    pixels = []
    for method in FILTERS:
        for region, size in [(whole, size) for size in SIZES] + REGIONS:
            made = image.resize(size, getattr(Image.Resampling, method.upper()), box=region)
            cases.append({"source": name, "filter": method, "region": region, "size": size})
            pixels.append(np.asarray(made).reshape(-1, 3))
    pixels = np.concatenate(pixels)
    pixels = np.concatenate([pixels, np.zeros((-len(pixels) % 256, 3), np.uint8)])
    image.save(f"{name}.png")
    Image.fromarray(pixels.reshape(-1, 256, 3)).save(f"{name}_resampled.png", optimize=True)
with open("resample.json", "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
