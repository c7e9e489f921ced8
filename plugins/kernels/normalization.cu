// Normalization in training. CPU twin: plugins/src/normalization, which has the formulas.
//
// Numbers are f32; eight of them are added up in f32, and all such sums in f64.
#include "common.cuh"

// By the batch: x is [batch, channels, length], of which a channel is cut into slabs.
struct BatchNorm {
    const void *x, *grad;                                       // forward has no grad
    const void *scale, *bias, *mean, *variance;                 // [channels]; forward has running mean and variance
    void *out;                                                  // y, or the gradient of x
    void *first, *second;                                       // [channels]: mean and variance, or the gradients of scale and bias
    void *next_mean, *next_variance;                            // [channels]
    double *sums;                                               // [channels, slabs, 2]
    double epsilon, momentum, widened;                          // widened: what a variance is multiplied with before it is followed
    u32 batch, channels, length, slabs, slab, unused;           // slab: numbers of a channel that a block has, a multiple of 4
};
static_assert(sizeof(BatchNorm) == 144, "as in params.rs");

// A block's part of a channel: calls `take` with where up to four neighbours are, and how many they are.
template <class Take>
__device__ inline void over_slab(const BatchNorm &p, const Take &take) {
    const u64 all = (u64)p.batch * p.length, start = (u64)blockIdx.y * p.slab;
    const u64 end = start + p.slab < all ? start + p.slab : all;
    // Four neighbours are of one image where its rows are so many.
    const u32 step = p.length % 4 == 0 ? 4 : 1;
    for (u64 at = start + (u64)step * threadIdx.x; at < end; at += (u64)step * blockDim.x) {
        const u64 image = at / p.length;
        take((image * p.channels + blockIdx.x) * p.length + at % p.length, step);
    }
}

// What a group of neighbours adds to two sums.
struct Two {
    Four a, b;
};

// Two sums over a block's part of a channel, of what `of` makes of neighbours.
template <class Of>
__device__ inline void add_slab(const BatchNorm &p, const Of &of) {
    double a = 0, b = 0;
    float near_a = 0, near_b = 0;
    u32 near = 0;
    over_slab(p, [&](u64 at, u32 count) {
        const Two two = of(at, count);
        UNROLLED
        for (u32 k = 0; k < 4; k++) {
            if (k >= count) break;
            near_a += two.a.at[k];
            near_b += two.b.at[k];
        }
        near += count;
        if (near < 8) return;
        a += near_a;
        b += near_b;
        near_a = near_b = 0;
        near = 0;
    });
    a = block_sum(a + near_a);
    b = block_sum(b + near_b);
    if (threadIdx.x != 0) return;
    double *out = p.sums + 2 * ((u64)blockIdx.x * p.slabs + blockIdx.y);
    out[0] = a;
    out[1] = b;
}

// The channel's sums, in every thread. All threads must call.
__device__ inline void channel_sums(const BatchNorm &p, double &a, double &b) {
    const double *sums = p.sums + 2 * (u64)blockIdx.x * p.slabs;
    a = b = 0;
    for (u32 slab = lane(); slab < p.slabs; slab += WARP) {
        a += sums[2 * slab];
        b += sums[2 * slab + 1];
    }
    a = warp_sum(a);
    b = warp_sum(b);
}

template <class T>
__device__ inline float at_channel(const void *values) {
    return widen(((const T *)values)[blockIdx.x]);
}
template <class T>
__device__ inline void put_channel(void *out, double value) {
    if (out) narrow((float)value, ((T *)out)[blockIdx.x]);
}

// What the numbers of a channel are taken about, so that nothing is lost where its mean is far from 0.
template <class T>
__device__ inline float first_of(const BatchNorm &p) {
    return widen(((const T *)p.x)[(u64)blockIdx.x * p.length]);
}

// Launch: channels x slabs blocks.
template <class T>
__device__ void batch_sums(const BatchNorm &p) {
    const float from = first_of<T>(p);
    add_slab(p, [&](u64 at, u32 count) {
        Two two = {load4((const T *)p.x + at, 0, count), {}};
        for (u32 k = 0; k < 4; k++) {
            two.a.at[k] -= from;
            two.b.at[k] = two.a.at[k] * two.a.at[k];
        }
        return two;
    });
}
FOR_ELEMENTS(batch_sums, BatchNorm)

// Launch: as `batch_sums`, whose sums it adds up.
template <class T>
__device__ void batch_norm(const BatchNorm &p) {
    const double count = (double)p.batch * p.length;
    double sum, squares;
    channel_sums(p, sum, squares);
    sum /= count;
    squares = squares / count - sum * sum;
    // As the gradient will read them.
    T kept_mean, kept_variance;
    narrow((float)(first_of<T>(p) + sum), kept_mean);
    narrow((float)(squares > 0 || squares != squares ? squares : 0), kept_variance);
    const float mean = widen(kept_mean), variance = widen(kept_variance);
    if (blockIdx.y == 0 && threadIdx.x == 0) {
        put_channel<T>(p.first, mean);
        put_channel<T>(p.second, variance);
        const float keep = (float)p.momentum, take = (float)(1 - p.momentum);
        put_channel<T>(p.next_mean, at_channel<T>(p.mean) * keep + mean * take);
        put_channel<T>(p.next_variance, at_channel<T>(p.variance) * keep + (float)(variance * p.widened) * take);
    }
    const float factor = at_channel<T>(p.scale) * (1 / sqrtf(variance + (float)p.epsilon)), bias = at_channel<T>(p.bias);
    over_slab(p, [&](u64 at, u32 count) {
        Four x = load4((const T *)p.x + at, 0, count);
        for (u32 k = 0; k < 4; k++) x.at[k] = (x.at[k] - mean) * factor + bias;
        store4((T *)p.out + at, 0, count, x);
    });
}
FOR_ELEMENTS(batch_norm, BatchNorm)

// Launch: as `batch_sums`.
template <class T>
__device__ void batch_grad_sums(const BatchNorm &p) {
    const float mean = at_channel<T>(p.mean);
    add_slab(p, [&](u64 at, u32 count) {
        Two two = {load4((const T *)p.grad + at, 0, count), load4((const T *)p.x + at, 0, count)};
        for (u32 k = 0; k < 4; k++) two.b.at[k] = two.a.at[k] * (two.b.at[k] - mean);
        return two;
    });
}
FOR_ELEMENTS(batch_grad_sums, BatchNorm)

// Launch: as `batch_grad_sums`, whose sums it adds up. With c = x - mean: dx = scale r (g - mean g - c r^2 mean(g c)).
template <class T>
__device__ void batch_grad(const BatchNorm &p) {
    const double count = (double)p.batch * p.length;
    double sum, along;
    channel_sums(p, sum, along);
    const float mean = at_channel<T>(p.mean), scale = at_channel<T>(p.scale);
    const double r = 1 / sqrtf(at_channel<T>(p.variance) + (float)p.epsilon);
    if (blockIdx.y == 0 && threadIdx.x == 0) {
        put_channel<T>(p.first, along * r);
        put_channel<T>(p.second, sum);
    }
    if (!p.out) return;
    const float size = (float)(scale * r), middle = (float)(sum / count), bend = (float)(r * r * along / count);
    over_slab(p, [&](u64 at, u32 n) {
        const Four x = load4((const T *)p.x + at, 0, n);
        Four g = load4((const T *)p.grad + at, 0, n);
        for (u32 k = 0; k < 4; k++) g.at[k] = (g.at[k] - middle - (x.at[k] - mean) * bend) * size;
        store4((T *)p.out + at, 0, n, g);
    });
}
FOR_ELEMENTS(batch_grad, BatchNorm)

// Over the last axes: x is [rows, width].
struct LayerNorm {
    const void *grad, *x;
    const void *scale;                 // [width]
    const void *mean, *deviation;      // [rows]; deviation: one over it
    void *out;                         // the gradient of x
    void *scale_grad, *bias_grad;      // [width]
    double *sums;                      // [slabs, 2, width]
    u32 rows, width, slabs, slab;      // slab: rows of a block
};
static_assert(sizeof(LayerNorm) == 88, "as in params.rs");

// Launch: a warp for each row.
template <class T>
__device__ void layer_grad(const LayerNorm &p) {
    const u64 row = (u64)blockIdx.x * warps() + warp();
    if (row >= p.rows) return;
    const T *x = (const T *)p.x + row * p.width, *grad = (const T *)p.grad + row * p.width, *scale = (const T *)p.scale;
    const float mean = widen(((const T *)p.mean)[row]), r = widen(((const T *)p.deviation)[row]);
    double sum = 0, along = 0;
    for (u32 d = 4 * lane(); d < p.width; d += 4 * WARP) {
        const Four values = load4(x, d, p.width), g = load4(grad, d, p.width), s = load4(scale, d, p.width);
        float near_sum = 0, near_along = 0;
        // Where nothing is loaded the scale is 0.
        for (u32 k = 0; k < 4; k++) {
            const float h = g.at[k] * s.at[k];
            near_sum += h;
            near_along += h * ((values.at[k] - mean) * r);
        }
        sum += near_sum;
        along += near_along;
    }
    const float middle = (float)(warp_sum(sum) / p.width), bend = (float)(warp_sum(along) / p.width);
    for (u32 d = 4 * lane(); d < p.width; d += 4 * WARP) {
        const Four values = load4(x, d, p.width), s = load4(scale, d, p.width);
        Four g = load4(grad, d, p.width);
        for (u32 k = 0; k < 4; k++) g.at[k] = (g.at[k] * s.at[k] - middle - (values.at[k] - mean) * r * bend) * r;
        store4((T *)p.out + row * p.width, d, p.width, g);
    }
}
FOR_ELEMENTS(layer_grad, LayerNorm)

// Launch: a thread for each column, and slabs of rows.
template <class T>
__device__ void layer_columns(const LayerNorm &p) {
    const u32 column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= p.width) return;
    const u64 start = (u64)blockIdx.y * p.slab, end = start + p.slab < p.rows ? start + p.slab : p.rows;
    double along = 0, sum = 0;
    for (u64 first = start; first < end; first += 8) {
        float near_along = 0, near_sum = 0;
        for (u64 row = first; row < first + 8 && row < end; row++) {
            const float g = widen(((const T *)p.grad)[row * p.width + column]), x = widen(((const T *)p.x)[row * p.width + column]);
            near_along += g * ((x - widen(((const T *)p.mean)[row])) * widen(((const T *)p.deviation)[row]));
            near_sum += g;
        }
        along += near_along;
        sum += near_sum;
    }
    double *out = p.sums + 2ull * blockIdx.y * p.width + column;
    out[0] = along;
    out[p.width] = sum;
}
FOR_ELEMENTS(layer_columns, LayerNorm)

// Launch: a thread for each column.
template <class T>
__device__ void layer_scale(const LayerNorm &p) {
    const u32 column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= p.width) return;
    double along = 0, sum = 0;
    for (u32 slab = 0; slab < p.slabs; slab++) {
        along += p.sums[2ull * slab * p.width + column];
        sum += p.sums[(2ull * slab + 1) * p.width + column];
    }
    if (p.scale_grad) narrow((float)along, ((T *)p.scale_grad)[column]);
    if (p.bias_grad) narrow((float)sum, ((T *)p.bias_grad)[column]);
}
FOR_ELEMENTS(layer_scale, LayerNorm)
