"""Median seconds of the plain PD-Loss, forward and backward, in numpy: plain_numpy.py B C D REPEATS."""

import sys
import time

import numpy as np


def unit(rows):
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    return rows / length, length


def forward_backward(x, p, y):
    z, x_length = unit(x)
    q, p_length = unit(p)
    s = z @ q.T
    batch, classes = s.shape
    rows = np.arange(batch)
    own = s[rows, y].astype(np.float64)
    n_g, n_m = batch, batch * (classes - 1)
    mu_g = own.mean()
    mu_m = (s.sum(dtype=np.float64) - own.sum()) / n_m
    s -= np.float32(mu_m)
    flat = s.ravel()
    squares = float(np.dot(flat, flat))
    variance = own.var() + (squares - ((own - mu_m) ** 2).sum()) / n_m + 1e-12
    d_prime = (mu_g - mu_m) / np.sqrt(variance / 2)
    loss = 0.5 * np.log(2) + (-np.log(d_prime) if d_prime > 1 else 1 - d_prime)
    steep = 1 / d_prime if d_prime > 1 else 1.0
    pull, squeeze = steep / np.sqrt(variance / 2), steep * d_prime / (2 * variance)
    s *= np.float32(2 * squeeze / n_m)
    s += np.float32(pull / n_m)
    s[rows, y] = ((2 * squeeze * (own - mu_g) - pull) / n_g).astype(np.float32)
    dz, dq = s @ q, s.T @ z
    dz -= z * np.einsum("ij,ij->i", z, dz)[:, None]
    dq -= q * np.einsum("ij,ij->i", q, dq)[:, None]
    dz /= x_length
    dq /= p_length
    return loss, dz, dq


def main():
    batch, classes, dim, repeats = map(int, sys.argv[1:])
    random = np.random.default_rng(0)
    p = random.standard_normal((classes, dim), dtype=np.float32)
    y = np.arange(batch) * 7919 % classes
    x = p[y] + np.float32(1.5) * random.standard_normal((batch, dim), dtype=np.float32)
    times = []
    forward_backward(x, p, y)
    for _ in range(repeats):
        start = time.perf_counter()
        forward_backward(x, p, y)
        times.append(time.perf_counter() - start)
    print(sorted(times)[len(times) // 2])


main()
