"""Means and their 95 % intervals (Student's t over seeds)."""
import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import t


@dataclass(frozen=True)
class Interval:
    mean: float
    half: float
    count: int

    @staticmethod
    def of(values):
        values = np.asarray(values, float)
        half = math.inf if len(values) < 2 else t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
        return Interval(float(values.mean()), float(half), len(values))

    @property
    def low(self):
        return self.mean - self.half

    @property
    def high(self):
        return self.mean + self.half

    def __str__(self):
        return f"{self.mean:.3f} ± {self.half:.3f}"


def difference(left, right):
    """Of paired values: the same seeds, so the same first weights and batches."""
    return Interval.of(np.subtract(left, right))
