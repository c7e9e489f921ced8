// From products and weights to gradients of rows. CPU twin: src/loss/gradient.rs (finish_block), where the formulas are
// derived.
//
// A row's gradient is (g - u (u . g)) / |x| with the unit row u = mean + a and
//     g = W (other mean) + sum
// Gram path, with K the other side's scatter matrix and `along` = K (own mean):
//     sum = slope (along + K a) + sum over genuine pairs of excess * (partner - other mean)
//     W = n impostor(u . other mean) + sum of the excesses
// Tiles path, with W_ic the weights of the pairs and b_c the other side's centred rows:
//     sum = sum over c of W_ic b_c        W = sum over c of W_ic
// Of nearly parallel rows the last step takes out nearly all of W (other mean). With other mean = share * mean + rest
//     other mean - u (u . other mean) = (share - at) mean + rest - at a        at = u . other mean
// every term is as small as the result.
#include "common.cuh"

const u32 NO_LINKS = 0, OF_SAMPLES = 1, OF_CLASSES = 2;

struct Finish {
    Side own, other;
    Vectors vectors, others;
    float *product;          // [band.count, dim]: slope K a, or W b; used up
    const float *constant;   // [dim]: slope K mean; null on the tiles path
    const float *tile;       // [band.count, columns]: W of these rows; or null
    const double *row_sums;  // [own.count]: sums of W, where `tile` is null; or null
    const double *cosines;   // [batch]
    const int *heads;        // of `heads`
    const u64 *keys;
    const float *sums;       // of `gather_links`
    const double *totals;
    Labels labels;
    const Weights *weights;
    void *out;  // [own.count, dim]
    Band band;
    u32 columns, links;
    u32 side, unused;  // 0: embeddings, 1: proxies
};
static_assert(sizeof(Finish) == 240, "as in params.rs");

// What genuine pairs add to g at four columns; `total` gets the sum of their excesses.
template <class T>
__device__ Four linked(const Finish &p, const Weights &weights, u32 row, u32 d, double &total) {
    const u32 dim = p.own.dim;
    Four sum = {};
    total = 0;
    if (p.links == OF_SAMPLES) {
        const long long label = label_at(p.labels, row);
        if (!in_range(label, p.other.count)) return sum;
        const double reciprocal = p.other.reciprocals[label];
        const Twice parts(reciprocal);
        total = weights.excess(p.cosines[row]);
        const T *partner = (const T *)p.other.rows + (u64)label * dim;
        READ(partner + d, inside4(d, dim));
        const Four x = load4(partner, d, dim);
        const Four high = load4(p.others.high, d, dim), low = load4(p.others.low, d, dim);
        for (u32 k = 0; k < 4; k++)
            sum.at[k] = (float)total * centred(x.at[k], reciprocal, parts, high.at[k], low.at[k]);
    } else if (p.links == OF_CLASSES && p.heads[row] >= 0) {
        const u32 batch = p.other.count;
        ROLLED
        for (u32 at = p.heads[row]; at < batch && key_label(p.keys[at]) == row; at = (at / PIECE + 1) * PIECE) {
            const Four piece = load_padded(p.sums + (u64)at * padded(dim) + d);
            for (u32 k = 0; k < 4; k++) sum.at[k] += piece.at[k];
            total += p.totals[at];
        }
    }
    return sum;
}

// Where there is nothing to turn to.
template <class T>
__device__ void mute_row(const Finish &p, u32 row) {
    const float value = p.weights->mute == 1 ? 0.0f : __uint_as_float(0x7fc00000);
    T *out = (T *)p.out + (u64)row * p.own.dim;
    for (u32 d = 4 * lane(); d < p.own.dim; d += 4 * WARP) store4(out, d, p.own.dim, {{value, value, value, value}});
}

// One row by one warp; `r` is its number in the tile of weights. Each lane comes back to the columns of `product` that it wrote,
// so that needs no barrier.
template <class T>
__device__ void finish_row(const Finish &p, u32 row, u32 r, float *__restrict__ product) {
    const u32 dim = p.own.dim;
    const Weights weights = *p.weights;
    const T *__restrict__ x = (const T *)p.own.rows + (u64)row * dim;
    T *__restrict__ out = (T *)p.out + (u64)row * dim;
    const double reciprocal = p.own.reciprocals[row];
    const Twice parts(reciprocal);
    if (weights.mute != 0) return mute_row<T>(p, row);

    double at = 0, excess = 0, weight = 0;
    float along = 0;
    ROLLED
    for (u32 d = 4 * lane(); d < dim; d += 4 * WARP) {
        const Four values = load4(x, d, dim), high = load4(p.vectors.high, d, dim), low = load4(p.vectors.low, d, dim);
        Four sum = load4(product, d, dim);
        if (p.constant) {
            const Four constant = load4(p.constant, d, dim), pairs = linked<T>(p, weights, row, d, excess);
            for (u32 k = 0; k < 4; k++) sum.at[k] += constant.at[k] + pairs.at[k];
        }
        UNROLLED
        for (u32 k = 0; k < 4; k++) {
            at = fma((double)values.at[k], d + k < dim ? p.other.mean[d + k] : 0.0, at);
            const float a = centred(values.at[k], reciprocal, parts, high.at[k], low.at[k]);
            along = fmaf(a, sum.at[k], fmaf(high.at[k], sum.at[k], along));
        }
        store4(product, d, dim, sum);
    }
    at = warp_sum(at) * reciprocal;
    along = warp_sum(along);
    if (p.constant) {
        // Lanes beyond a short row have seen no pair; the first lane has.
        weight = p.other.count * weights.impostor(at) + __shfl_sync(ALL_LANES, excess, 0);
    } else if (p.tile) {
        for (u32 c = lane(); c < p.columns; c += WARP) weight += p.tile[(u64)r * p.columns + c];
        weight = warp_sum(weight);
    } else {
        weight = p.row_sums[row];
    }

    const double share = p.side == 0 ? weights.share[0] : weights.share[1];
    const float of_rest = (float)weight, of_mean = (float)(weight * (share - at) - along);
    const float of_row = (float)(-weight * at - along);
    // No direction, or none to turn to: what is left of u is rounding. Zero, but NaN must still show.
    const bool fixed = reciprocal == 0 || dim == 1;
    ROLLED
    for (u32 d = 4 * lane(); d < dim; d += 4 * WARP) {
        const Four values = load4(x, d, dim), high = load4(p.vectors.high, d, dim), low = load4(p.vectors.low, d, dim);
        const Four rest = load4(p.vectors.rest, d, dim), sum = load4(product, d, dim);
        Four turned;
        for (u32 k = 0; k < 4; k++) {
            const float a = centred(values.at[k], reciprocal, parts, high.at[k], low.at[k]);
            const float value = fmaf(of_row, a, fmaf(of_mean, high.at[k], fmaf(of_rest, rest.at[k], sum.at[k])));
            turned.at[k] = fixed ? 0.0f * (sum.at[k] + of_rest) : (float)(value * reciprocal);
        }
        WRITTEN(out + d, inside4(d, dim));
        store4(out, d, dim, turned);
    }
}
// Launch: a warp for each row of the band.
template <class T>
__device__ void finish(const Finish &p) {
    const u32 r = blockIdx.x * warps() + warp();
    if (r < p.band.count) finish_row<T>(p, p.band.first + r, r, p.product + (u64)r * p.own.dim);
}
FOR_ELEMENTS(finish, Finish)
