// Products on tensor cores. They multiply f16 and add in f32. A centred unit row is below 2 in size, so that 2^14 times it is far from f16's
// limits, and in two parts, high + low, it keeps 22 bits: as many as two TF32 numbers, at twice their rate. Three products are
// added up, high * high + high * low + low * high. Tensor cores cut sums off where f32 would round; so that this does not add up
// over many rows, a tile's sums are short, and added to the whole by ordinary f32 additions.
//
// Devices below compute capability 8.0 have other instructions and take the path without.
#pragma once
#include "common.cuh"

const u32 TILE_ROWS = 32;       // rows of a tile of `tensor_gram`
const float ROW_SCALE = 16384;  // 2^14
const float ROW_SCALE_SQUARE = 268435456;

// Whether products with rows need low parts, too: rows of bf16 are no finer than one part of f16.
template <class T>
constexpr bool FINE = !SAME<T, Brain>;

// A row's reciprocal length in two parts, scaled as tensor cores take rows. Rows longer than 1e35 have no good low part; f32 ends at 3e38.
struct Scaled {
    float high, low;

    __device__ Scaled() {}
    __device__ explicit Scaled(double reciprocal) {
        const Twice parts(reciprocal * ROW_SCALE);
        high = parts.high;
        low = parts.low;
    }

    __device__ float about(float x, float centre) const { return fmaf(x, low, fmaf(x, high, -centre)); }

    // Of four neighbours u - c, with a centre that is scaled, too: what rows share is gone before anything is rounded.
    __device__ Four about(const Four &x, const Four &centre) const {
        Four e;
        UNROLLED
        for (u32 k = 0; k < 4; k++) e.at[k] = about(x.at[k], centre.at[k]);
        return e;
    }
};

// Two f16 in a word.
struct Pair {
    u32 high, low;
};

__device__ inline float widen_first(u32 word) { return widen(Half{(unsigned short)word}); }
__device__ inline float widen_second(u32 word) { return widen(Half{(unsigned short)(word >> 16)}); }

// Of two numbers that are scaled already. `times`: what the low parts are multiplied with.
template <bool SPLIT>
__device__ inline Pair split_scaled(float first, float second, float times = 1) {
    Pair out = {narrow_pair<Half>(first, second), 0};
    if (SPLIT) out.low = narrow_pair<Half>(times * (first - widen_first(out.high)), times * (second - widen_second(out.high)));
    return out;
}

template <bool SPLIT>
__device__ inline Pair split(float first, float second, float times = 1) {
    return split_scaled<SPLIT>(first * ROW_SCALE, second * ROW_SCALE, times);
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
                                    const u32 (&right_low)[2]) {
    multiply_add(sums, high, right_high);
    if (SPLIT) multiply_add(sums, high, right_low);
    if (SPLIT) multiply_add(sums, low, right_high);
}

__device__ inline void unpack(const uint4 &words, u32 (&out)[4]) {
    out[0] = words.x;
    out[1] = words.y;
    out[2] = words.z;
    out[3] = words.w;
}

// Four neighbours, from their parts, two in a word.
__device__ inline Four joined(u32 first_high, u32 second_high, u32 first_low, u32 second_low) {
    return {{widen_first(first_high) + widen_first(first_low), widen_second(first_high) + widen_second(first_low),
             widen_first(second_high) + widen_first(second_low), widen_second(second_high) + widen_second(second_low)}};
}

const u32 QUADS = EDGE / 16;

// Tensor cores add columns up in any order. A lane of four that share a row takes four neighbours of every 16 columns, so that what it
// loads, multiplies and stores lies side by side.
__device__ inline u32 quad_column(u32 quad) { return 16 * quad + 4 * (lane() % 4); }

// Two neighbours of a column, the first of even row, to where tensor cores take them for a right factor with columns in that order.
__device__ inline void write_fragment(u32 *matrix, u32 tiles, bool both, u32 row, u32 column, float first, float second) {
    const u32 words = both ? 4 : 2, tile = column / 16 * 2 + column % 4 / 2;
    const u32 owner = 4 * (column % 16 / 4 * 2 + column % 2) + row % 16 / 4;
    u32 *out = matrix + ((u64)(row / 16 * tiles + tile) * WARP + owner) * words + row % 4 / 2;
    const Pair word = split<true>(first, second);
    WRITTEN(out, 1);
    out[0] = word.high;
    if (!both) return;
    WRITTEN(out + 2, 1);
    out[2] = word.low;
}

// By what elements of a matrix of this trace may be scaled up, before the scale that rows have, too: none reaches 2^15 then.
__device__ inline double fragment_scale(double trace) {
    int exponent = (int)(__double_as_longlong(trace) >> 52 & 0x7ff) - 1022;  // trace < 2^exponent
    if (exponent < -900) exponent = -900;
    return __longlong_as_double((long long)(1023 + 15 - exponent) << 52) / ROW_SCALE;
}

// A tile's rows of a strip, high or low parts, as tensor cores take them, whose registers are neighbours: of two columns and the four rows
// that a warp splits, a pair of rows in a word. Rows of a product come in any order, as long as both factors have the same: a warp's first
// pair is the t-th of a step of 16 rows, its second the (t + 4)-th.
//
// A left factor has both columns of the first pair first, a right factor both pairs of the first column. Columns come in any order, too:
// those of a slot are such that neither stores nor loads have two lanes of a quarter of a warp at one bank.
struct alignas(16) Plane {
    uint4 words[TILE_ROWS / 4][EDGE / 2 + 2];

    // Words of the lane's four neighbours, of the first pair of rows and of the second.
    __device__ void store_left(const u32 (&first)[4], const u32 (&second)[4]) {
        words[warp()][lane()] = {first[0], first[1], second[0], second[1]};
        words[warp()][WARP + lane()] = {first[2], first[3], second[2], second[3]};
    }
    __device__ void store_right(const u32 (&first)[4], const u32 (&second)[4]) {
        words[warp()][lane()] = {first[0], second[0], first[1], second[1]};
        words[warp()][WARP + lane()] = {first[2], second[2], first[3], second[3]};
    }

    // Of one of the two steps.
    __device__ uint4 load(u32 step, u32 slot) const { return words[4 * step + lane() % 4][slot]; }

    // The first of a slot's two columns.
    __device__ static u32 column(u32 slot) { return 4 * (slot % WARP) + 2 * (slot / WARP); }
};

// A warp's 64 x 32 products of the columns of two strips, over the rows of a slab.
struct Products {
    float whole[4][4][4] = {};

    // Where the warp's columns are, the left factor's and the right one's, and where its lane's are.
    __device__ static u32 left_slot(u32 i, u32 g) { return warp() % 2 * 32 + 8 * i + g; }
    __device__ static u32 right_slot(u32 pair, u32 g) { return warp() / 2 * 16 + 8 * pair + g; }

    // Over a tile. Null: no products with these low parts.
    __device__ void add(const Plane &left_high, const Plane *left_low, const Plane &right_high, const Plane *right_low) {
        const u32 g = lane() / 4;
        u32 right[2][4][2][2];  // high and low; tile of columns; step; half
        UNROLLED
        for (u32 step = 0; step < 2; step++)
            UNROLLED
            for (u32 pair = 0; pair < 2; pair++)
                UNROLLED
                for (u32 part = 0; part < 2; part++) {
                    if (part == 1 && !right_low) continue;
                    const uint4 words = (part == 0 ? right_high : *right_low).load(step, right_slot(pair, g));
                    right[part][2 * pair][step][0] = words.x, right[part][2 * pair][step][1] = words.y;
                    right[part][2 * pair + 1][step][0] = words.z, right[part][2 * pair + 1][step][1] = words.w;
                }
        UNROLLED
        for (u32 i = 0; i < 4; i++) {
            float products[4][4] = {};
            UNROLLED
            for (u32 step = 0; step < 2; step++)
                UNROLLED
                for (u32 part = 0; part < 2; part++) {
                    if (part == 1 && !left_low) continue;
                    u32 left[4];
                    unpack((part == 0 ? left_high : *left_low).load(step, left_slot(i, g)), left);
                    UNROLLED
                    for (u32 j = 0; j < 4; j++) multiply_add(products[j], left, right[0][j][step]);
                    if (part == 1 || !right_low) continue;
                    UNROLLED
                    for (u32 j = 0; j < 4; j++) multiply_add(products[j], left, right[1][j][step]);
                }
            UNROLLED
            for (u32 j = 0; j < 4; j++)
                UNROLLED
                for (u32 c = 0; c < 4; c++) whole[i][j][c] += products[j][c];
        }
    }

    // Where an element stands.
    __device__ static u32 row_of(u32 i, u32 c) { return Plane::column(left_slot(i, lane() / 4)) + c / 2; }
    __device__ static u32 column_of(u32 j, u32 c) { return Plane::column(right_slot(j / 2, 2 * (lane() % 4) + c % 2)) + j % 2; }

    __device__ float trace() const {
        float sum = 0;
        UNROLLED
        for (u32 i = 0; i < 4; i++)
            UNROLLED
            for (u32 j = 0; j < 4; j++)
                UNROLLED
                for (u32 c = 0; c < 4; c++)
                    if (row_of(i, c) == column_of(j, c)) sum += whole[i][j][c];
        return sum;
    }

    __device__ void write(float *__restrict__ out) const {
        UNROLLED
        for (u32 i = 0; i < 4; i++)
            UNROLLED
            for (u32 c = 0; c < 4; c++)
                UNROLLED
                for (u32 j = 0; j < 4; j += 2) {
                    float *at = out + row_of(i, c) * EDGE + column_of(j, c);
                    WRITTEN(at, 2);
                    *(float2 *)at = {whole[i][j][c], whole[i][j + 1][c]};
                }
    }
};
