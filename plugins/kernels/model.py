#!/usr/bin/env python3
"""Calculated, not measured: what PDLossWithGrad costs on an H100 when it takes the Gram path on tensor cores.

    plugins/kernels/model.py                        the table: four shapes in float32 and in 16 bits, and where the time goes
    plugins/kernels/model.py --launches B,C,D TYPE  the launches of one call, in order, with their blocks

A test holds the launches to those that the emulated driver is given. Times follow from bytes and instructions read off the sources
and the sm_90 image, at these rates (H100 SXM: 132 multiprocessors, 1.755 GHz):

- memory 3.0 TB/s of 3.35; second-level cache 5.5 TB/s; 1.2 us from the end of a kernel to the start of the next that needs it
- f64 64 multiply-adds and 16 conversions a clock and multiprocessor
- tensor cores 2048 f16 multiply-adds a clock and multiprocessor; by mma.sync 60 % of them (wgmma alone gets more)
- floors: a matrix product at its best by 700 TFLOP/s in 16 bits, 400 in TF32, 50 in f32

The memory floor reads every row once and writes every gradient once. No way of computing this loss reaches it where rows exceed
the cache: gradients depend on sums over all rows, so that rows are read twice. The nearer floor is the larger of memory's and of
tensor cores': three products for float32 (as TF32 would need them), one in 16 bits, the symmetric Gram matrix once.
"""

import sys

SM, CLOCK, DRAM, CACHE, GAP = 132, 1.755e9, 3.0e12, 5.5e12, 1.2e-6
TENSOR = 0.6 * 2048 * SM * CLOCK  # f16 multiply-adds a second by mma.sync
EDGE, BLOCKS, SORTED = 128, 264, 1024
SHAPES = [(1024, 10**5, 128), (1024, 10**5, 512), (1024, 10**6, 128), (1024, 10**6, 512)]


def up(count, step):
    return -(-count // step)


def calls(batch, classes, dim, element):
    """Name, blocks and seconds of each launch of a call, in order."""
    size = 4 if element == "f32" else 2
    split = element == "f32"
    strips = up(dim, EDGE)
    pairs, width = strips * (strips + 1) // 2, strips * EDGE
    out = []

    def launch(name, blocks, seconds, typed=False):
        out.append((name + (f"_{element}" if typed else ""), blocks, seconds + GAP))

    def slabs(count):
        slab = up(up(count, 2048), 32) * 32
        return slab, up(count, slab)

    def by_rows(count, conversions):
        """A kernel that reads rows once and converts each element so many times."""
        return max(1.1 * count * dim * size / DRAM, conversions * count * dim / (SM * 16) / CLOCK) + 2e-6

    def measure(count):
        launch("unit_rows", slabs(count)[1], by_rows(count, 2), True)
        launch("sum_slabs", up(dim, 32), 4e-6)

    def gram(count):
        slab = up(up(count, up(BLOCKS, pairs)), 32) * 32
        parts = up(count, slab)
        # A strip with itself takes two products of high and low parts, two strips take three.
        products = 2 * strips + 3 * (pairs - strips)
        multiplied = products * EDGE * EDGE * count / TENSOR
        between = pairs * count / 32 * 350 / (SM * CLOCK)  # splitting and storing a tile, and two barriers
        read = max(1.1 * count * dim * size / DRAM, strips * strips * EDGE * count * size / CACHE)
        launch("tensor_gram", (pairs, parts), max(read, multiplied + between) + 3e-6, True)
        launch("add_gram", (EDGE * EDGE // 256, pairs), max(3e-6, parts * pairs * EDGE * EDGE * 4 / CACHE + 2e-6))

    def along(count):
        launch("scatter_along", slabs(count)[1], by_rows(count, 4), True)
        launch("sum_slabs", up(dim + 1, 32), 4e-6)

    def gradient(count):
        groups = 1 if strips == 1 else 2 if strips == 2 else 4
        wide = groups == 4
        rows = 16 * (8 // groups) * (2 if wide else 1)
        launch("split_scatter", width // 16, 4e-6)
        multiplied = (3 if split else 1) * width * width * count / TENSOR
        fetched = up(count, rows) * width * width * (4 if split else 2) / CACHE  # the matrix, for each tile of rows
        around = count / rows * (rows / 8 * (150 + 170 * strips) + 1500) / (SM * CLOCK)  # splitting and finishing rows
        resident = 2 if not wide else 1  # with two blocks the one multiplies while the other waits
        compute = max(multiplied / 0.9, fetched) + around / resident
        name = "tensor_gradient_wide" if wide else "tensor_gradient"
        launch(name, up(count, rows), max(1.15 * 2 * count * dim * size / DRAM, compute) + 3e-6, True)

    measure(batch)
    measure(classes)
    launch("cosines", up(batch, 8), 3e-6, True)
    gram(batch)
    gram(classes)
    along(batch)
    along(classes)
    launch("scatter_products", dim, 3e-6)
    launch("conclude", 1, 8e-6)
    launch("weigh", 1, 5e-6)
    gradient(batch)
    launch("sort_labels", up(batch, SORTED), 5e-6)
    run = SORTED
    while run < batch:
        launch("merge_labels", up(batch, 256), 2e-6)
        run *= 2
    launch("no_heads", min(max(up(classes, 256), 1), 4096), 2e-6)
    launch("heads", up(batch, 256), 2e-6)
    launch("gather_links", (up(batch, 32), up(dim, 128)), 8e-6, True)
    gradient(classes)
    return out


def floors(batch, classes, dim, element):
    """Seconds: memory, and tensor cores."""
    rows, size = batch + classes, 4 if element == "f32" else 2
    multiplied = 0.75 * 4 * rows * dim * dim
    return 2 * size * rows * dim / DRAM, (3 * multiplied / 400e12 if element == "f32" else multiplied / 700e12)


def table():
    print("Calculated for an H100; nothing was run on a GPU.\n")
    print("| B, C, D | type | ms | memory floor | tensor-core floor | share of the nearer | of memory's | launches |")
    print("|---|---|---|---|---|---|---|---|")
    for shape in SHAPES:
        for element in ("f32", "bf16"):
            sequence = calls(*shape, element)
            total, (memory, tensor) = sum(seconds for *_, seconds in sequence), floors(*shape, element)
            cells = [", ".join(map(str, shape)), element, f"{total * 1e3:.3f}", f"{memory * 1e3:.3f}", f"{tensor * 1e3:.3f}"]
            cells += [f"{max(memory, tensor) / total:.0%}", f"{memory / total:.0%}", str(len(sequence))]
            print("| " + " | ".join(cells) + " |")
    for shape in (SHAPES[0], SHAPES[3]):
        times = {}
        for name, _, seconds in calls(*shape, "f32"):
            times[name] = times.get(name, 0) + seconds
        parts = [f"{name} {seconds * 1e3:.3f}" for name, seconds in sorted(times.items(), key=lambda part: -part[1])]
        print(f"\n{', '.join(map(str, shape))} in f32, ms: {', '.join(parts)}")


def main():
    if sys.argv[1:2] == ["--launches"] and len(sys.argv) == 4:
        for name, blocks, _ in calls(*map(int, sys.argv[2].split(",")), sys.argv[3]):
            columns, rows = blocks if isinstance(blocks, tuple) else (blocks, 1)
            print(f"{name} {columns},{rows},1")
    elif len(sys.argv) == 1:
        table()
    else:
        sys.exit(__doc__)


main()
