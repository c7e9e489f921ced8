"""Writes significance.json: samples, and what scipy says of them. Compared with `pdloss-eval compare` in
../it/compare.rs. Ran with numpy 2.4.6 and scipy 1.17.1: python significance.py > significance.json
"""
import json

import numpy as np
from scipy import stats

random = np.random.default_rng(2025)
DRAWS = 20_000


def d_prime(scores, same):
    genuine, impostor = scores[same], scores[~same]
    return abs(genuine.mean() - impostor.mean()) / np.sqrt((genuine.var() + impostor.var()) / 2)


def both(samples, statistic, paired_samples, resampled, resampled_statistic):
    """p of the paired permutation test (models exchanged) and the percentile interval of the same statistic."""
    test = stats.permutation_test(paired_samples, statistic, permutation_type="samples", vectorized=False,
                                  n_resamples=DRAWS, rng=np.random.default_rng(1))
    interval = stats.bootstrap(resampled, resampled_statistic, paired=True, vectorized=False, method="percentile",
                               n_resamples=DRAWS, rng=np.random.default_rng(2)).confidence_interval
    return {**samples, "value": float(test.statistic), "p": float(test.pvalue), "from": float(interval.low),
            "to": float(interval.high)}


def mean_difference(a, b):
    return float(np.mean(b) - np.mean(a))


def queries(count, shift):
    a = np.round(random.random(count), 3)
    b = np.round(np.clip(a + random.normal(shift, 0.1, count), 0, 1), 3)
    return both({"a": a.tolist(), "b": b.tolist()}, mean_difference, (a, b), (a, b), mean_difference)


def classes(count, shift):
    """Queries of a class are exchanged and drawn together: the units are sums over classes."""
    class_of = np.sort(random.integers(0, count, 8 * count))
    a = np.round(random.random(len(class_of)), 3)
    effect = random.normal(shift, 0.1, count)
    b = np.round(np.clip(a + effect[class_of] + random.normal(0, 0.02, len(a)), 0, 1), 3)
    present = np.unique(class_of)
    sums = np.array([(b - a)[class_of == c].sum() for c in present])
    sizes = np.array([(class_of == c).sum() for c in present])
    found = both({}, lambda s, none: float((s.sum() - none.sum()) / sizes.sum()), (sums, np.zeros_like(sums)),
                 (sums, sizes), lambda s, n: float(s.sum() / n.sum()))
    return {**found, "a": a.tolist(), "b": b.tolist(), "class": class_of.tolist()}


def pairs(count):
    same = np.arange(count) % 3 == 0
    a = np.round(random.normal(0, 1, count) + 1.6 * same, 3)
    b = np.round(0.7 * a + random.normal(0, 0.6, count) + 0.75 * same, 3)
    # exchanged on one scale: d' of each model stays what it is
    def scaled(s):
        g, i = s[same], s[~same]
        return (s - (g.mean() + i.mean()) / 2) / np.sqrt((g.var() + i.var()) / 2)
    difference = lambda x, y: float(d_prime(y, same) - d_prime(x, same))
    drawn = lambda x, y, m: float(d_prime(y, m.astype(bool)) - d_prime(x, m.astype(bool)))
    return both({"a": a.tolist(), "b": b.tolist(), "same": same.tolist()}, difference, (scaled(a), scaled(b)),
                (a, b, same.astype(int)), drawn)


def discordant(only_a, only_b, count):
    """Hits or misses: exchanging models query by query is McNemar's exact test, a binomial one."""
    a = np.array([1] * only_a + [0] * only_b + [1] * (count - only_a - only_b))
    b = np.array([0] * only_a + [1] * only_b + [1] * (count - only_a - only_b))
    p = stats.binomtest(only_a, only_a + only_b).pvalue
    return {"a": a.tolist(), "b": b.tolist(), "value": float(b.mean() - a.mean()), "p": float(p)}


print(json.dumps({
    "numpy": np.__version__,
    "few_queries": queries(12, 0.09),
    "queries": queries(120, 0.03),
    "classes": classes(30, 0.03),
    "pairs": pairs(300),
    "hits": discordant(14, 31, 400),
}, indent=None, separators=(",", ":")))
