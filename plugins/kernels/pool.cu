// The gradient of MaxPool. CPU twin: plugins/src/convolution/pool.rs.
#include "common.cuh"

// A window that moves over images of one channel, over two axes.
struct MaxPool {
    const void *grad;  // [planes, places]
    const void *x;     // [planes, lengths]
    u32 *largest;      // [planes, places]: which element of its image; none where none is
    void *out;         // as x
    u64 planes;
    u32 lengths[2], places[2], kernel[2], strides[2], dilations[2], begin[2];
};
static_assert(sizeof(MaxPool) == 88, "as in params.rs");

// Launch: threads stride over the places. The first of the largest elements of each window: what is no number, or minus infinity, never is.
template <class T>
__device__ void max_pool(const MaxPool &p) {
    const u32 area = p.lengths[0] * p.lengths[1], count = p.places[0] * p.places[1];
    for (u64 at = (u64)blockIdx.x * blockDim.x + threadIdx.x; at < p.planes * count; at += (u64)gridDim.x * blockDim.x) {
        const T *image = (const T *)p.x + at / count * area;
        const u32 place = (u32)(at % count);
        const long long top = (long long)(place / p.places[1]) * p.strides[0] - p.begin[0];
        const long long left = (long long)(place % p.places[1]) * p.strides[1] - p.begin[1];
        float best = __uint_as_float(0xff800000u);
        u32 found = ~0u;
        for (u32 row = 0; row < p.kernel[0]; row++) {
            const long long y = top + (long long)row * p.dilations[0];
            if (y < 0 || y >= p.lengths[0]) continue;
            for (u32 column = 0; column < p.kernel[1]; column++) {
                const long long x = left + (long long)column * p.dilations[1];
                if (x < 0 || x >= p.lengths[1]) continue;
                const u32 element = (u32)(y * p.lengths[1] + x);
                const float value = widen(image[element]);
                if (value > best) {
                    best = value;
                    found = element;
                }
            }
        }
        p.largest[at] = found;
    }
}
FOR_ELEMENTS(max_pool, MaxPool)

// The place along an axis whose window meets an element with a tap, or -1.
__device__ inline int met_by(const MaxPool &p, u32 axis, u32 element, u32 tap) {
    const long long from = (long long)element + p.begin[axis] - (long long)tap * p.dilations[axis];
    if (from < 0 || from % p.strides[axis] != 0) return -1;
    const long long place = from / p.strides[axis];
    return place < p.places[axis] ? (int)place : -1;
}

// Launch: threads stride over the elements. Each asks the windows that meet it, in their order: no atomics, and a sum has one order.
template <class T>
__device__ void max_pool_grad(const MaxPool &p) {
    const u32 area = p.lengths[0] * p.lengths[1], count = p.places[0] * p.places[1];
    for (u64 at = (u64)blockIdx.x * blockDim.x + threadIdx.x; at < p.planes * area; at += (u64)gridDim.x * blockDim.x) {
        const u64 first = at / area * count;
        const u32 element = (u32)(at % area), y = element / p.lengths[1], x = element % p.lengths[1];
        float sum = 0;
        for (u32 row = p.kernel[0]; row-- > 0;) {
            const int down = met_by(p, 0, y, row);
            for (u32 column = p.kernel[1]; down >= 0 && column-- > 0;) {
                const int along = met_by(p, 1, x, column);
                if (along < 0) continue;
                const u64 place = first + (u32)down * p.places[1] + (u32)along;
                if (p.largest[place] == element) sum += widen(((const T *)p.grad)[place]);
            }
        }
        narrow(sum, ((T *)p.out)[at]);
    }
}
FOR_ELEMENTS(max_pool_grad, MaxPool)
