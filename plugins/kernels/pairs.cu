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

// The cosine of each sample and its class, in f64. Launch: a warp for each sample.
template <class T>
__device__ void cosines(const Cosines &p) {
    const u32 sample = blockIdx.x * warps() + warp(), dim = p.embeddings.dim;
    if (sample >= p.embeddings.count) return;
    const long long label = label_at(p.labels, sample);
    const bool valid = in_range(label, p.proxies.count);
    const u32 own = valid ? (u32)label : 0;
    const T *z = (const T *)p.embeddings.rows + (u64)sample * dim;
    const T *q = (const T *)p.proxies.rows + (u64)own * dim;
    double sum = 0;
    for (u32 d = lane(); d < dim; d += WARP) sum = fma((double)widen(z[d]), (double)widen(q[d]), sum);
    sum = warp_sum(sum) * p.embeddings.reciprocals[sample] * p.proxies.reciprocals[own];
    if (lane() == 0) p.out[sample] = valid ? sum : __longlong_as_double(0x7ff8000000000000ll);
}
FOR_ELEMENTS(cosines, Cosines)

struct Links {
    Labels labels;
    int *heads;  // [classes]: the first sample of each class, or -1
    int *next;   // [batch]: the next sample of the same class, or -1
    u32 classes, unused;
};
static_assert(sizeof(Links) == 40, "as in params.rs");

// Launch: threads stride over the classes. Before `links`.
extern "C" __global__ void __launch_bounds__(256) no_links(Links p) {
    for (u32 c = blockIdx.x * blockDim.x + threadIdx.x; c < p.classes; c += gridDim.x * blockDim.x) p.heads[c] = -1;
}

// Samples of a class as a list in ascending order, so that their gradients add up in one order. Launch: a thread for each
// sample, which looks at all labels (all threads at the same one at a time): B^2 comparisons cost less than a sort's
// launches up to some ten thousand samples.
extern "C" __global__ void __launch_bounds__(256) links(Links p) {
    const u32 sample = blockIdx.x * blockDim.x + threadIdx.x;
    if (sample >= p.labels.count) return;
    const long long own = label_at(p.labels, sample);
    bool first = true;
    int next = -1;
    for (u32 other = 0; other < p.labels.count; other++) {
        if (label_at(p.labels, other) != own) continue;
        if (other < sample) first = false;
        if (other > sample && next < 0) next = (int)other;
    }
    p.next[sample] = next;
    if (first && in_range(own, p.classes)) p.heads[own] = (int)sample;
}
