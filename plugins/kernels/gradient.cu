// From products and weights to gradients of rows. CPU twin: src/loss/gradient.rs (finish_block, project).
//
// Gram path, with K the other side's scatter matrix and mu the other side's mean:
//     sum = slope K a + slope K mean + n (impostor(centre) + slope mu.a) mu + sum over genuine pairs of excess * partner
// Tiles path, with W the weights of the pairs and b the other side's centred rows:
//     sum = W b + (sum of W) mu
// and then, for both, the derivative of x / |x|: (sum - u (u . sum)) / |x| with the unit row u.
#include "common.cuh"

const u32 NO_LINKS = 0, OF_SAMPLES = 1, OF_CLASSES = 2;

struct Finish {
    Side own, other;
    float *product;          // [band.count, dim]: slope K a, or W b; used up
    const double *constant;  // [dim]: slope K mean; null on the tiles path
    const float *tile;       // [band.count, columns]: W of these rows; or null
    const double *row_sums;  // [own.count]: sums of W, where `tile` is null; or null
    const double *cosines;   // [batch]
    const int *heads, *next; // of `links`
    Labels labels;
    const Weights *weights;
    void *out;  // [own.count, dim]
    Band band;
    u32 columns, links;
};
static_assert(sizeof(Finish) == 168, "as in params.rs");

// Genuine pairs of one row: excess * partner, at column d.
template <class T>
__device__ double linked(const Finish &p, const Weights &weights, u32 row, u32 d) {
    const T *partners = (const T *)p.other.rows;
    const u32 dim = p.own.dim;
    double sum = 0;
    if (p.links == OF_SAMPLES) {
        const long long label = label_at(p.labels, row);
        if (!in_range(label, p.other.count)) return 0;
        sum = weights.excess(p.cosines[row]) * p.other.reciprocals[label] * widen(partners[(u64)label * dim + d]);
    } else if (p.links == OF_CLASSES) {
        for (int i = p.heads[row]; i >= 0; i = p.next[i])
            sum = fma(weights.excess(p.cosines[i]) * p.other.reciprocals[i], (double)widen(partners[(u64)i * dim + d]), sum);
    }
    return sum;
}

// Launch: a warp for each row of the band. Each lane comes back to the columns it wrote, so `product` needs no barrier.
template <class T>
__device__ void finish(const Finish &p) {
    const u32 r = blockIdx.x * warps() + warp(), dim = p.own.dim;
    if (r >= p.band.count) return;
    const u32 row = p.band.first + r;
    const Weights weights = *p.weights;
    const T *x = (const T *)p.own.rows + (u64)row * dim;
    T *out = (T *)p.out + (u64)row * dim;
    const double reciprocal = p.own.reciprocals[row];
    if (weights.mute != 0) {
        const float value = weights.mute == 1 ? 0.0f : __uint_as_float(0x7fc00000);
        for (u32 d = lane(); d < dim; d += WARP) narrow(value, out[d]);
        return;
    }

    double coefficient = 0;
    if (p.constant) {
        for (u32 d = lane(); d < dim; d += WARP)
            coefficient = fma(fma((double)widen(x[d]), reciprocal, -p.own.mean[d]), p.other.mean[d], coefficient);
        coefficient = p.other.count * (weights.impostor(weights.centre) + weights.slope * warp_sum(coefficient));
    } else if (p.tile) {
        for (u32 c = lane(); c < p.columns; c += WARP) coefficient += p.tile[(u64)r * p.columns + c];
        coefficient = warp_sum(coefficient);
    } else {
        coefficient = p.row_sums[row];
    }

    float *product = p.product + (u64)r * dim;
    double along = 0, silent = 0;
    for (u32 d = lane(); d < dim; d += WARP) {
        double sum = fma(coefficient, p.other.mean[d], (double)product[d]);
        if (p.constant) sum += p.constant[d] + linked<T>(p, weights, row, d);
        product[d] = (float)sum;
        along = fma(widen(x[d]) * reciprocal, (double)product[d], along);
        silent += 0.0 * sum;
    }
    along = warp_sum(along);
    silent = warp_sum(silent);
    // No direction, or none to turn to: zero, but NaN must still show.
    const bool fixed = reciprocal == 0 || dim == 1;
    for (u32 d = lane(); d < dim; d += WARP) {
        const double turned = fma(-along, widen(x[d]) * reciprocal, (double)product[d]) * reciprocal;
        narrow((float)(fixed ? silent : turned), out[d]);
    }
}
FOR_ELEMENTS(finish, Finish)
