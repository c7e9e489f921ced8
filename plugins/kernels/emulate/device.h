// CUDA's language for the CPU, as far as the kernels use it: threads of a block are coroutines (emulate/driver.cpp) of one thread
// of the process, one runs at a time, and only barriers and shuffles switch. Each thread of the process has a block of its own.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#define __device__
#define __global__
#define __launch_bounds__(...)
#define __shared__ static __thread

struct Position {
    unsigned x, y, z;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
extern __thread Position threadIdx, blockIdx, blockDim, gridDim;

void __syncthreads();
double __shfl_xor_sync(unsigned mask, double value, int lanes);
double __shfl_sync(unsigned mask, double value, int lane);
void emulate_multiply_add(float (&sums)[4], const unsigned (&left)[4], const unsigned (&right)[2]);
// Notes that a block read or wrote device memory.
void emulate_moved(const void *address, size_t bytes, int written);
extern __thread unsigned *emulated_shared;
#define DYNAMIC_SHARED(name) unsigned *name = emulated_shared


inline float rsqrtf(float value) { return 1 / std::sqrt(value); }
inline float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
inline unsigned __float_as_uint(float value) {
    unsigned bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
inline long long __double_as_longlong(double value) {
    long long bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
inline double __longlong_as_double(long long bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// IEEE half precision, to nearest with ties to even: what cvt.f32.f16 and cvt.rn.f16.f32 do.
inline float half_to_float(unsigned short bits) {
    const unsigned sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31, fraction = bits & 1023;
    if (exponent == 31) return __uint_as_float(sign | 0x7f800000u | fraction << 13);
    const float magnitude = exponent == 0 ? std::ldexp((float)fraction, -24) : std::ldexp((float)(1024 + fraction), (int)exponent - 25);
    return sign ? -magnitude : magnitude;
}
inline unsigned short float_to_half(float value) {
    const unsigned short sign = __float_as_uint(value) >> 16 & 0x8000;
    const float magnitude = std::fabs(value);
    if (value != value) return 0x7fff;
    if (magnitude >= 65520) return sign | 0x7c00;
    if (magnitude == 0) return sign;
    int exponent;
    std::frexp(magnitude, &exponent);
    const int step = exponent - 11 < -24 ? -24 : exponent - 11;  // what the last bit is worth
    const float units = std::nearbyint(std::ldexp(magnitude, -step));
    if (step == -24) return sign | (unsigned short)units;  // below the normal numbers, or the first of them
    return sign | (unsigned short)(((step + 25) << 10) + (int)units - 1024);
}
