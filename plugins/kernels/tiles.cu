// The tiles path: similarities of a band of classes (D-Loss: of samples) with all samples, formed and gone again.
// CPU twin: src/loss/tiles.rs; for D-Loss src/loss/dloss.rs.
//
// Both sides are centred, and a tile holds r = b_c . a_i. The similarity is
//
//     s = centre + e        centre = zbar . qbar        e = r + zbar . b_c + qbar . a_i
//
// so that f32 carries only the deviation e. Pairs are told apart entry by entry: nothing is taken out of a total, so few
// classes far apart cost no accuracy. (The CPU takes genuine pairs out afterwards and uses f64 there instead.)
#include "common.cuh"

struct Tile {
    float *values;            // [band.count, columns]: r
    const double *row_along;  // zbar . b_c for all classes
    const double *col_along;  // [columns]: qbar . a_i
    Labels labels;            // of the columns
    Band band;                // which classes the rows are
    u32 columns, pairs;       // pairs 1: the rows are samples too (D-Loss); genuine where labels agree, a sample with itself is none

    __device__ u32 entries() const { return band.count * columns; }  // below 2^31: the host sees to it
    __device__ double deviation(u32 row, u32 column) const {
        return values[(u64)row * columns + column] + row_along[band.first + row] + col_along[column];
    }
    __device__ bool genuine(u32 row, u32 column) const {
        const long long own = pairs ? label_at(labels, band.first + row) : (long long)band.first + row;
        return label_at(labels, column) == own;
    }
    __device__ bool itself(u32 row, u32 column) const { return pairs && band.first + row == column; }
};
static_assert(sizeof(Tile) == 56, "as in params.rs");

struct SumTile {
    Tile tile;
    double *out;  // [blocks, TILE_SUMS]
};
static_assert(sizeof(SumTile) == 64, "as in params.rs");

// Launch: blocks of 256 threads stride over the entries; their sums are added up in `conclude`.
extern "C" __global__ void __launch_bounds__(256) sum_tile(SumTile p) {
    double sums[TILE_SUMS] = {};
    for (u32 at = blockIdx.x * blockDim.x + threadIdx.x; at < p.tile.entries(); at += gridDim.x * blockDim.x) {
        const u32 row = at / p.tile.columns, column = at % p.tile.columns;
        if (p.tile.itself(row, column)) continue;
        const double e = p.tile.deviation(row, column);
        const bool genuine = p.tile.genuine(row, column);
        // Constant indices keep the sums in registers.
        sums[0] += genuine ? 0 : 1;
        sums[1] += genuine ? 0 : e;
        sums[2] += genuine ? 0 : e * e;
        sums[3] += genuine ? 1 : 0;
        sums[4] += genuine ? e : 0;
        sums[5] += genuine ? e * e : 0;
    }
    for (u32 k = 0; k < TILE_SUMS; k++) {
        const double sum = block_sum(sums[k]);
        if (threadIdx.x == 0) p.out[blockIdx.x * TILE_SUMS + k] = sum;
    }
}

struct WeighTile {
    Tile tile;
    const Weights *weights;
    double *column_sums;  // [slabs, columns], or null
    u32 slab, unused;     // rows in a slab
};
static_assert(sizeof(WeighTile) == 80, "as in params.rs");

// Every entry becomes the weight of its pair, rounded to f32, and the weights of each column are added up as rounded.
//
// Launch: blockIdx.y is a slab of rows, blockIdx.x * 256 + thread a column. Two-stage: `sum_slabs` adds the slabs.
extern "C" __global__ void __launch_bounds__(256) weigh_tile(WeighTile p) {
    const u32 column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= p.tile.columns) return;
    const Weights weights = *p.weights;
    const u32 first = blockIdx.y * p.slab;
    const u32 last = first + p.slab < p.tile.band.count ? first + p.slab : p.tile.band.count;
    double sum = 0;
    for (u32 row = first; row < last; row++) {
        const double similarity = weights.centre + p.tile.deviation(row, column);
        const double weight = p.tile.itself(row, column)    ? 0.0
                              : p.tile.genuine(row, column) ? weights.genuine(similarity)
                                                            : weights.impostor(similarity);
        const float rounded = (float)weight;
        p.tile.values[(u64)row * p.tile.columns + column] = rounded;
        sum += rounded;
    }
    if (p.column_sums) p.column_sums[(u64)blockIdx.y * p.tile.columns + column] = sum;
}
