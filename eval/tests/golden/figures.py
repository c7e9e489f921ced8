"""Writes figures.json: scores and embeddings, and what scikit-learn and numpy say of them. Compared with `pdloss-eval scores`
and `pdloss-eval recall` in ../it/figures.rs. Ran with numpy 2.4.6, scipy 1.17.1 and scikit-learn 1.9.1: python figures.py > figures.json
"""
import json

import numpy as np
from scipy.spatial import ConvexHull
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (accuracy_score, average_precision_score, balanced_accuracy_score, f1_score, ndcg_score,
                             roc_auc_score)

PRIORS, MISS, FALSE_MATCH = [0.3, 0.01], 10.0, 2.0
random = np.random.default_rng(11)


def log_odds(p):
    with np.errstate(divide="ignore"):
        return np.log(p) - np.log(1 - p)


def cllr(genuine, impostor):
    return float((np.mean(np.logaddexp(0, -genuine)) + np.mean(np.logaddexp(0, impostor))) / (2 * np.log(2)))


def rates(genuine, impostor, threshold):
    return np.mean(impostor >= threshold), np.mean(genuine < threshold)


def cost(prior, fmr, fnmr):
    miss, false_match = MISS * prior, FALSE_MATCH * (1 - prior)
    return float((miss * fnmr + false_match * fmr) / min(miss, false_match))


def hull_eer(points):
    """Where the lower hull of (FMR, FNMR) meets the diagonal."""
    points = np.unique(np.vstack([points, [[0, 1], [1, 0]], [[1, 1]]]), axis=0)
    best = 0.0
    for a, b, c in ConvexHull(points).equations:  # a x + b y + c <= 0 inside; lower left facets have a, b < 0
        if a < 0 and b < 0:
            best = max(best, -c / (a + b))
    return float(best)


def figures(genuine, impostor, dev_genuine, dev_impostor):
    scores = np.r_[genuine, impostor]
    labels = np.r_[np.ones(len(genuine)), np.zeros(len(impostor))]
    thresholds = [*np.unique(scores), np.inf]
    found = {}
    for name, score in [("best_accuracy", accuracy_score), ("best_balanced_accuracy", balanced_accuracy_score),
                        ("best_f1", f1_score)]:
        found[name] = max(float(score(labels, scores >= t)) for t in thresholds)
    points = np.array([rates(genuine, impostor, t) for t in thresholds])
    found["eer_rocch"] = hull_eer(points)
    for part in (0.1, 0.01):
        found[f"pauc@fmr={part}"] = float(roc_auc_score(labels, scores, max_fpr=part))
    isotonic = IsotonicRegression().fit(scores, labels)
    odds = np.log(len(genuine) / len(impostor))
    found["cllr"] = cllr(genuine, impostor)
    found["min_cllr"] = cllr(*(log_odds(isotonic.predict(s)) - odds for s in (genuine, impostor)))
    dev = np.r_[dev_genuine, dev_impostor][:, None], np.r_[np.ones(len(dev_genuine)), np.zeros(len(dev_impostor))]
    model = LogisticRegression(C=np.inf, class_weight="balanced", tol=1e-13, max_iter=10_000, solver="newton-cg").fit(*dev)
    line = lambda s: model.coef_[0, 0] * s + model.intercept_[0]
    found["logistic_slope"], found["logistic_offset"] = float(model.coef_[0, 0]), float(model.intercept_[0])
    found["cllr_logistic"] = cllr(line(genuine), line(impostor))
    for prior in PRIORS:
        threshold = np.log(FALSE_MATCH * (1 - prior)) - np.log(MISS * prior)
        found[f"min_dcf@prior={prior}"] = min(cost(prior, *rates(genuine, impostor, t)) for t in thresholds)
        found[f"act_dcf@prior={prior}"] = cost(prior, *rates(genuine, impostor, threshold))
        found[f"act_dcf_logistic@prior={prior}"] = cost(prior, *rates(line(genuine), line(impostor), threshold))
    dev_points = [(t, *rates(dev_genuine, dev_impostor, t)) for t in np.unique(dev[0])]
    threshold = min(dev_points, key=lambda p: abs(p[1] - p[2]))[0]
    found["hter"] = float(np.mean(rates(genuine, impostor, threshold)))
    return found


def lists(genuine, impostor, shift, digits):
    return (np.round(random.normal(shift, 1.5, genuine), digits), np.round(random.normal(-1, 1, impostor), digits))


def case(genuine, impostor, digits):
    test, dev = lists(genuine, impostor, 1.5, digits), lists(genuine // 2, impostor // 2, 1.0, digits)
    named = dict(zip(["genuine", "impostor", "dev_genuine", "dev_impostor"], [list(map(float, l)) for l in (*test, *dev)]))
    return {**named, "figures": figures(*test, *dev)}


def retrieval(rows, dims, classes, ks):
    labels = random.integers(0, classes, rows)
    matrix = np.round(random.normal(0, 1, (classes, dims))[labels] + random.normal(0, 1.1, (rows, dims)), 2)
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    found = {name: [] for name in ["map", "mrr", *(f"{name}@{k}" for k in ks for name in ("precision", "map", "ndcg"))]}
    for query in range(rows):
        others = np.arange(rows) != query
        scores, relevant = (unit @ unit[query])[others], (labels == labels[query])[others]
        if not relevant.any():
            continue
        found["map"].append(average_precision_score(relevant, scores))
        ranked = relevant[np.argsort(-scores, kind="stable")]
        found["mrr"].append(1 / (1 + np.argmax(ranked)))
        for k in ks:
            top = ranked[:k]
            found[f"precision@{k}"].append(top.mean())
            precisions = np.cumsum(top) / np.arange(1, k + 1)
            found[f"map@{k}"].append((precisions * top).sum() / min(k, relevant.sum()))
            found[f"ndcg@{k}"].append(ndcg_score([relevant.astype(float)], [scores], k=k))
    return {"labels": labels.tolist(), "matrix": matrix.tolist(), "ks": list(ks),
            "figures": {name: float(np.mean(values)) for name, values in found.items()}}


print(json.dumps({"priors": PRIORS, "cost_miss": MISS, "cost_false_match": FALSE_MATCH,
                  "cases": [case(80, 400, 1), case(200, 350, 3)], "retrieval": retrieval(90, 6, 12, (1, 5, 10))}, separators=(",", ":")))
