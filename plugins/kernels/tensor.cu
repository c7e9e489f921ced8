// The two large products of the Gram path on tensor cores, from rows to results: centred rows are made, multiplied and used
// up inside a block, and never written. What cuBLAS does elsewhere (gram.cu, gradient.cu) is the same mathematics in f32.
//
// Gradients of 16-bit rows get along with one product of high parts, whose rounding is that of their own type. The Gram matrix of few
// rows does not: moments are f64, and few rows do not average a rounding away (see `COARSE` in plugins/src/cuda/tensor.rs).
#include "products.cuh"

struct TensorGram {
    Side embeddings, proxies;  // with centres in place of means
    float *partials;           // [slabs, pairs of strips, EDGE, EDGE]
    u32 slab_rows[2];          // rows in a slab of each side, a multiple of TILE_ROWS
    u32 slabs;                 // of embeddings, before those of proxies
    u32 coarse;                // as in `Sweep`
};
static_assert(sizeof(TensorGram) == 88, "as in params.rs");

// What a lane holds of a strip: its four columns' mean, and of the next tile two pairs of rows.
template <class T>
struct Strip {
    Four high, low;
    Raw<T> rows[2][2];

    __device__ void find(const Side &side, u32 d) {
        UNROLLED
        for (u32 k = 0; k < 4; k++) {
            const Twice mean(d + k < side.dim ? side.mean[d + k] : 0.0);
            high.at[k] = mean.high;
            low.at[k] = mean.low;
        }
    }

    __device__ void load(const Side &side, u32 start, u32 last, u32 d) {
        UNROLLED
        for (u32 pair = 0; pair < 2; pair++)
            UNROLLED
            for (u32 odd = 0; odd < 2; odd++) {
                const u32 row = start + 4 * warp() + 2 * pair + odd;
                const T *at = (const T *)side.rows + (u64)row * side.dim + d;
                if (row >= last) continue;
                READ(at, inside4(d, side.dim));
                rows[pair][odd] = load_raw((const T *)side.rows + (u64)row * side.dim, d, side.dim);
            }
    }

    __device__ void store(const Side &side, u32 start, u32 last, u32 d, float times, u32 (*highs)[PITCH],
                          u32 (*lows)[PITCH]) const {
        UNROLLED
        for (u32 pair = 0; pair < 2; pair++) {
            float a[2][4];
            UNROLLED
            for (u32 odd = 0; odd < 2; odd++) {
                const u32 row = start + 4 * warp() + 2 * pair + odd;
                const double reciprocal = row < last ? side.reciprocals[row] : 0.0;
                const Twice parts(reciprocal);
                const Four x = rows[pair][odd].wide();
                UNROLLED
                for (u32 k = 0; k < 4; k++)
                    a[odd][k] = row < last && d + k < side.dim
                                    ? centred(x.at[k], reciprocal, parts, high.at[k], low.at[k])
                                    : 0.0f;
            }
            UNROLLED
            for (u32 k = 0; k < 4; k++) {
                const Pair word = split<true>(a[0][k], a[1][k], times);
                highs[2 * warp() + pair][4 * lane() + k] = word.high;
                lows[2 * warp() + pair][4 * lane() + k] = word.low;
            }
        }
    }
};

// What shared memory holds: of a tile, of its left or right strip, the high or low parts.
__device__ inline u32 (*plane(u32 *shared, u32 buffer, u32 strip, u32 low))[PITCH] {
    return (u32(*)[PITCH])(shared + ((buffer * 2 + strip) * 2 + low) * (TILE_ROWS / 2) * PITCH);
}

// Sums over a slab's rows of the products of two strips' columns, for each pair of strips once. A strip with itself gives
// M = high' (high + 2 low): `settle` takes the mean of M and its transpose, which is the product with both low parts.
//
// Two tiles are in shared memory, which the warps take in turns as in `sweep`.
//
// Launch: blockIdx.x a pair of strips, blockIdx.y a slab of either side, 256 threads, dynamic shared memory for 8 planes. Eight warps
// make 64 x 32 each.
template <class T>
__device__ void tensor_gram(const TensorGram &p) {
    DYNAMIC_SHARED(shared);
    u32 left = 0, right = blockIdx.x;
    while (right > left) right -= ++left;
    const bool same = left == right;
    const u32 second = same ? 0 : 1;  // where the right strip is
    const bool proxies = blockIdx.y >= p.slabs, fine = !(p.coarse >> (proxies ? 1 : 0) & 1);
    const Side side = choose(proxies, p.embeddings, p.proxies);
    const u32 slab_rows = proxies ? p.slab_rows[1] : p.slab_rows[0];
    const u32 first = (proxies ? blockIdx.y - p.slabs : blockIdx.y) * slab_rows;
    const u32 last = first + slab_rows < side.count ? first + slab_rows : side.count;
    const u32 columns[2] = {left * EDGE + 4 * lane(), right * EDGE + 4 * lane()};
    Strip<T> strips[2];
    // Constant indices keep the strips in registers.
    UNROLLED
    for (u32 s = 0; s < 2; s++) {
        if (s > second) continue;
        strips[s].find(side, columns[s]);
        strips[s].load(side, first, last, columns[s]);
    }

    const u32 m = warp() % 2 * 64, n = warp() / 2 * 32, g = lane() / 4, t = lane() % 4;
    const u32 tiles = (last - first + TILE_ROWS - 1) / TILE_ROWS;
    float whole[4][4][4] = {};
    // Turn k splits tile k and multiplies tile k - 1.
    ROLLED
    for (u32 turn = 0; turn <= tiles; turn++) {
        ROLLED
        for (u32 half = 0; half < 2; half++) {
            const u32 start = first + turn * TILE_ROWS;
            if ((half == 0) == (warp() < 4)) {
                if (turn == tiles) continue;
                UNROLLED
                for (u32 s = 0; s < 2; s++) {
                    if (s > second) continue;
                    strips[s].store(side, start, last, columns[s], same ? 2 : 1, plane(shared, turn % 2, s, 0),
                                    plane(shared, turn % 2, s, 1));
                    strips[s].load(side, start + TILE_ROWS, last, columns[s]);
                }
            } else {
                if (turn == 0) continue;
                const u32 buffer = (turn - 1) % 2;
                u32 right_high[4][2][2], right_low[4][2][2];
                UNROLLED
                for (u32 j = 0; j < 4; j++)
                    UNROLLED
                    for (u32 step = 0; step < 2; step++)
                        UNROLLED
                        for (u32 k = 0; k < 2; k++) {
                            const u32 pair = 8 * step + t + 4 * k, column = n + 8 * j + g;
                            right_high[j][step][k] = plane(shared, buffer, second, 0)[pair][column];
                            right_low[j][step][k] = fine ? plane(shared, buffer, second, 1)[pair][column] : 0;
                        }
                UNROLLED
                for (u32 i = 0; i < 4; i++) {
                    float products[4][4] = {};
                    UNROLLED
                    for (u32 step = 0; step < 2; step++) {
                        u32 high[4], low[4];
                        UNROLLED
                        for (u32 part = 0; part < 4; part++) {
                            const u32 pair = 8 * step + t + part / 2 * 4, column = m + 16 * i + g + part % 2 * 8;
                            high[part] = plane(shared, buffer, 0, 0)[pair][column];
                            low[part] = fine && !same ? plane(shared, buffer, 0, 1)[pair][column] : 0;
                        }
                        UNROLLED
                        for (u32 j = 0; j < 4; j++) multiply_add(products[j], high, right_high[j][step]);
                        if (!fine) continue;
                        UNROLLED
                        for (u32 j = 0; j < 4; j++) multiply_add(products[j], high, right_low[j][step]);
                        if (same) continue;
                        UNROLLED
                        for (u32 j = 0; j < 4; j++) multiply_add(products[j], low, right_high[j][step]);
                    }
                    UNROLLED
                    for (u32 j = 0; j < 4; j++)
                        UNROLLED
                        for (u32 c = 0; c < 4; c++) whole[i][j][c] += products[j][c];
                }
            }
        }
        __syncthreads();
    }
    float *out = p.partials + ((u64)blockIdx.y * gridDim.x + blockIdx.x) * EDGE * EDGE;
    UNROLLED
    for (u32 i = 0; i < 4; i++)
        UNROLLED
        for (u32 j = 0; j < 4; j++)
            UNROLLED
            for (u32 c = 0; c < 4; c += 2) {
                float *at = out + (m + 16 * i + g + c / 2 * 8) * EDGE + n + 8 * j + 2 * t;
                WRITTEN(at, 2);
                at[0] = whole[i][j][c];
                at[1] = whole[i][j][c + 1];
            }
}
FOR_ELEMENTS(tensor_gram, TensorGram)

struct SplitScatter {
    const double *scatter;  // [dim, dim], of the other side
    const double *along;    // [dim]: scatter * mean of this side
    const Weights *weights;
    u32 *matrix;      // the scatter matrix as fragments: [steps, tiles, lanes, 4 or 2 words]
    float *factor;    // what products with it are to be multiplied with, the slope included
    float *constant;  // [dim]: slope * along
    u32 dim, split;   // split 1: high and low parts
};
static_assert(sizeof(SplitScatter) == 56, "as in params.rs");

// The scatter matrix as tensor cores take it for a right factor. Its trace bounds its elements, and says how far it may be
// scaled up. Launch: a block of 256 threads for each step of 16 rows; warps take 8 columns at a time.
extern "C" __global__ void __launch_bounds__(256) split_scatter(SplitScatter p) {
    double trace = 0;
    for (u32 d = threadIdx.x; d < p.dim; d += blockDim.x) trace += p.scatter[(u64)d * p.dim + d];
    trace = block_sum(trace);
    const double scale = fragment_scale(trace);
    const double slope = p.weights->slope;
    if (blockIdx.x == 0) {
        if (threadIdx.x == 0) *p.factor = (float)(slope / (scale * ROW_SCALE * ROW_SCALE));
        for (u32 d = threadIdx.x; d < p.dim; d += blockDim.x) p.constant[d] = (float)(slope * p.along[d]);
    }
    const u32 tiles = (p.dim + EDGE - 1) / EDGE * (EDGE / 8), words = p.split ? 4 : 2;
    for (u32 tile = warp(); tile < tiles; tile += warps()) {
        const u32 column = 8 * tile + lane() / 4;
        u32 *out = p.matrix + ((u64)(blockIdx.x * tiles + tile) * WARP + lane()) * words;
        UNROLLED
        for (u32 half = 0; half < 2; half++) {
            const u32 row = 16 * blockIdx.x + 8 * half + 2 * (lane() % 4);
            float values[2];
            UNROLLED
            for (u32 odd = 0; odd < 2; odd++) {
                const bool inside = row + odd < p.dim && column < p.dim;
                values[odd] = inside ? (float)(scale * p.scatter[(u64)(row + odd) * p.dim + column]) : 0.0f;
            }
            const Pair word = split<true>(values[0], values[1]);
            out[half] = word.high;
            if (p.split) out[2 + half] = word.low;
        }
    }
}

struct TensorGradient {
    Finish finish;
    const u32 *matrix;          // of `settle` or `split_scatter`
    const float *factor;
    const float *high, *low;    // what rows are centred at before they are multiplied: `finish.constant` goes with it
    GatherLinks gather;
    u32 strips, blocks;         // blocks for rows; those behind gather links
    u32 slabs, slab_tiles;      // of the pass before: tiles of rows in a slab
};
static_assert(sizeof(TensorGradient) == 384, "as in params.rs");

// Which tile a block takes: the ends of all slabs first, which the pass before read last and the second-level cache still has.
__device__ inline u32 late_first(u32 block, u32 slabs, u32 slab_tiles) {
    return block % slabs * slab_tiles + slab_tiles - 1 - block / slabs;
}

// A tile's centred rows in two parts, zero beyond their end.
template <class T, bool SIMPLE>
__device__ void split_rows(const TensorGradient &p, u32 first, u32 rows, u32 *highs, u32 *lows) {
    const bool SPLIT = sizeof(T) == 4;
    const Side &own = p.finish.own;
    const u32 dim = own.dim, width = p.strips * EDGE, pitch = width / 2 + 4;
    for (u32 r = warp(); r < rows; r += warps()) {
        const u32 row = first + r;
        const double reciprocal = row < own.count ? own.reciprocals[row] : 0.0;
        const Twice parts(reciprocal);
        ROLLED
        for (u32 d = 4 * lane(); d < width; d += EDGE) {
            float a[4] = {};
            if (row < own.count && (!SIMPLE || d < dim)) {
                const T *values = (const T *)own.rows + (u64)row * dim;
                READ(values + d, inside4(d, dim));
                const Four x = load4<SIMPLE>(values, d, dim);
                const Four high = load4<SIMPLE>(p.high, d, dim), low = load4<SIMPLE>(p.low, d, dim);
                UNROLLED
                for (u32 k = 0; k < 4; k++) a[k] = centred(x.at[k], reciprocal, parts, high.at[k], low.at[k]);
            }
            UNROLLED
            for (u32 k = 0; k < 2; k++) {
                const Pair word = split<SPLIT>(a[2 * k], a[2 * k + 1]);
                highs[r * pitch + d / 2 + k] = word.high;
                if (SPLIT) lows[r * pitch + d / 2 + k] = word.low;
            }
        }
    }
}

// Gradients of a tile of rows: centred, multiplied with the other side's scatter matrix, finished.
//
// A warp makes 16 * TILES rows of 128 columns. With more strips than one, warps share rows; up to four strips. Dynamic shared
// memory holds the centred rows in two parts, then, in the same place, the products.
//
// Launch: slabs * slab_tiles blocks of 256 threads, each for 128 * TILES / groups rows, where groups is the strips, rounded up to
// 1, 2 or 4; then blocks with a warp for each piece of links and 128 columns.
template <class T, u32 TILES>
__device__ void tensor_gradient(const TensorGradient &p) {
    const bool SPLIT = sizeof(T) == 4;
    DYNAMIC_SHARED(shared);
    if (blockIdx.x >= p.blocks) {
        const u32 task = (blockIdx.x - p.blocks) * warps() + warp();
        return gather_piece<T>(p.gather, task / p.strips, task % p.strips);
    }
    const Finish &f = p.finish;
    const u32 width = p.strips * EDGE, pitch = width / 2 + 4;
    const u32 groups = p.strips < 3 ? p.strips : 4, rows = 16 * TILES * (warps() / groups);
    const u32 first = late_first(blockIdx.x, p.slabs, p.slab_tiles) * rows;
    if (first >= f.own.count) return;
    u32 *highs = shared, *lows = shared + rows * pitch;
    const bool plain = simple<T>(f);
    if (plain) split_rows<T, true>(p, first, rows, highs, lows);
    else split_rows<T, false>(p, first, rows, highs, lows);
    __syncthreads();

    const u32 group = warp() % groups, top = warp() / groups * 16 * TILES, g = lane() / 4, t = lane() % 4;
    float sums[TILES][16][4] = {};
    const u32 words = SPLIT ? 4 : 2, tiles = p.strips * (EDGE / 8);
    if (group < p.strips) {
        for (u32 step = 0; step < width / 16; step++) {
            u32 high[TILES][4], low[TILES][4];
            UNROLLED
            for (u32 i = 0; i < TILES; i++)
                UNROLLED
                for (u32 part = 0; part < 4; part++) {
                    const u32 at = (top + 16 * i + g + part % 2 * 8) * pitch + 8 * step + t + part / 2 * 4;
                    high[i][part] = highs[at];
                    low[i][part] = SPLIT ? lows[at] : 0;
                }
            const u32 *__restrict__ matrix = p.matrix + ((u64)(step * tiles + group * 16) * WARP + lane()) * words;
            UNROLLED
            for (u32 j = 0; j < 16; j++) {
                struct alignas(8) Two {
                    u32 at[2];
                };
                READ(matrix + (u64)j * WARP * words, words);
                const Two right_high = *(const Two *)(matrix + (u64)j * WARP * words);
                const Two right_low = SPLIT ? *(const Two *)(matrix + (u64)j * WARP * words + 2) : Two();
                UNROLLED
                for (u32 i = 0; i < TILES; i++)
                    multiply_add<SPLIT>(sums[i][j], high[i], low[i], right_high.at, right_low.at, true);
            }
        }
    }
    __syncthreads();

    float *products = (float *)shared;
    const float factor = *p.factor;
    const u32 product_pitch = width + 4;
    UNROLLED
    for (u32 i = 0; i < TILES; i++)
        UNROLLED
        for (u32 j = 0; j < 16; j++)
            UNROLLED
            for (u32 c = 0; c < 4; c++) {
                if (group >= p.strips) continue;
                const u32 row = top + 16 * i + g + c / 2 * 8, column = group * EDGE + 8 * j + 2 * t + c % 2;
                products[row * product_pitch + column] = factor * sums[i][j][c];
            }
    __syncthreads();
    for (u32 r = warp(); r < rows && first + r < f.own.count; r += warps()) {
        if (plain) finish_row<T, true>(f, first + r, 0, products + r * product_pitch);
        else finish_row<T, false>(f, first + r, 0, products + r * product_pitch);
    }
}

#define TENSOR_GRADIENT(ELEMENT, T)                                                                                   \
    extern "C" __global__ void __launch_bounds__(256) tensor_gradient_##ELEMENT(TensorGradient p) {                   \
        tensor_gradient<T, 1>(p);                                                                                     \
    }                                                                                                                 \
    extern "C" __global__ void __launch_bounds__(256) tensor_gradient_wide_##ELEMENT(TensorGradient p) {              \
        tensor_gradient<T, 2>(p);                                                                                     \
    }
TENSOR_GRADIENT(f32, float)
TENSOR_GRADIENT(f16, Half)
TENSOR_GRADIENT(bf16, Brain)
