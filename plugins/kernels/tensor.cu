// The two large products of the Gram path on tensor cores, from rows to results: centred rows are made, multiplied and used
// up inside a block, and never written. What cuBLAS does elsewhere (gram.cu, gradient.cu) is the same mathematics in f32.
//
// Tensor cores multiply f16 and add in f32. A centred unit row is below 2 in size, so that 2^14 times it is far from f16's
// limits, and in two parts, high + low, it keeps 22 bits: as many as two TF32 numbers, at twice their rate. Three products are
// added up, high * high + high * low + low * high. Gradients of 16-bit rows get along with one, whose rounding is that of their
// own type; the Gram matrix does not: moments are f64, and few rows do not average a rounding away. Tensor cores cut sums off where f32 would round; so that this does not add up over many rows, a tile's sums
// are short, and added to the whole by ordinary f32 additions.
//
// Devices below compute capability 8.0 have other instructions and take the path without.
#include "common.cuh"

const u32 EDGE = 128;           // columns of a strip
const u32 TILE_ROWS = 32;       // rows of a tile of `tensor_gram`
const u32 PITCH = EDGE + 8;     // words from one pair of rows to the next: fragments are read without bank conflicts
const float ROW_SCALE = 16384;  // 2^14
const double ROW_SCALE_SQUARE = 268435456;

// Two f16 in a word.
struct Pair {
    u32 high, low;
};

// `times`: what the low parts are multiplied with.
template <bool SPLIT>
__device__ inline Pair split(float first, float second, float times = 1) {
    Half high[2], low[2];
    narrow(first * ROW_SCALE, high[0]);
    narrow(second * ROW_SCALE, high[1]);
    Pair out = {high[0].bits | (u32)high[1].bits << 16, 0};
    if (SPLIT) {
        narrow(times * (first * ROW_SCALE - widen(high[0])), low[0]);
        narrow(times * (second * ROW_SCALE - widen(high[1])), low[1]);
        out.low = low[0].bits | (u32)low[1].bits << 16;
    }
    return out;
}

// sums[16, 8] += left[16, 16] right[16, 8], each lane holding its part of each (PTX: mma.m16n8k16). All lanes must call.
__device__ inline void multiply_add(float (&sums)[4], const u32 (&left)[4], const u32 (&right)[2]) {
#ifdef PDLOSS_EMULATE
    emulate_multiply_add(sums, left, right);
#elif __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]));
#endif
}

// A warp's part of left * right: of f32 rows three products, else one.
template <bool SPLIT>
__device__ inline void multiply_add(float (&sums)[4], const u32 (&high)[4], const u32 (&low)[4], const u32 (&right_high)[2],
                                    const u32 (&right_low)[2], bool both) {
    multiply_add(sums, high, right_high);
    if (SPLIT) multiply_add(sums, high, right_low);
    if (SPLIT && both) multiply_add(sums, low, right_high);
}

struct TensorGram {
    Side side;
    float *partials;    // [slabs, pairs of strips, EDGE, EDGE]
    u32 slab, unused;   // rows in a slab, a multiple of TILE_ROWS
};
static_assert(sizeof(TensorGram) == 48, "as in params.rs");

// What a lane holds of a strip: its four columns' mean, and of the next tile two pairs of rows.
template <class T>
struct Strip {
    Four high, low, rows[2][2];

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
                if (row < last) rows[pair][odd] = load4((const T *)side.rows + (u64)row * side.dim, d, side.dim);
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
                UNROLLED
                for (u32 k = 0; k < 4; k++)
                    a[odd][k] = row < last && d + k < side.dim
                                    ? centred(rows[pair][odd].at[k], reciprocal, parts, high.at[k], low.at[k])
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

// Sums over a slab's rows of the products of two strips' columns, for each pair of strips once. A strip with itself gives
// M = high' (high + 2 low): `add_gram` takes the mean of M and its transpose, which is the product with both low parts.
//
// Launch: blockIdx.x a pair of strips, blockIdx.y a slab, 256 threads. Eight warps make 64 x 32 each.
template <class T>
__device__ void tensor_gram(const TensorGram &p) {
    __shared__ u32 highs[2][TILE_ROWS / 2][PITCH], lows[2][TILE_ROWS / 2][PITCH];
    u32 left = 0, right = blockIdx.x;
    while (right > left) right -= ++left;
    const bool same = left == right;
    const u32 second = same ? 0 : 1;  // where the right strip is
    const u32 first = blockIdx.y * p.slab;
    const u32 last = first + p.slab < p.side.count ? first + p.slab : p.side.count;
    const u32 columns[2] = {left * EDGE + 4 * lane(), right * EDGE + 4 * lane()};
    Strip<T> strips[2];
    // Constant indices keep the strips in registers.
    UNROLLED
    for (u32 s = 0; s < 2; s++) {
        if (s > second) continue;
        strips[s].find(p.side, columns[s]);
        strips[s].load(p.side, first, last, columns[s]);
    }

    const u32 m = warp() % 2 * 64, n = warp() / 2 * 32, g = lane() / 4, t = lane() % 4;
    float whole[4][4][4] = {};
    for (u32 start = first; start < last; start += TILE_ROWS) {
        __syncthreads();  // the tile before is used up
        UNROLLED
        for (u32 s = 0; s < 2; s++)
            if (s <= second) strips[s].store(p.side, start, last, columns[s], same ? 2 : 1, highs[s], lows[s]);
        __syncthreads();
        UNROLLED
        for (u32 s = 0; s < 2; s++)
            if (s <= second) strips[s].load(p.side, start + TILE_ROWS, last, columns[s]);
        float sums[4][4][4] = {};
        UNROLLED
        for (u32 k = 0; k < TILE_ROWS / 2; k += 8) {
            u32 right_high[4][2], right_low[4][2];
            UNROLLED
            for (u32 j = 0; j < 4; j++)
                UNROLLED
                for (u32 half = 0; half < 2; half++) {
                    const u32 pair = k + t + 4 * half, column = n + 8 * j + g;
                    right_high[j][half] = highs[second][pair][column];
                    right_low[j][half] = lows[second][pair][column];
                }
            UNROLLED
            for (u32 i = 0; i < 4; i++) {
                u32 high[4], low[4];
                UNROLLED
                for (u32 part = 0; part < 4; part++) {
                    const u32 pair = k + t + part / 2 * 4, column = m + 16 * i + g + part % 2 * 8;
                    high[part] = highs[0][pair][column];
                    low[part] = same ? 0 : lows[0][pair][column];
                }
                UNROLLED
                for (u32 j = 0; j < 4; j++)
                    multiply_add<true>(sums[i][j], high, low, right_high[j], right_low[j], !same);
            }
        }
        UNROLLED
        for (u32 i = 0; i < 4; i++)
            UNROLLED
            for (u32 j = 0; j < 4; j++)
                UNROLLED
                for (u32 c = 0; c < 4; c++) whole[i][j][c] += sums[i][j][c];
    }
    float *out = p.partials + ((u64)blockIdx.y * gridDim.x + blockIdx.x) * EDGE * EDGE;
    UNROLLED
    for (u32 i = 0; i < 4; i++)
        UNROLLED
        for (u32 j = 0; j < 4; j++)
            UNROLLED
            for (u32 c = 0; c < 4; c++)
                out[(m + 16 * i + g + c / 2 * 8) * EDGE + n + 8 * j + 2 * t + c % 2] = whole[i][j][c];
}
FOR_ELEMENTS(tensor_gram, TensorGram)

struct AddGram {
    const float *partials;  // of `tensor_gram`
    double *scatter;        // [dim, dim]
    u32 dim, pairs, slabs, unused;
};
static_assert(sizeof(AddGram) == 32, "as in params.rs");

// Adds the slabs up in order, in f64. Launch: a thread for each element of each pair of strips; blockIdx.y is the pair.
extern "C" __global__ void __launch_bounds__(256) add_gram(AddGram p) {
    u32 left = 0, right = blockIdx.y;
    while (right > left) right -= ++left;
    const u32 at = blockIdx.x * blockDim.x + threadIdx.x, row = at / EDGE, column = at % EDGE;
    const u32 i = left * EDGE + row, j = right * EDGE + column;
    if (i >= p.dim || j >= p.dim) return;
    const float *partials = p.partials + (u64)blockIdx.y * EDGE * EDGE;
    const u64 step = (u64)p.pairs * EDGE * EDGE;
    double sum = 0;
    for (u32 slab = 0; slab < p.slabs; slab++) {
        const float *slab_of = partials + slab * step;
        sum += left == right ? 0.5 * ((double)slab_of[row * EDGE + column] + slab_of[column * EDGE + row]) : slab_of[row * EDGE + column];
    }
    sum /= ROW_SCALE_SQUARE;
    p.scatter[(u64)i * p.dim + j] = sum;
    if (left != right) p.scatter[(u64)j * p.dim + i] = sum;
}

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
    int exponent = (int)(__double_as_longlong(trace) >> 52 & 0x7ff) - 1022;  // trace < 2^exponent
    if (exponent < -900) exponent = -900;
    const double scale = __longlong_as_double((long long)(1023 + 15 - exponent) << 52) / ROW_SCALE;
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
    const u32 *matrix;  // of `split_scatter`
    const float *factor;
    u32 strips, unused;
};
static_assert(sizeof(TensorGradient) == 264, "as in params.rs");

// Gradients of a tile of rows: centred, multiplied with the other side's scatter matrix, finished.
//
// A warp makes 16 * TILES rows of 128 columns. With more strips than one, warps share rows; up to four strips. Dynamic shared
// memory holds the centred rows in two parts, then, in the same place, the products.
//
// Launch: a block of 256 threads for each 128 * TILES / groups rows, where groups is the strips, rounded up to 1, 2 or 4.
template <class T, u32 TILES>
__device__ void tensor_gradient(const TensorGradient &p) {
    const bool SPLIT = sizeof(T) == 4;
    DYNAMIC_SHARED(shared);
    const Finish &f = p.finish;
    const u32 dim = f.own.dim, width = p.strips * EDGE, pitch = width / 2 + 4;
    const u32 groups = p.strips < 3 ? p.strips : 4, rows = 16 * TILES * (warps() / groups);
    const u32 first = blockIdx.x * rows;
    u32 *highs = shared, *lows = shared + rows * pitch;
    for (u32 r = warp(); r < rows; r += warps()) {
        const u32 row = first + r;
        const double reciprocal = row < f.own.count ? f.own.reciprocals[row] : 0.0;
        const Twice parts(reciprocal);
        ROLLED
        for (u32 d = 4 * lane(); d < width; d += EDGE) {
            float a[4] = {};
            if (row < f.own.count) {
                const Four x = load4((const T *)f.own.rows + (u64)row * dim, d, dim);
                const Four high = load4(f.vectors.high, d, dim), low = load4(f.vectors.low, d, dim);
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
    for (u32 r = warp(); r < rows && first + r < f.own.count; r += warps())
        finish_row<T>(f, first + r, 0, products + r * product_pitch);
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
