"""What the shared cases are too small for, on a GPU: one label for all, 65,536 samples, float32 without tensor cores, and sessions on
several streams at once. Called by gpu-check; fails without a GPU.

    python gpu_shapes.py LIBRARY
"""

import os
import pathlib
import sys
import threading

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "benches"))
from cuda import Ort, check, model_of_node, truth  # noqa: E402

OUTPUTS = ("loss", "embeddings_grad", "proxies_grad")


def problem(batch, classes, dim, seed=0, one_label=False):
    random = torch.Generator(device="cuda").manual_seed(seed)
    p = torch.randn(classes, dim, generator=random, device="cuda")
    labels = torch.randint(classes, (batch,), generator=random, device="cuda")
    if one_label:
        labels.fill_(classes // 2)
    x = p[labels] + torch.randn(batch, dim, generator=random, device="cuda")
    feeds = {"embeddings": x, "proxies": p, "labels": labels}
    moments = torch.zeros(8, dtype=torch.float64, device="cuda")
    results = {"loss": torch.zeros((), device="cuda"), "moments": moments}
    results |= {"embeddings_grad": torch.zeros_like(x), "proxies_grad": torch.zeros_like(p)}
    return feeds, results


def session(library, feeds, results):
    return Ort(library, model_of_node("PDLossWithGrad", list(results)), feeds, results)


def hold(library, shape, **how):
    feeds, results = problem(*shape, **how)
    session(library, feeds, results)()
    torch.cuda.synchronize()
    for name, want in zip(OUTPUTS, truth(feeds["embeddings"], feeds["proxies"], feeds["labels"])):
        check(f"{name} at {shape} {how}", results[name], want)


def hold_streams(library):
    """Four sessions, each on a stream of its own and in a thread of its own, twenty runs each: the bits of a run alone."""
    wanted, failed = {}, []
    for seed in range(4):
        feeds, results = problem(512, 20_000, 128, seed)
        session(library, feeds, results)()
        torch.cuda.synchronize()
        wanted[seed] = {name: results[name].clone() for name in OUTPUTS}

    def work(seed):
        with torch.cuda.stream(torch.cuda.Stream()):
            feeds, results = problem(512, 20_000, 128, seed)
            run = session(library, feeds, results)
            for _ in range(20):
                run()
                torch.cuda.current_stream().synchronize()
                failed.extend(f"{name}, seed {seed}" for name in OUTPUTS if not torch.equal(results[name], wanted[seed][name]))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        sys.exit(f"on several streams at once other bits came out: {failed[0]}")


def main():
    library = sys.argv[1]
    if not torch.cuda.is_available():
        sys.exit("gpu_shapes.py: no GPU")
    torch.cuda.set_stream(torch.cuda.Stream())
    hold(library, (4096, 10_000, 128), one_label=True)
    hold(library, (4096, 10_000, 512), one_label=True)
    hold(library, (65_536, 10_000, 128))
    hold(library, (1024, 20_000, 300))
    os.environ["PDLOSS_CUDA_PRODUCTS"] = "f32"
    hold(library, (1024, 20_000, 128))
    del os.environ["PDLOSS_CUDA_PRODUCTS"]
    hold_streams(library)
    print("one label, 65,536 samples, float32 without tensor cores: right; four streams at once: equal to the bit")


main()
