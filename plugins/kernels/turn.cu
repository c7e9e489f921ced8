// Gradients on tensor cores, from rows to results: rows about their centre are made, multiplied and turned inside a block, and never
// written. What cuBLAS and `finish` do elsewhere (gradient.cu, where the formulas are derived) is the same mathematics in f32.
//
// Rows are u = c + e here, with a centre c that f32 holds exactly: their mean or what `sweep` took for it. Any number S makes
//     other mean = S c + rest        at = u . other mean = c . other mean + S (c . e) + rest . e
//     gradient = ((W (S - at) - along) c + W rest - (W at + along) e + sum) / |x|        along = u . sum
// Of nearly parallel rows c . e is far smaller than both, but u has length 1, so that it is (1 - c . c) / 2 - e . e / 2: nothing cancels.
#include "products.cuh"

struct SplitScatter {
    const double *scatter;  // [dim, dim], of the other side
    const double *along;    // [dim]: scatter * mean of this side
    const double *mean;     // [dim], of this side
    const Weights *weights;
    u32 *matrix;      // the scatter matrix as fragments: [steps, tiles, lanes, 4 or 2 words]
    float *factor;    // what products with it are to be multiplied with, the slope included
    float *constant;  // [padded dim]: slope * scatter * centre
    u32 dim, split;   // split 1: high and low parts
};
static_assert(sizeof(SplitScatter) == 64, "as in params.rs");

// The scatter matrix as tensor cores take it for a right factor. Its trace bounds its elements, and says how far it may be
// scaled up. Launch: a block of 256 threads for each step of 16 rows.
extern "C" __global__ void __launch_bounds__(256) split_scatter(SplitScatter p) {
    double trace = 0;
    for (u32 d = threadIdx.x; d < p.dim; d += blockDim.x) trace += p.scatter[(u64)d * p.dim + d];
    trace = block_sum(trace);
    const double scale = fragment_scale(trace), slope = p.weights->slope;
    if (blockIdx.x == 0 && threadIdx.x == 0) *p.factor = (float)(slope / (scale * ROW_SCALE_SQUARE));
    const u32 first = 16 * blockIdx.x, width = padded(p.dim);
    for (u32 row = first + warp(); row < first + 16; row += warps()) {
        // The centre is the mean in f32.
        double beside = 0;
        for (u32 d = lane(); row < p.dim && d < p.dim; d += WARP)
            beside = fma(p.scatter[(u64)row * p.dim + d], p.mean[d] - (float)p.mean[d], beside);
        beside = warp_sum(beside);
        if (lane() == 0) p.constant[row] = row < p.dim ? (float)(slope * (p.along[row] - beside)) : 0.0f;
    }
    for (u32 column = threadIdx.x; column < width; column += blockDim.x)
        for (u32 row = first; row < first + 16; row += 2) {
            float values[2];
            UNROLLED
            for (u32 odd = 0; odd < 2; odd++) {
                const bool inside = row + odd < p.dim && column < p.dim;
                values[odd] = inside ? (float)(scale * p.scatter[(u64)(row + odd) * p.dim + column]) : 0.0f;
            }
            write_fragment(p.matrix, width / 8, p.split, row, column, values[0], values[1]);
        }
}

struct TensorGradient {
    Finish finish;
    const u32 *matrix;           // of `settle` or `split_scatter`
    const float *factor;
    const float *centre, *rest;  // [padded dim]: c, scaled as tensor cores take rows; other mean - S c
    const Pivot *pivot;
    GatherLinks gather;
    u32 strips, blocks;          // blocks for rows; those behind gather links
    u32 slabs, slab_tiles;       // of the pass before: tiles of rows in a slab
};
static_assert(sizeof(TensorGradient) == 392, "as in params.rs");

// Which tile a block takes: the ends of all slabs first, which the pass before read last and the second-level cache still has.
__device__ inline u32 late_first(u32 block, u32 slabs, u32 slab_tiles) {
    return block % slabs * slab_tiles + slab_tiles - 1 - block / slabs;
}

// Adds what genuine pairs do to sums of row `row`, the lane's first or second; gives the sum of their excesses.
template <class T, u32 R>
__device__ float add_links(const Finish &f, u32 row, u32 d, float (&sums)[16][4]) {
    const u32 dim = f.own.dim, width = padded(dim);
    double total = 0;
    if (f.links == OF_SAMPLES) {
        const long long label = label_at(f.labels, row);
        if (!in_range(label, f.other.count)) return 0;
        const double reciprocal = f.other.reciprocals[label];
        const Scaled scaled(reciprocal);
        const T *partner = (const T *)f.other.rows + (u64)label * dim + d;
        total = f.weights->excess(f.cosines[row]);
        const float excess = (float)(total / ROW_SCALE);
        const bool simple = regular<T>(f.other.rows, dim);
        UNROLLED
        for (u32 q = 0; q < QUADS; q++) {
            READ(partner + 16 * q, inside4(d + 16 * q, dim));
            const Four x = (simple ? load_regular(partner + 16 * q, d + 16 * q < dim) : load_single(partner + 16 * q, d + 16 * q, dim)).wide();
            const Four high = load_padded(f.others.high + d + 16 * q), low = load_padded(f.others.low + d + 16 * q);
            UNROLLED
            for (u32 k = 0; k < 4; k++) {
                float &sum = sums[2 * q + k / 2][2 * R + k % 2];
                sum = fmaf(excess, scaled.about(x.at[k], ROW_SCALE * high.at[k]) - ROW_SCALE * low.at[k], sum);
            }
        }
        return (float)total;
    }
    const u32 batch = f.other.count;
    const int head = f.heads[row];
    ROLLED
    for (u32 at = head < 0 ? batch : head; at < batch && key_label(f.keys[at]) == row; at = (at / PIECE + 1) * PIECE) {
        const float *sums_at = f.sums + (u64)at * width + d;
        UNROLLED
        for (u32 q = 0; q < QUADS; q++) {
            const Four piece = load_padded(sums_at + 16 * q);
            UNROLLED
            for (u32 k = 0; k < 4; k++) sums[2 * q + k / 2][2 * R + k % 2] += piece.at[k];
        }
        total += f.totals[at];
    }
    return (float)total;
}

// What a row's gradient takes of its sums, the other mean beside the centre's share, the centre and the row.
struct Turned {
    float of_sum, of_rest, of_centre, of_row;
};

// From a row's dots: u . sum, e . e and rest . e, as they are scaled. What pairs weigh together is W.
__device__ inline Turned turned_by(const TensorGradient &p, u32 row, const float (&dots)[3], float excess) {
    const Finish &f = p.finish;
    const Pivot pivot = *p.pivot;
    const float along = dots[0] / ROW_SCALE;
    const float beside = fmaf(-0.5f * pivot.share, dots[1] / ROW_SCALE_SQUARE, dots[2] / ROW_SCALE);  // of `at`, what this row adds
    const float weight = fmaf(pivot.slope, pivot.off + beside, pivot.level) + excess;
    // No direction, or none to turn to: what is left of u is rounding. Zero, but NaN must still show.
    const float known = row < f.own.count ? (float)f.own.reciprocals[row] : 0.0f, reciprocal = f.own.dim == 1 ? 0.0f * known : known;
    return {reciprocal, weight * reciprocal, fmaf(weight, pivot.toward - beside, -along) / ROW_SCALE * reciprocal,
            fmaf(-weight, pivot.at + beside, -along) / ROW_SCALE * reciprocal};
}

// Where a lane works: found anew in each stage, because registers are better kept for sums.
struct Place {
    u32 group, row, d;  // its strip, and the first of its rows and columns
    uint4 *fragments;   // of its warp's rows

    __device__ Place(u32 first, u32 groups_log, u32 tiles, u32 steps, uint4 *shared) {
        const u32 thread = fresh_thread(), warp = thread / WARP, lane = thread % WARP, top = (warp >> groups_log) * tiles;
        group = warp & ((1 << groups_log) - 1);
        row = first + 16 * top + lane / 4;
        d = group * EDGE + 4 * (lane % 4);
        fragments = shared + top * steps * 2 * WARP + lane;
    }

    // Those of its strip.
    __device__ uint4 *own() const { return fragments + group * QUADS * 2 * WARP; }
};

// Gradients of a tile of rows from `first` on: a warp makes TILES times 16 of them in a strip, 2^groups_log warps share rows.
template <class T, u32 TILES>
__device__ void tile_gradient(const TensorGradient &p, u32 first, u32 strips, u32 groups_log, uint4 *shared) {
    const bool SPLIT = FINE<T>;
    const Finish &f = p.finish;
    const u32 dim = f.own.dim, steps = strips * QUADS;
    if ((warp() & ((1 << groups_log) - 1)) >= strips) {
        // One warp of four has no strip where there are three, but waits with the others.
        __syncthreads();
        __syncthreads();
        return;
    }
    // In shared memory, for each 16 rows and step of 16 columns: deviations in two parts, as tensor cores take them for a left factor.
    UNROLLED
    for (u32 i = 0; i < TILES; i++) {
        const Place place(first, groups_log, TILES, steps, shared);
        const u32 row = place.row, d = place.d;
        Scaled scaled[2];
        const T *values[2];
        bool inside[2];
        UNROLLED
        for (u32 r = 0; r < 2; r++) {
            const u32 at = row + 16 * i + 8 * r;
            inside[r] = at < f.own.count;
            values[r] = (const T *)f.own.rows + (u64)at * dim + d;
            scaled[r] = Scaled(inside[r] ? f.own.reciprocals[at] : 0.0);
        }
        // A few columns at a time: those of whole rows take too many registers.
        UNROLLED
        for (u32 some = 0; some < QUADS; some += QUADS / 2) {
            Raw<T> x[2][QUADS / 2] = {};
            UNROLLED
            for (u32 r = 0; r < 2; r++) {
                if (!inside[r]) continue;
                UNROLLED
                for (u32 q = 0; q < QUADS / 2; q++) READ(values[r] + 16 * (some + q), inside4(d + 16 * (some + q), dim));
                if (regular<T>(f.own.rows, dim)) {
                    UNROLLED
                    for (u32 q = 0; q < QUADS / 2; q++) x[r][q] = load_regular(values[r] + 16 * (some + q), d + 16 * (some + q) < dim);
                } else {
                    UNROLLED
                    for (u32 q = 0; q < QUADS / 2; q++) x[r][q] = load_single(values[r] + 16 * (some + q), d + 16 * (some + q), dim);
                }
            }
            UNROLLED
            for (u32 q = 0; q < QUADS / 2; q++) {
                const Four centre = load_padded(p.centre + d + 16 * (some + q));
                u32 high[4], low[4];
                UNROLLED
                for (u32 r = 0; r < 2; r++) {
                    const Four e = scaled[r].about(x[r][q].wide(), centre);
                    UNROLLED
                    for (u32 half = 0; half < 2; half++) {
                        const Pair word = split_scaled<true>(e.at[2 * half], e.at[2 * half + 1]);
                        high[r + 2 * half] = word.high;
                        low[r + 2 * half] = word.low;
                    }
                }
                uint4 *out = place.own() + (i * steps + some + q) * 2 * WARP;
                out[0] = {high[0], high[1], high[2], high[3]};
                out[WARP] = {low[0], low[1], low[2], low[3]};
            }
        }
    }
    if (groups_log > 0) __syncthreads();

    float sums[TILES][16][4] = {};
    float dots[TILES][2][3] = {};
    float excess[TILES][2] = {};
    {
    const Place place(first, groups_log, TILES, steps, shared);
    const u32 tiles = strips * (EDGE / 8), words = SPLIT ? 4 : 2;
    ROLLED
    for (u32 step = 0; step < steps; step++) {
        u32 high[TILES][4], low[TILES][4];
        UNROLLED
        for (u32 i = 0; i < TILES; i++) {
            const uint4 *at = place.fragments + (i * steps + step) * 2 * WARP;
            unpack(at[0], high[i]);
            if (SPLIT) unpack(at[WARP], low[i]);
        }
        const u32 *__restrict__ matrix = p.matrix + ((u64)(step * tiles + place.group * 16) * WARP + lane()) * words;
        UNROLLED
        for (u32 j = 0; j < 16; j++) {
            READ(matrix + j * WARP * words, words);
            u32 right_high[2], right_low[2] = {};
            if (SPLIT) {
                const uint4 right = ((const uint4 *)matrix)[j * WARP];
                right_high[0] = right.x, right_high[1] = right.y, right_low[0] = right.z, right_low[1] = right.w;
            } else {
                const uint2 right = ((const uint2 *)matrix)[j * WARP];
                right_high[0] = right.x, right_high[1] = right.y;
            }
            UNROLLED
            for (u32 i = 0; i < TILES; i++) multiply_add<SPLIT>(sums[i][j], high[i], low[i], right_high, right_low);
        }
    }
    }
    {
    const Place place(first, groups_log, TILES, steps, shared);
    const u32 row = place.row, d = place.d;
    const float factor = *p.factor;
    UNROLLED
    for (u32 q = 0; q < QUADS; q++) {
        const Four constant = load_padded(f.constant + d + 16 * q);
        UNROLLED
        for (u32 i = 0; i < TILES; i++)
            UNROLLED
            for (u32 c = 0; c < 8; c++) {
                float &sum = sums[i][2 * q + c / 4][c % 4];
                sum = fmaf(factor, sum, constant.at[c / 4 * 2 + c % 2]);
            }
    }
    if (f.links != NO_LINKS) {
        UNROLLED
        for (u32 i = 0; i < TILES; i++) {
            const u32 at = row + 16 * i;
            if (at < f.own.count) excess[i][0] = add_links<T, 0>(f, at, d, sums[i]);
            if (at + 8 < f.own.count) excess[i][1] = add_links<T, 1>(f, at + 8, d, sums[i]);
        }
    }

    UNROLLED
    for (u32 q = 0; q < QUADS; q++) {
        if (q % 4 == 0) FORGET;
        const Four centre = load_padded(p.centre + d + 16 * q), rest = load_padded(p.rest + d + 16 * q);
        UNROLLED
        for (u32 i = 0; i < TILES; i++) {
            const uint4 *words = place.own() + (i * steps + q) * 2 * WARP;
            const uint4 high = words[0], low = words[WARP];
            UNROLLED
            for (u32 r = 0; r < 2; r++) {
                const Four e = r == 0 ? joined(high.x, high.z, low.x, low.z) : joined(high.y, high.w, low.y, low.w);
                float(&dot)[3] = dots[i][r];
                UNROLLED
                for (u32 k = 0; k < 4; k++) {
                    dot[0] = fmaf(centre.at[k] + e.at[k], sums[i][2 * q + k / 2][2 * r + k % 2], dot[0]);
                    dot[1] = fmaf(e.at[k], e.at[k], dot[1]);
                    dot[2] = fmaf(rest.at[k], e.at[k], dot[2]);
                }
            }
        }
    }
    UNROLLED
    for (u32 i = 0; i < TILES; i++)
        UNROLLED
        for (u32 r = 0; r < 2; r++)
            UNROLLED
            for (u32 k = 0; k < 3; k++)
                UNROLLED
                for (u32 step = 1; step < 4; step *= 2) dots[i][r][k] += __shfl_xor_sync(ALL_LANES, dots[i][r][k], step);
    }
    if (groups_log > 0) {
        // Over the strips, in their order.
        __shared__ float parts[8][16 * TILES][3];
        UNROLLED
        for (u32 i = 0; i < TILES; i++)
            UNROLLED
            for (u32 r = 0; r < 2; r++)
                UNROLLED
                for (u32 k = 0; k < 3; k++)
                    if (lane() % 4 == 0) parts[warp()][16 * i + 8 * r + lane() / 4][k] = dots[i][r][k];
        __syncthreads();
        UNROLLED
        for (u32 i = 0; i < TILES; i++)
            UNROLLED
            for (u32 r = 0; r < 2; r++)
                UNROLLED
                for (u32 k = 0; k < 3; k++) {
                    float sum = 0;
                    ROLLED
                    for (u32 s = 0; s < strips; s++) sum += parts[(warp() >> groups_log << groups_log) + s][16 * i + 8 * r + lane() / 4][k];
                    dots[i][r][k] = sum;
                }
    }
    const Place place(first, groups_log, TILES, steps, shared);
    const u32 row = place.row, d = place.d;
    UNROLLED
    for (u32 i = 0; i < TILES; i++)
        UNROLLED
        for (u32 r = 0; r < 2; r++) {
            const u32 at = row + 16 * i + 8 * r;
            const Turned by = turned_by(p, at, dots[i][r], excess[i][r]);
            T *out = (T *)f.out + (u64)at * dim + d;
            Four turned[QUADS];
            UNROLLED
            for (u32 q = 0; q < QUADS; q++) {
                if (q % 4 == 0) FORGET;
                const Four centre = load_padded(p.centre + d + 16 * q), rest = load_padded(p.rest + d + 16 * q);
                const uint4 *words = place.own() + (i * steps + q) * 2 * WARP;
                const uint4 high = words[0], low = words[WARP];
                const Four e = r == 0 ? joined(high.x, high.z, low.x, low.z) : joined(high.y, high.w, low.y, low.w);
                UNROLLED
                for (u32 k = 0; k < 4; k++) {
                    const float sum = by.of_sum * sums[i][2 * q + k / 2][2 * r + k % 2];
                    turned[q].at[k] = fmaf(by.of_row, e.at[k], fmaf(by.of_centre, centre.at[k], fmaf(by.of_rest, rest.at[k], sum)));
                }
            }
            if (at >= f.own.count) continue;
            UNROLLED
            for (u32 q = 0; q < QUADS; q++) WRITTEN(out + 16 * q, inside4(d + 16 * q, dim));
            if (regular<T>(f.out, dim)) {
                UNROLLED
                for (u32 q = 0; q < QUADS; q++)
                    if (d + 16 * q < dim) pack(turned[q], out + 16 * q);
            } else {
                UNROLLED
                for (u32 q = 0; q < QUADS; q++) store_single(out + 16 * q, d + 16 * q, dim, turned[q]);
            }
        }
}

// Launch: slabs * slab_tiles blocks of so many threads that there is a warp for each strip of 16 rows, or 32 of longer rows (the strips
// rounded up to a power of two); then blocks with a warp for each piece of links and 128 columns. Dynamic shared memory for the rows in
// two parts. TILES 1: rows of one strip.
template <class T, u32 TILES>
__device__ void tensor_gradient(const TensorGradient &p) {
    DYNAMIC_SHARED(shared);
    const u32 strips = p.strips, groups_log = strips < 3 ? strips - 1 : 2;
    if (blockIdx.x >= p.blocks) {
        const u32 task = (blockIdx.x - p.blocks) * warps() + warp();
        return gather_piece<T>(p.gather, task / strips, task % strips);
    }
    const Finish &f = p.finish;
    const u32 rows = 16 * TILES * (warps() >> groups_log);
    const u32 first = late_first(blockIdx.x, p.slabs, p.slab_tiles) * rows;
    if (first >= f.own.count) return;
    if (f.weights->mute != 0) {
        for (u32 r = warp(); r < rows && first + r < f.own.count; r += warps()) mute_row<T>(f, first + r);
        return;
    }
    tile_gradient<T, TILES>(p, first, strips, groups_log, (uint4 *)shared);
}

// Two blocks share a multiprocessor where rows are short.
#define TENSOR_GRADIENT(ELEMENT, T)                                                                                   \
    extern "C" __global__ void __launch_bounds__(256, 2) tensor_gradient_##ELEMENT(TensorGradient p) {                \
        tensor_gradient<T, 1>(p);                                                                                     \
    }                                                                                                                 \
    extern "C" __global__ void __launch_bounds__(256) tensor_gradient_wide_##ELEMENT(TensorGradient p) {              \
        tensor_gradient<T, 2>(p);                                                                                     \
    }
TENSOR_GRADIENT(f32, float)
TENSOR_GRADIENT(f16, Half)
TENSOR_GRADIENT(bf16, Brain)
