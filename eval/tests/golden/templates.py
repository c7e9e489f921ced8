"""Makes `templates.json`: a small protocol in the manner of IJB-C, and its figures by numpy alone.

usage: templates.py (numpy 2)

Embeddings have four decimals, which float32 does not hold exactly; figures are far from ties. Definitions: a template is the mean over
its media of the mean over their images, of unit length (Maze et al. 2018); TAR at the smallest observed score whose FAR is at most the
target; rank-k: share of mated probes whose subject is among the k nearest of the gallery; TPIR at FPIR at rank 1.
"""
import json
from pathlib import Path

import numpy as np

rng = np.random.default_rng(21)
SUBJECTS, DIM = 80, 8
centres = rng.standard_normal((SUBJECTS, DIM))
images, members, template_of = [], [], {}


def template(subject):
    """A template of up to three media of up to three images, each medium with noise of its own."""
    name = str(1000 + 7 * len(template_of))
    template_of[name] = subject
    for medium in range(rng.integers(1, 4)):
        about = centres[subject] + 0.7 * rng.standard_normal(DIM)
        for _ in range(rng.integers(1, 4)):
            row = (about + 0.3 * rng.standard_normal(DIM)) * rng.uniform(0.5, 2)
            members.append((f"{len(images) + 1}.jpg", name, 50 + medium))
            images.append(np.round(row, 4))
    return name


gallery = [template(subject) for subject in range(SUBJECTS)]
probes = [template(subject) for subject in range(SUBJECTS)]

pooled = {}
for name in template_of:
    rows = [(medium, images[at]) for at, (_, of, medium) in enumerate(members) if of == name]
    means = [np.mean([row for of, row in rows if of == medium], axis=0) for medium in sorted({of for of, _ in rows})]
    mean = np.mean(means, axis=0)
    pooled[name] = mean / np.linalg.norm(mean)

pairs = [(a, b, int(template_of[a] == template_of[b])) for a in gallery for b in probes]
scores = np.array([pooled[a] @ pooled[b] for a, b, _ in pairs])
same = np.array([label for _, _, label in pairs], bool)


def at_fmr(genuine, impostor, target):
    """The smallest observed score that no more than `target` of the impostor scores reach, and the genuine ones that do."""
    for threshold in np.sort(np.concatenate([genuine, impostor])):
        if np.mean(impostor >= threshold) <= target:
            return float(threshold), int(np.sum(genuine >= threshold))
    raise SystemExit("no threshold")


def identify(names):
    enrolled = np.array([pooled[name] for name in names])
    ranks, right, unmated = [], [], []
    for probe in probes:
        similarity = enrolled @ pooled[probe]
        order = np.argsort(-similarity, kind="stable")
        found = [at for at, place in enumerate(order) if template_of[names[place]] == template_of[probe]]
        if not found:
            unmated.append(similarity[order[0]])
        else:
            ranks.append(found[0] + 1)
            if found[0] == 0:
                right.append(similarity[order[0]])
    threshold, accepted = at_fmr(np.array(right), np.array(unmated), 0.1)
    rank = {str(k): float(np.mean(np.array(ranks) <= k)) for k in (1, 5, 10)}
    return {"rank": rank, "tpir": accepted / len(ranks), "threshold": threshold, "mated": len(ranks), "unmated": len(unmated)}


halves = {"G1.csv": gallery[:40], "G2.csv": gallery[40:]}
csv = lambda names: "TEMPLATE_ID,SUBJECT_ID,FILENAME\n" + "".join(
    f"{of},{template_of[of]},img/{image}\n" for name in names for image, of, _ in members if of == name)
out = {
    "names": [name for name, _, _ in members],
    "embeddings": [list(map(float, row)) for row in images],
    "media": "".join(f"{name} {of} {medium}\n" for name, of, medium in members),
    "pairs": "".join(f"{a} {b} {label}\n" for a, b, label in pairs),
    "lists": {name: csv(names) for name, names in halves.items()} | {"probes.csv": csv(probes)},
    "templates": len(template_of),
    "verified": {str(target): dict(zip(("threshold", "accepted"), at_fmr(scores[same], scores[~same], target))) for target in (0.1, 0.01, 0.001)},
    "identified": {name: identify(names) for name, names in halves.items()},
}
Path(__file__).with_suffix(".json").write_text(json.dumps(out) + "\n", encoding="ascii")
