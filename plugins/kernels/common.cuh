// What all kernels share: element types, labels, sums over a warp or a block, and the layout of their parameters.
//
// Numbers: rows are read in their own type (f32, f16, bf16), centred rows and products are f32. Where nearly parallel rows
// would cost digits, a number is the unevaluated sum of two f32 (`Twice`), or, once a row, f64. No kernel uses
// floating-point atomics; every sum has a fixed order, so results repeat to the bit.
//
// The same text compiles for a GPU (NVRTC, see build.py) and, with PDLOSS_EMULATE, for the CPU (see emulate/).
#pragma once
#ifdef PDLOSS_EMULATE
#include "emulate/device.h"
#define UNROLLED
#define ROLLED
#define FORGET ((void)0)
// What moves is counted in the emulation: see `launches_are_those_of_the_model` in plugins/tests/cuda.rs.
#define READ(pointer, elements) emulate_moved(pointer, (elements) * sizeof *(pointer), 0)
#define WRITTEN(pointer, elements) emulate_moved(pointer, (elements) * sizeof *(pointer), 1)
#else
#define READ(pointer, elements)
#define WRITTEN(pointer, elements)
// Loops whose turns are to be laid side by side, and those that are long enough as they are.
#define UNROLLED _Pragma("unroll")
#define ROLLED _Pragma("unroll 1")
// What was read before is read again where it is wanted after this, and what comes after is not read before: neither holds registers.
// All lanes must come.
#define FORGET asm volatile("bar.warp.sync 0xffffffff;" ::: "memory")
// Shared memory whose size the launch says.
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned int name[]
#endif

typedef unsigned int u32;
typedef unsigned long long u64;

const u32 WARP = 32;
const u32 ALL_LANES = 0xffffffffu;

// Rows shorter than this have no direction (LENGTH_FLOOR in src/loss/rows.rs).
const double LENGTH_FLOOR = 1e-12;
// Keeps the variance a divisor where all similarities agree (VARIANCE_FLOOR in src/loss/decidability.rs).
const double VARIANCE_FLOOR = 1e-12;

// ---- Parameters. Twins in plugins/src/cuda/params.rs; sizes are asserted on both sides. ----

// One side of the similarities: embeddings or proxies, [count, dim].
struct Side {
    const void *rows;
    double *reciprocals;  // [count], one over each row's length; 0 for rows without direction
    double *mean;         // [dim], mean unit row
    u32 count, dim;
};
static_assert(sizeof(Side) == 32, "as in params.rs");

struct Labels {
    const void *values;  // [count] of int32 or int64
    u32 bytes, count;
};
static_assert(sizeof(Labels) == 16, "as in params.rs");

// A block of consecutive rows of a side.
struct Band {
    u32 first, count;
};
static_assert(sizeof(Band) == 8, "as in params.rs");

// Numbers that `sum_tile` gives to `conclude`, block by block: count, sum and sum of squares of the deviations of impostor, then
// of genuine pairs.
const u32 TILE_SUMS = 6;

// What the genuine and impostor pairs weigh; written by `weigh`, read by all that follows.
struct Weights {
    double level, slope, impostor_mean;                  // an impostor pair: level + slope (s - impostor_mean)
    double genuine_level, genuine_slope, genuine_mean;   // a genuine pair, likewise
    double centre;                                       // mean of the one side . mean of the other
    double mute;                                         // 0: write gradients; 1: write zeros; 2: write NaN
    double share[2];  // of embeddings, of proxies: the other side's mean = share * own mean + rest

    __device__ double impostor(double similarity) const { return level + slope * (similarity - impostor_mean); }
    __device__ double genuine(double similarity) const {
        return genuine_level + genuine_slope * (similarity - genuine_mean);
    }
    // What a genuine pair weighs more than an impostor pair of its similarity would.
    __device__ double excess(double similarity) const { return genuine(similarity) - impostor(similarity); }
};
static_assert(sizeof(Weights) == 80, "as in params.rs");

// Embeddings or proxies. Field by field, because a choice of addresses would put parameters into local memory.
__device__ inline Side choose(bool second, const Side &embeddings, const Side &proxies) {
    Side side;
    side.rows = second ? proxies.rows : embeddings.rows;
    side.reciprocals = second ? proxies.reciprocals : embeddings.reciprocals;
    side.mean = second ? proxies.mean : embeddings.mean;
    side.count = second ? proxies.count : embeddings.count;
    side.dim = embeddings.dim;
    return side;
}

// What `turn.cu` needs to know of one side's centre c beside it, with the other side's mean as share * c + rest; written by `weigh`. All of
// it is a number of f64 rounded once, since where rows are nearly parallel each is the small difference of large ones.
struct Pivot {
    float share;
    float at, toward;           // of a row u = c: u . other mean; share less that
    float level, slope, off;    // what its impostor pairs weigh together: level + slope * off
};
static_assert(sizeof(Pivot) == 24, "as in params.rs");

// Vectors of f32 beside rows are kept so long, with zeros at the end: nothing is asked where they are read.
const u32 EDGE = 128;  // columns of a strip
__device__ inline u32 padded(u32 dim) { return (dim + EDGE - 1) / EDGE * EDGE; }

// One side's mean and what the other's is beside it, in f32; written by `weigh`, [3, padded dim].
struct Vectors {
    const float *high, *low;  // own mean
    const float *rest;        // other mean - share * own mean
};
static_assert(sizeof(Vectors) == 24, "as in params.rs");

// ---- Element types ----

struct Half {
    unsigned short bits;
};
struct Brain {
    unsigned short bits;
};

template <class A, class B>
constexpr bool SAME = false;
template <class A>
constexpr bool SAME<A, A> = true;

__device__ inline float widen(float value) { return value; }
__device__ inline float widen(Brain value) { return __uint_as_float((u32)value.bits << 16); }
__device__ inline float widen(Half value) {
#ifdef PDLOSS_EMULATE
    return half_to_float(value.bits);
#else
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
    return wide;
#endif
}

__device__ inline void narrow(float value, float &out) { out = value; }
__device__ inline void narrow(float value, Brain &out) {
    u32 bits = __float_as_uint(value);
    // To nearest, ties to even; NaN must not be rounded into infinity.
    out.bits = value != value ? 0x7fff : (unsigned short)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
__device__ inline void narrow(float value, Half &out) {
#ifdef PDLOSS_EMULATE
    out.bits = float_to_half(value);
#else
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out.bits) : "f"(value));
#endif
}

// Two numbers in a word, the first below.
template <class T>
__device__ inline u32 narrow_pair(float first, float second) {
#if !defined(PDLOSS_EMULATE) && __CUDA_ARCH__ >= 800
    u32 word;
    if (SAME<T, Half>) asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
    else asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
    return word;
#else
    T low, high;
    narrow(first, low);
    narrow(second, high);
    return low.bits | (u32)high.bits << 16;
#endif
}

// Four neighbours of a row, at column d; zero beyond its end.
struct Four {
    float at[4];
};

// The same in the row's own type: what waits in registers until it is needed.
template <class T>
struct alignas(4 * sizeof(T)) Raw {
    T at[4];

    __device__ Four wide() const {
        Four out;
        UNROLLED
        for (u32 k = 0; k < 4; k++) out.at[k] = widen(at[k]);
        return out;
    }
};

// Whether rows of this length, one after the other from here on, can be loaded and stored four elements at once.
template <class T>
__device__ inline bool regular(const void *rows, u32 dim) {
    return dim % 4 == 0 && ((u64)rows & (sizeof(Raw<T>) - 1)) == 0;
}

template <class T>
__device__ inline Raw<T> load_regular(const T *at, bool inside) {
    return inside ? *(const Raw<T> *)at : Raw<T>{};
}

// Of four neighbours from column d on, where `at` points.
template <class T>
__device__ inline Raw<T> load_single(const T *at, u32 d, u32 dim) {
    Raw<T> out = {};
    UNROLLED
    for (u32 k = 0; k < 4; k++)
        if (d + k < dim) out.at[k] = at[k];
    return out;
}

// One load where the row lies so that it can be one.
template <class T>
__device__ inline Raw<T> load_raw(const T *__restrict__ row, u32 d, u32 dim) {
    if (d + 4 <= dim && ((u64)(row + d) & (sizeof(Raw<T>) - 1)) == 0) return *(const Raw<T> *)(row + d);
    return load_single(row + d, d, dim);
}

template <class T>
__device__ inline Four load4(const T *__restrict__ row, u32 d, u32 dim) {
    return load_raw(row, d, dim).wide();
}

// Of a padded vector.
__device__ inline Four load_padded(const float *__restrict__ at) {
    const float4 four = *(const float4 *)at;
    return {{four.x, four.y, four.z, four.w}};
}

__device__ inline void pack(const Four &values, float *out) {
    *(float4 *)out = {values.at[0], values.at[1], values.at[2], values.at[3]};
}
template <class T>
__device__ inline void pack(const Four &values, T *out) {
    *(uint2 *)out = {narrow_pair<T>(values.at[0], values.at[1]), narrow_pair<T>(values.at[2], values.at[3])};
}

template <class T>
__device__ inline void store_single(T *at, u32 d, u32 dim, const Four &values) {
    UNROLLED
    for (u32 k = 0; k < 4; k++)
        if (d + k < dim) narrow(values.at[k], at[k]);
}

template <class T>
__device__ inline void store4(T *__restrict__ row, u32 d, u32 dim, const Four &values) {
    if (d + 4 <= dim && ((u64)(row + d) & (sizeof(Raw<T>) - 1)) == 0) pack(values, row + d);
    else store_single(row + d, d, dim, values);
}

// Columns of a row that four neighbours at column d have, for READ and WRITTEN.
__device__ inline u32 inside4(u32 d, u32 dim) { return d >= dim ? 0 : dim - d < 4 ? dim - d : 4; }

// A number to twice the precision of f32: high + low.
struct Twice {
    float high, low;

    __device__ explicit Twice(double value) : high((float)value), low((float)(value - high)) {}
};

// value * reciprocal - mean, the mean as high + low: what two rows share is gone before anything is rounded. Reciprocals of
// lengths above 1e30 have no low part in f32; there f64 does it.
__device__ inline float centred(float value, double reciprocal, const Twice &parts, float high, float low) {
    if (reciprocal < 1e-30) return (float)(fma((double)value, reciprocal, -(double)high) - low);
    return fmaf(value, parts.low, fmaf(value, parts.high, -high)) - low;
}

// One entry point for each element type.
#define FOR_ELEMENTS(NAME, PARAMS)                                                                          \
    extern "C" __global__ void __launch_bounds__(256) NAME##_f32(PARAMS p) { NAME<float>(p); }              \
    extern "C" __global__ void __launch_bounds__(256) NAME##_f16(PARAMS p) { NAME<Half>(p); }               \
    extern "C" __global__ void __launch_bounds__(256) NAME##_bf16(PARAMS p) { NAME<Brain>(p); }

__device__ inline long long label_at(const Labels &labels, u32 index) {
    if (labels.bytes == 4) return ((const int *)labels.values)[index];
    return ((const long long *)labels.values)[index];
}

__device__ inline bool in_range(long long label, u32 classes) { return label >= 0 && label < (long long)classes; }

// ---- Threads ----

__device__ inline u32 lane() { return threadIdx.x % WARP; }
__device__ inline u32 warp() { return threadIdx.x / WARP; }
__device__ inline u32 warps() { return blockDim.x / WARP; }

// threadIdx.x, read again: what follows from it is not kept from before.
__device__ inline u32 fresh_thread() {
#ifdef PDLOSS_EMULATE
    return threadIdx.x;
#else
    u32 thread;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
    return thread;
#endif
}

// Sum over the warp, in all lanes. All 32 lanes must call.
__device__ inline double warp_sum(double value) {
    for (u32 step = WARP / 2; step > 0; step /= 2) value += __shfl_xor_sync(ALL_LANES, value, step);
    return value;
}

__device__ inline float warp_sum(float value) {
    for (u32 step = WARP / 2; step > 0; step /= 2) value += __shfl_xor_sync(ALL_LANES, value, step);
    return value;
}

// Sums of N values over the warp, N a power of two: lane l gets that of value l / (32 / N), in a fraction of the shuffles that N
// sums take. All lanes must call.
template <u32 N>
__device__ inline double transposed_sum(double (&values)[N]) {
    u32 step = WARP / 2;
    UNROLLED
    for (u32 n = N / 2; n > 0; n /= 2) {
        const bool upper = lane() & step;
        UNROLLED
        for (u32 i = 0; i < n; i++) {
            const double given = upper ? values[i] : values[i + n], kept = upper ? values[i + n] : values[i];
            values[i] = kept + __shfl_xor_sync(ALL_LANES, given, step);
        }
        step /= 2;
    }
    double sum = values[0];
    UNROLLED
    for (u32 last = WARP / N / 2; last > 0; last /= 2) sum += __shfl_xor_sync(ALL_LANES, sum, last);
    return sum;
}

// Sum over the block, in all threads. All threads must call; blocks have at most 32 warps, all of them full.
__device__ inline double block_sum(double value) {
    __shared__ double sums[WARP];
    value = warp_sum(value);
    __syncthreads();  // an earlier call's sums have been read
    if (lane() == 0) sums[warp()] = value;
    __syncthreads();
    return warp_sum(lane() < warps() ? sums[lane()] : 0.0);
}
