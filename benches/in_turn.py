"""The same training step on two sides, each in a process of its own, in turn: losses compared first, then times and peak memory."""

import json
import pathlib
import re
import statistics
import sys
import time

# Steps whose losses must agree, before those that are timed.
AGREE = 3


def serve(step):
    """Makes a step for each line; answers with its seconds, its loss, and the peak memory of the process in MiB."""
    for _ in sys.stdin:
        start = time.perf_counter()
        loss = step()
        seconds = time.perf_counter() - start
        # Not ru_maxrss: that begins at the peak of the process which started this one.
        peak = int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path("/proc/self/status").read_text())[1]) / 1024
        print(json.dumps([seconds, loss, peak]), flush=True)


def timed(name, workers, rounds, least):
    """Median seconds and peak MiB by side, of workers that `serve`, `ours` and others. The first loss, of equal weights, must agree
    within 1e-4 of itself, or of `least` where that is more; those of the next steps within a hundredth, as Adam's first updates are
    the signs of gradients, and where one of a deep net is nearly zero its sign is rounding's."""
    rows = {side: [] for side in workers}
    for turn in range(AGREE + rounds):
        for side, worker in workers.items():
            worker.stdin.write("step\n")
            worker.stdin.flush()
            answer = worker.stdout.readline()
            if not answer:
                sys.exit(f"{name}: {side} ended early")
            rows[side].append(json.loads(answer))
        here = rows["ours"][-1][1]
        for side, there in ((side, found[-1][1]) for side, found in rows.items()):
            if turn < AGREE and not abs(here - there) <= (1e-2 if turn else 1e-4) * max(least, abs(there)):
                sys.exit(f"{name}: loss {here} here, {there} there ({side}) at step {turn}: times mean nothing")
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    seconds = {side: statistics.median(row[0] for row in found[AGREE:]) for side, found in rows.items()}
    return seconds, {side: found[-1][2] for side, found in rows.items()}
