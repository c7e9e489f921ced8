// Genuine pairs: their cosines, and which samples belong to a class. CPU twin: src/loss/forward.rs (genuine_cosines) and
// src/loss/gradient.rs (Links).
//
// A label out of range is never used as an index: its cosine is NaN, it belongs to no class, and `conclude` counts it.
#include "common.cuh"

struct Cosines {
    Side embeddings, proxies;
    Labels labels;
    double *out;  // [batch]
};
static_assert(sizeof(Cosines) == 88, "as in params.rs");

// The cosine of a sample and its class, in f64. All lanes of a warp must call.
template <class T>
__device__ void cosine(const Cosines &p, u32 sample) {
    const u32 dim = p.embeddings.dim;
    if (sample >= p.embeddings.count) return;
    const long long label = label_at(p.labels, sample);
    const bool valid = in_range(label, p.proxies.count);
    const u32 own = valid ? (u32)label : 0;
    const T *z = (const T *)p.embeddings.rows + (u64)sample * dim;
    const T *q = (const T *)p.proxies.rows + (u64)own * dim;
    double sum = 0;
    for (u32 d = lane(); d < dim; d += WARP) {
        READ(z + d, 1);
        READ(q + d, 1);
        sum = fma((double)widen(z[d]), (double)widen(q[d]), sum);
    }
    sum = warp_sum(sum) * p.embeddings.reciprocals[sample] * p.proxies.reciprocals[own];
    if (lane() == 0) p.out[sample] = valid ? sum : __longlong_as_double(0x7ff8000000000000ll);
}

// Launch: a warp for each sample.
template <class T>
__device__ void cosines(const Cosines &p) {
    cosine<T>(p, blockIdx.x * warps() + warp());
}
FOR_ELEMENTS(cosines, Cosines)

// Samples in the order of their labels, as keys: label, then sample.
struct Links {
    Labels labels;
    u64 *keys, *merged;  // [batch]
    int *heads;          // [classes]: where in the keys a class starts, or -1
    u32 classes, run;    // run: keys that are in order already, side by side
};
static_assert(sizeof(Links) == 48, "as in params.rs");

const u32 SORTED = 1024;  // keys that a block brings in order

__device__ inline u32 key_label(u64 key) { return (u32)(key >> 32); }
__device__ inline u32 key_sample(u64 key) { return (u32)key; }

// Keys of 1024 samples, in order; those of labels out of range come last. All threads of the block must call.
__device__ inline void sort_labels(const Links &p, u32 block) {
    __shared__ u64 keys[SORTED];
    const u32 first = block * SORTED;
    for (u32 at = threadIdx.x; at < SORTED; at += blockDim.x) {
        u64 key = ~0ull;
        if (first + at < p.labels.count) {
            const long long label = label_at(p.labels, first + at);
            key = (u64)(in_range(label, p.classes) ? (u32)label : ~0u) << 32 | (first + at);
        }
        keys[at] = key;
    }
    // Bitonic: blocks of `size` keys become ordered, up and down in turn.
    for (u32 size = 2; size <= SORTED; size *= 2) {
        for (u32 step = size / 2; step > 0; step /= 2) {
            __syncthreads();
            for (u32 pair = threadIdx.x; pair < SORTED / 2; pair += blockDim.x) {
                const u32 low = 2 * pair - (pair & (step - 1)), high = low + step;
                const u64 left = keys[low], right = keys[high];
                const bool swap = (left > right) == ((low & size) == 0);
                keys[low] = swap ? right : left;
                keys[high] = swap ? left : right;
            }
        }
    }
    __syncthreads();
    for (u32 at = threadIdx.x; at < SORTED && first + at < p.labels.count; at += blockDim.x) p.keys[first + at] = keys[at];
}

// Two neighbouring runs become one: a key's place is its place in its own run, and how many of the other run are smaller.
// Launch: a thread for each key.
extern "C" __global__ void __launch_bounds__(256) merge_labels(Links p) {
    const u32 at = blockIdx.x * blockDim.x + threadIdx.x, count = p.labels.count;
    if (at >= count) return;
    const u64 key = p.keys[at];
    const u32 own = at / p.run * p.run, pair = own / (2 * p.run) * (2 * p.run);
    const u32 other = own == pair ? pair + p.run : pair;
    u32 low = other < count ? other : count, high = other + p.run < count ? other + p.run : count;
    const u32 start = low;
    while (low < high) {
        const u32 middle = (low + high) / 2;
        if (p.keys[middle] < key) low = middle + 1;
        else high = middle;
    }
    p.merged[pair + (at - own) + (low - start)] = key;
}

// The key at a place, if it is the first of its class, is where the class starts; `prepare` has set all others to -1.
__device__ inline void find_head(const Links &p, u32 at) {
    if (at >= p.labels.count) return;
    const u32 label = key_label(p.keys[at]);
    if (label < p.classes && (at == 0 || key_label(p.keys[at - 1]) != label)) p.heads[label] = (int)at;
}

// Launch: a thread for each key.
extern "C" __global__ void __launch_bounds__(256) heads(Links p) { find_head(p, blockIdx.x * blockDim.x + threadIdx.x); }

struct GatherLinks {
    Side embeddings;
    const float *high, *low;  // their mean
    const u64 *keys;
    const double *cosines;
    const Weights *weights;
    float *sums;    // [batch, padded dim]; rows of pieces alone are written
    double *totals; // [batch], likewise
    u32 classes, unused;
};
static_assert(sizeof(GatherLinks) == 96, "as in params.rs");

const u32 PIECE = 32;  // no piece of a class crosses a multiple of this

// What the samples of a class add to its gradient, in pieces, each kept at the place of its first key: excess * centred row,
// and the sum of the excesses. One piece's keys and 128 columns, by a warp.
template <class T>
__device__ void gather_piece(const GatherLinks &p, u32 piece, u32 columns) {
    const u32 dim = p.embeddings.dim, d = columns * 4 * WARP + 4 * lane();
    const u32 first = piece * PIECE;
    const u32 last = first + PIECE < p.embeddings.count ? first + PIECE : p.embeddings.count;
    const Weights weights = *p.weights;
    const Four high = load_padded(p.high + d), low = load_padded(p.low + d);
    Four sum = {};
    double total = 0;
    u32 start = first;
    for (u32 at = first; at < last; at++) {
        const u64 key = p.keys[at];
        const u32 label = key_label(key), sample = key_sample(key);
        if (label >= p.classes) return;  // so are all that follow
        const double excess = weights.excess(p.cosines[sample]), reciprocal = p.embeddings.reciprocals[sample];
        const Twice parts(reciprocal);
        const T *row = (const T *)p.embeddings.rows + (u64)sample * dim;
        READ(row + d, inside4(d, dim));
        const Four x = load4(row, d, dim);
        for (u32 k = 0; k < 4; k++)
            sum.at[k] = fmaf((float)excess, centred(x.at[k], reciprocal, parts, high.at[k], low.at[k]), sum.at[k]);
        total += excess;
        if (at + 1 < last && key_label(p.keys[at + 1]) == label) continue;
        pack(sum, p.sums + (u64)start * padded(dim) + d);
        if (d == 0) p.totals[start] = total;
        sum = {};
        total = 0;
        start = at + 1;
    }
}

// Launch: blocks of a warp each; blockIdx.x a piece's keys, blockIdx.y 128 columns.
template <class T>
__device__ void gather_links(const GatherLinks &p) {
    gather_piece<T>(p, blockIdx.x, blockIdx.y);
}
extern "C" __global__ void __launch_bounds__(32) gather_links_f32(GatherLinks p) { gather_links<float>(p); }
extern "C" __global__ void __launch_bounds__(32) gather_links_f16(GatherLinks p) { gather_links<Half>(p); }
extern "C" __global__ void __launch_bounds__(32) gather_links_bf16(GatherLinks p) { gather_links<Brain>(p); }
