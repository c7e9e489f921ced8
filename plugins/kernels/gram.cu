// The Gram path: sums over all similarities from two D x D scatter matrices. CPU twin: src/loss/gram.rs, and for the
// gradient's products src/loss/backward.rs (scatter_gradient).
//
// The matrix products themselves are cuBLAS's (f32, never TF32): a batch of partial Gram matrices over groups of rows.
#include "common.cuh"

struct AddScatter {
    const float *partials;  // [groups, dim, dim]
    double *scatter;        // [dim, dim]
    u64 elements;           // dim * dim
    u32 groups, add;        // add 1: to what is there
};
static_assert(sizeof(AddScatter) == 32, "as in params.rs");

// Adds the groups' Gram matrices up in order, in f64. Launch: threads stride over the elements.
extern "C" __global__ void __launch_bounds__(256) add_scatter(AddScatter p) {
    for (u64 at = (u64)blockIdx.x * blockDim.x + threadIdx.x; at < p.elements; at += (u64)gridDim.x * blockDim.x) {
        double sum = p.add ? p.scatter[at] : 0.0;
        for (u32 group = 0; group < p.groups; group++) sum += p.partials[group * p.elements + at];
        p.scatter[at] = sum;
    }
}

struct ScatterProducts {
    const double *embedding_scatter, *proxy_scatter;  // [dim, dim]
    double *out;                                      // [dim]
    u32 dim, unused;
};
static_assert(sizeof(ScatterProducts) == 32, "as in params.rs");

// The share of each row in <K_z, K_q>. Launch: a block of 256 threads for each row.
extern "C" __global__ void __launch_bounds__(256) scatter_products(ScatterProducts p) {
    const u64 row = (u64)blockIdx.x * p.dim;
    double inner = 0;
    for (u32 d = threadIdx.x; d < p.dim; d += blockDim.x)
        inner = fma(p.embedding_scatter[row + d], p.proxy_scatter[row + d], inner);
    inner = block_sum(inner);
    if (threadIdx.x == 0) p.out[blockIdx.x] = inner;
}

struct ScaleScatter {
    const double *scatter;  // [dim, dim], of the other side
    const double *along;    // [dim]: scatter * mean of this side
    const Weights *weights;
    float *out;             // [dim, dim]: slope * scatter
    float *constant;        // [dim]: slope * along
    u32 dim, unused;
};
static_assert(sizeof(ScaleScatter) == 48, "as in params.rs");

// What the gradient of one side multiplies its centred rows with, and what every row gets. Launch: a block of 256 threads
// for each row.
extern "C" __global__ void __launch_bounds__(256) scale_scatter(ScaleScatter p) {
    const u64 row = (u64)blockIdx.x * p.dim;
    const double slope = p.weights->slope;
    for (u32 d = threadIdx.x; d < p.dim; d += blockDim.x) p.out[row + d] = (float)(slope * p.scatter[row + d]);
    if (threadIdx.x == 0) p.constant[blockIdx.x] = (float)(slope * p.along[blockIdx.x]);
}
