#!/usr/bin/env python3
"""Calculated, not measured: what PDLossWithGrad costs on an H100 when it takes the Gram path on tensor cores.

    plugins/kernels/model.py                        the table: four shapes in float32 and in 16 bits, and where the time goes
    plugins/kernels/model.py --launches B,C,D TYPE  the launches of one call, in order, with their blocks and bytes

A test holds launches, blocks and bytes to what the emulated driver is given: bytes of rows, gradients and matrices that a launch
reads, each once, that it writes, and that its blocks fetch, each once a block. Not among them: lengths, labels and vectors, a few
per cent. Times follow from these bytes, and from instructions read off the sources and the sm_90 image, at these rates (H100 SXM: 132
multiprocessors, 1.755 GHz):

- memory 3.0 TB/s of 3.35, of which a kernel that reads gets 1 / 1.1 and one that reads and writes 1 / 1.15; second-level cache
  5.5 TB/s, 50 MB, of which 20 MB are taken to hold what the launch before read last
- 0.7 us until a row that is asked for is there, 1.2 us from the end of a kernel to the start of the next that needs it; 2 to 4 us in which it starts up and ends
- 4 instructions of a warp a clock and multiprocessor: those of the loops are counted in the sm_90 image, without the ways that aligned
  rows of usual length do not take, by hand (`ISSUED`); f64 and its conversions are slower, but fewer
- 128 bytes a clock and multiprocessor from and to first-level cache and shared memory (`PASSED`)
- tensor cores 2048 f16 multiply-adds a clock and multiprocessor; by mma.sync 60 % of them (wgmma alone gets more)
- floors: a matrix product at its best by 700 TFLOP/s in 16 bits, 400 in TF32

The memory floor reads every row once and writes every gradient once. No way of computing this loss reaches it where rows exceed
the cache: gradients depend on sums over all rows, so that rows are read twice, and at most two thirds of it are in reach. The nearer
floor is the larger of memory's and of tensor cores': three products for float32 (as TF32 would need them), one in 16 bits, the
symmetric Gram matrix once.
"""

import sys

SM, CLOCK, DRAM, CACHE, GAP, KEPT = 132, 1.755e9, 3.0e12, 5.5e12, 1.2e-6, 20e6
WAIT = 4 * 0.7e-6  # a block of long rows loads those of a tile in four parts, one after the other, and has its multiprocessor to itself
TENSOR = 0.6 * 2048 * SM * CLOCK  # f16 multiply-adds a second by mma.sync
EDGE, TILE_ROWS, SWEEP_BLOCKS, GRAM_BLOCKS, SORTED, PROBED, COARSE = 128, 32, 132, 264, 1024, 512, 32768
SHAPES = [(1024, 10**5, 128), (1024, 10**5, 512), (1024, 10**6, 128), (1024, 10**6, 512)]


def up(count, step):
    return -(-count // step)


def cut(counts, most):
    """Rows of a slab and slabs of each side, as plugins/src/cuda/tensor.rs cuts them."""
    share = min(max((most * counts[0] + sum(counts) // 2) // sum(counts), 1), most - 1)
    rows = [up(counts[0], share), up(counts[1], most - share)]
    rows = [up(r, 32) * 32 if r < 512 else up(r, 128) * 128 for r in rows]
    return rows, [up(count, r) for count, r in zip(counts, rows)]


def calls(batch, classes, dim, element):
    """Name, blocks, bytes (read, written, fetched) and seconds of each launch of a call, in order; labels 0, 1, 2 and so on."""
    size, split = 4 if element == "f32" else 2, element != "bf16"
    counts, both = (batch, classes), batch + classes
    strips = up(dim, EDGE)
    pairs, width = strips * (strips + 1) // 2, strips * EDGE
    row = dim * size
    matrix = width * width * (4 if split else 2)
    named = min(batch, classes)  # classes that have a sample
    out = []

    def launch(name, blocks, seconds, read=0, written=0, fetched=None, typed=True):
        moved = (read, written, read if fetched is None else fetched)
        out.append((name + (f"_{element}" if typed else ""), blocks, moved, seconds + GAP))

    # Looks for centres, sorts and clears.
    clear = min(up(classes, 1024), 256)
    launch("prepare", 64 + up(batch, SORTED) + clear, 5e-6, sum(min(count, PROBED) for count in counts) * row)
    run = SORTED
    while run < batch:
        launch("merge_labels", up(batch, 256), 2e-6, typed=False)
        run *= 2

    # The first pass. Of each side: products of strips; a strip with itself takes two, two strips three, of high parts alone one.
    rows, slabs = cut(counts, SWEEP_BLOCKS)
    gram_rows, gram_slabs = (rows, slabs) if strips == 1 else cut(counts, up(GRAM_BLOCKS, pairs))
    coarse = [size == 2 and count >= COARSE for count in counts]
    products = [pairs if c else 2 * strips + 3 * (pairs - strips) for c in coarse]
    grams = sum(gram_slabs) * pairs * EDGE * EDGE * 4
    longest = max(rows)
    issued = ISSUED[element]
    if strips == 1:
        # A block on each multiprocessor; half of its warps multiply while the other half measure and split.
        multiplied = longest * products[1] * EDGE * EDGE / (0.6 * 2048) / CLOCK
        instructions = longest / TILE_ROWS * 8 * issued["sweep"] / 4 / CLOCK
        seconds = max(1.1 * both * row / DRAM, multiplied, instructions) + 4e-6
        launch("sweep", sum(slabs), seconds, both * row, grams)
    else:
        instructions = longest * strips * issued["measure"] / 4 / CLOCK
        launch("measure", sum(slabs), max(1.1 * both * row / DRAM, instructions) + 4e-6, both * row)
        multiplied = sum(count * p for count, p in zip(counts, products)) * EDGE * EDGE / TENSOR
        instructions = pairs * both / TILE_ROWS * 8 * issued["gram"] / 4 / (SM * CLOCK)
        fetched = strips * both * row
        seconds = max(1.1 * both * row / DRAM, fetched / CACHE, multiplied, instructions) + 3e-6
        launch("tensor_gram", (pairs, sum(gram_slabs)), seconds, both * row, grams, fetched)

    # The diagonal pairs' 64 squares are read with their mirror images, but for the eight that are their own.
    fetched = (120 * strips + 64 * (pairs - strips)) * 1024 * sum(gram_slabs) + 2 * batch * row
    launch("settle", 64 * pairs + up(batch, 8) + up(batch, 256), max(5e-6, fetched / CACHE + 3e-6), grams + (batch + named) * row, 2 * matrix, fetched)
    launch("judge", 1, 8e-6, typed=False)

    groups = 1 if strips == 1 else 2 if strips == 2 else 4
    wide = groups == 4
    tile = 16 * (8 // groups) * (2 if wide else 1)
    name = "tensor_gradient_wide" if wide else "tensor_gradient"

    def gradient(count, blocks, extra_read, extra_fetched, kept):
        tiles = up(count, tile)
        multiplied = (3 if split else 1) * width * width * count / TENSOR
        # Splitting and finishing rows, and the products' own instructions, of a warp with a strip of 16 rows or 32.
        warps = tiles * tile * strips / (32 if wide else 16)
        around = warps * issued["around wide" if wide else "around"] / 4 / (SM * CLOCK)
        products = warps * width / 16 * issued["wide" if wide else "step"] / 4 / (SM * CLOCK)
        product = max(multiplied, products, tiles * matrix / CACHE)
        memory = 1.15 * (2 * count * row - min(kept, count * row)) / DRAM
        passed = warps * (PASSED[element] + matrix // strips) / 128 / (SM * CLOCK)
        # With two blocks on a multiprocessor the one multiplies while the other waits or does the rest; one block alone waits, too.
        compute = product + around + up(tiles, SM) * WAIT if wide else max(product, around + products, passed)
        moved = (count * row + matrix + extra_read, count * row, count * row + tiles * matrix + extra_fetched)
        launch(name, blocks, max(memory, compute) + 3e-6, *moved)

    # Beside the embeddings' rows: the links' pieces, which read embeddings again.
    pieces = up(up(batch, 32) * strips, 8)
    partners = sum(min(min(tile, batch - first), classes) for first in range(0, batch, tile))
    gradient(batch, up(batch, tile) + pieces, named * row, partners * row + batch * row, 0)
    last_rows, last_slabs = gram_rows[1], gram_slabs[1]
    blocks = last_slabs * (last_rows // tile) if last_rows % tile == 0 else up(classes, tile)
    gradient(classes, blocks, 0, 0, KEPT)
    return out


# Instructions of a warp: for a tile of 32 rows in `sweep` and, of two strips, in `tensor_gram`; for a row and strip in `measure`; around
# the gradient's product, for 16 rows of a strip or, where rows are long, for 32; for a step of 16 columns in it, of 16 rows or of 32.
ISSUED = {
    "f32": {"sweep": 704, "measure": 106, "gram": 605, "around": 2000, "around wide": 4270, "step": 112, "wide": 197},
    "f16": {"sweep": 690, "measure": 120, "gram": 612, "around": 2200, "around wide": 4600, "step": 112, "wide": 197},
    "bf16": {"sweep": 690, "measure": 120, "gram": 612, "around": 2150, "around wide": 4600, "step": 47, "wide": 67},
}

# Bytes through first-level cache and shared memory for 16 rows of one strip in the gradient, beside the matrix: rows, vectors beside them,
# and deviations in two parts, written once and read four times.
PASSED = {"f32": 66 << 10, "f16": 58 << 10, "bf16": 54 << 10}


def floors(batch, classes, dim, element):
    """Seconds: memory, and tensor cores."""
    rows, size = batch + classes, 4 if element == "f32" else 2
    multiplied = 0.75 * 4 * rows * dim * dim
    return 2 * size * rows * dim / DRAM, (3 * multiplied / 400e12 if element == "f32" else multiplied / 700e12)


def table():
    print("Calculated for an H100; nothing was run on a GPU.\n")
    print("| B, C, D | type | ms | memory floor | tensor-core floor | share of the nearer | of memory's | launches | rows read |")
    print("|---|---|---|---|---|---|---|---|---|")
    for shape in SHAPES:
        for element in ("f32", "bf16"):
            sequence = calls(*shape, element)
            total, (memory, tensor) = sum(seconds for *_, seconds in sequence), floors(*shape, element)
            cells = [", ".join(map(str, shape)), element, f"{total * 1e3:.3f}", f"{memory * 1e3:.3f}", f"{tensor * 1e3:.3f}"]
            cells += [f"{max(memory, tensor) / total:.0%}", f"{memory / total:.0%}", str(len(sequence))]
            # The large launches are those that read all of the classes.
            cells += [str(sum(moved[0] > shape[1] * shape[2] for _, _, moved, _ in sequence))]
            print("| " + " | ".join(cells) + " |")
    for shape in SHAPES:
        for element in ("f32", "bf16"):
            times = {}
            for name, _, _, seconds in calls(*shape, element):
                times[name] = times.get(name, 0) + seconds
            parts = [f"{name} {seconds * 1e3:.3f}" for name, seconds in sorted(times.items(), key=lambda part: -part[1])]
            print(f"\n{', '.join(map(str, shape))}, ms: {', '.join(parts)}")


def main():
    if sys.argv[1:2] == ["--launches"] and len(sys.argv) == 4:
        for name, blocks, moved, _ in calls(*map(int, sys.argv[2].split(",")), sys.argv[3]):
            columns, rows = blocks if isinstance(blocks, tuple) else (blocks, 1)
            print(f"{name} {columns},{rows},1 bytes {' '.join(map(str, moved))}")
    elif len(sys.argv) == 1:
        table()
    else:
        sys.exit(__doc__)


main()
