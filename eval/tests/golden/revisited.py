"""Makes `revisited.json`: a small ground truth in the form of gnd_roxford5k.pkl, and its figures by numpy alone.

usage: revisited.py (numpy 2)

The pickle is there in the protocols of Python 2 (0 and 2) and 3 (4). Ranks are counted in the list without junk; AP is the area under
precision over recall by trapezoids, and P@K stops at the last image to be found, as the benchmark's own code has both.
"""
import json
import pickle
from pathlib import Path

import numpy as np

rng = np.random.default_rng(5)
GALLERY, QUERIES, DIM = 60, 9, 6
names = [f"place_{at:06}" for at in range(GALLERY)]
asked = [f"query_{at}" for at in range(QUERIES)]
truth = []
for at in range(QUERIES):
    order = rng.permutation(GALLERY).tolist()
    easy, hard, junk = order[:5], order[5:9], order[9:16]
    if at == 2:
        easy = []  # in no mean of the setup "easy"
    if at == 4:
        hard, junk = [], []
    truth.append({"bbx": [10.5, 20.0, 110.25, 220.0], "easy": easy, "hard": hard, "junk": junk})
gallery = np.round(rng.standard_normal((GALLERY, DIM)), 3)
queries = []
for of in truth:
    # nearer to what is easy than to what is hard
    towards = [gallery[place] for place in of["easy"]] + [0.3 * gallery[place] for place in of["hard"]]
    queries.append(np.round(np.mean(towards, axis=0) + 0.3 * rng.standard_normal(DIM), 3))
queries = np.array(queries)

unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)
ranked = np.argsort(-(unit(queries) @ unit(gallery).T), axis=1, kind="stable")


def judge(order, wanted, junk):
    left = [place for place in order if place not in junk]
    found = np.array([place in wanted for place in left])
    recall = np.cumsum(found) / len(wanted)
    precision = np.cumsum(found) / np.arange(1, len(left) + 1)
    # before the first image nothing is wrong yet
    recall, precision = np.concatenate([[0], recall]), np.concatenate([[1], precision])
    area = float(np.sum(np.diff(recall) * (precision[1:] + precision[:-1]) / 2))
    last = int(np.flatnonzero(found)[-1]) + 1
    return area, [float(np.mean(found[:min(k, last)])) for k in (1, 5, 10)]


figures = {}
for setup, wanted, ignored in [("easy", ["easy"], ["junk", "hard"]), ("medium", ["easy", "hard"], ["junk"]),
                               ("hard", ["hard"], ["junk", "easy"])]:
    each = []
    for order, of in zip(ranked, truth):
        positives = {place for kind in wanted for place in of[kind]}
        if positives:
            each.append(judge(order, positives, {place for kind in ignored for place in of[kind]}))
    figures[setup] = {"map": float(np.mean([ap for ap, _ in each])), "queries": len(each),
                      "mp": [float(mean) for mean in np.mean([p for _, p in each], axis=0)]}
content = {"imlist": names, "qimlist": asked, "gnd": truth}
out = {
    "pickles": {str(protocol): pickle.dumps(content, protocol).hex() for protocol in (0, 2, 4)},
    "names": names + asked,
    "embeddings": np.concatenate([gallery, queries]).tolist(),
    "figures": figures,
}
Path(__file__).with_suffix(".json").write_text(json.dumps(out) + "\n", encoding="ascii")
