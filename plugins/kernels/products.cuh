// Products on tensor cores. They multiply f16 and add in f32. A centred unit row is below 2 in size, so that 2^14 times it is far from f16's
// limits, and in two parts, high + low, it keeps 22 bits: as many as two TF32 numbers, at twice their rate. Three products are
// added up, high * high + high * low + low * high. Tensor cores cut sums off where f32 would round; so that this does not add up
// over many rows, a tile's sums are short, and added to the whole by ordinary f32 additions.
//
// Devices below compute capability 8.0 have other instructions and take the path without.
#pragma once
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

// Of two numbers that are scaled already. `times`: what the low parts are multiplied with.
template <bool SPLIT>
__device__ inline Pair split_scaled(float first, float second, float times = 1) {
    Half high[2], low[2];
    narrow(first, high[0]);
    narrow(second, high[1]);
    Pair out = {high[0].bits | (u32)high[1].bits << 16, 0};
    if (SPLIT) {
        narrow(times * (first - widen(high[0])), low[0]);
        narrow(times * (second - widen(high[1])), low[1]);
        out.low = low[0].bits | (u32)low[1].bits << 16;
    }
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
                                    const u32 (&right_low)[2], bool both) {
    multiply_add(sums, high, right_high);
    if (SPLIT) multiply_add(sums, high, right_low);
    if (SPLIT && both) multiply_add(sums, low, right_high);
}
