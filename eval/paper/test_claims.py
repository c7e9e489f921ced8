"""The verdicts on made results: a planted difference is found either way, and none where there is none."""
import unittest

import numpy as np

import claims
from interval import Interval, difference


def runs(mean, noise=0.002):
    """Results of five seeds around `mean`; the seeds' common part is large and paired away."""
    random = np.random.default_rng(round(1e6 * mean))
    return [{"recall": [mean + common + noise * random.standard_normal()]} for common in (-0.1, -0.05, 0.0, 0.05, 0.1)]


def cost(pd, pairs):
    return [{"axis": "batch", "name": name, "batch": 64, "classes": 100, "seconds": seconds}
            for name, seconds in (("pd", 9.0), ("pd in standard operators", pd), ("d-loss", pairs), ("multi-similarity", pairs))]


class Verdicts(unittest.TestCase):
    def test_intervals_are_student_s(self):
        found = Interval.of([1.0, 2.0, 3.0, 4.0, 5.0])
        self.assertAlmostEqual(found.mean, 3.0)
        self.assertAlmostEqual(found.half, 2.776445 * np.sqrt(2.5 / 5), places=5)
        self.assertEqual(Interval.of([1.0]).half, float("inf"))

    def test_pairs_cancel_what_seeds_share(self):
        self.assertLess(difference(claims.last(runs(0.6)), claims.last(runs(0.5))).half, 0.01)

    def test_an_interval_decides_only_on_one_side_of_the_bound(self):
        for mean, wanted in ((0.1, "holds"), (-0.1, "does not hold"), (0.01, "undecided"), (-0.01, "undecided")):
            self.assertEqual(claims.verdict(Interval(mean, 0.05, 5)), wanted)
        self.assertEqual(claims.verdict(Interval(float("nan"), 0.05, 5)), "undecided")
        self.assertEqual(claims.verdict(Interval(-0.01, 0.005, 5), -0.02), "holds")

    def test_planted_differences_are_found_either_way(self):
        for pd, others, wanted in ((0.8, 0.7, "holds"), (0.7, 0.8, "does not hold")):
            losses = {"pd": runs(pd), "pd-negative": runs(others), "d-loss": runs(others), "softmax": runs(others)}
            sizes = {("pd", 8): runs(0.5), ("pd", 64): runs(1.3 - pd), ("d-loss", 8): runs(0.5), ("d-loss", 64): runs(1.3 - others)}
            results = {"figure2": {"made": losses}, "figure3": {"made": losses}, "figure4": {"made": sizes}, "cost": cost(1 - pd, 1 - others)}
            found = claims.claims(results)
            self.assertEqual([verdict for _, _, verdict in found], [wanted] * 5 + ["not testable here"], found)

    def test_no_difference_is_no_verdict(self):
        losses = {"pd": runs(0.7), "pd-negative": runs(0.7), "d-loss": runs(0.7)}
        found = [*claims.logarithm({"figure2": {"made": losses}}), *claims.proxies({"figure2": {"made": losses}}), *claims.cheaper({"cost": cost(1.0, 1.05)})]
        self.assertEqual([verdict for _, _, verdict in found], ["undecided"] * 3)


if __name__ == "__main__":
    unittest.main()
