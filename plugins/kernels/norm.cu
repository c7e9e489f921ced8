// The norm of all gradients. CPU twin: plugins/src/update/norm.rs.
#include "common.cuh"

struct Summed {
    const void *values;  // [count] in T
    u64 count;
    u64 block;  // the first block that has a part of it
};
static_assert(sizeof(Summed) == 24, "as in params.rs");

const u32 SUMMED = 128;  // tensors that a launch has at most
const u32 SUM_BLOCK = 16384;

struct SquareSums {
    double *out;  // [blocks]: the sum of the squares of each block's numbers
    u32 tensors, unused;
    Summed of[SUMMED];
};
static_assert(sizeof(SquareSums) == 3088, "as in params.rs");

// Launch: blocks that have 16384 numbers each of one tensor.
template <class T>
__device__ void square_sums(const SquareSums &p) {
    u32 at = 0;
    while (at + 1 < p.tensors && p.of[at + 1].block <= blockIdx.x) at++;
    const Summed of = p.of[at];
    const u64 start = (blockIdx.x - of.block) * SUM_BLOCK;
    const u32 count = of.count - start < SUM_BLOCK ? (u32)(of.count - start) : SUM_BLOCK;
    double sum = 0;
    for (u32 i = 4 * threadIdx.x; i < count; i += 4 * blockDim.x) {
        const Four values = load4((const T *)of.values + start, i, count);
        UNROLLED
        for (u32 k = 0; k < 4; k++) sum = fma((double)values.at[k], (double)values.at[k], sum);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) p.out[blockIdx.x] = sum;
}
FOR_ELEMENTS(square_sums, SquareSums)

struct GradientNorm {
    const double *sums;  // [count]
    void *out;           // in T
    u64 count;
};
static_assert(sizeof(GradientNorm) == 24, "as in params.rs");

// Launch: one block.
template <class T>
__device__ void gradient_norm(const GradientNorm &p) {
    double sum = 0;
    for (u64 at = threadIdx.x; at < p.count; at += blockDim.x) sum += p.sums[at];
    sum = block_sum(sum);
    if (threadIdx.x == 0) narrow((float)sqrt(sum), *(T *)p.out);
}
FOR_ELEMENTS(gradient_norm, GradientNorm)
