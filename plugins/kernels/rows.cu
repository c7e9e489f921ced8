// Rows on the unit sphere: lengths, mean, centred rows. CPU twin: src/loss/rows.rs and src/loss/gram.rs.
//
// Two passes over the rows: `unit_rows` finds lengths and column sums together, `centre` subtracts the mean before it rounds,
// so that the digits that nearly parallel rows share cost no accuracy.
#include "common.cuh"

struct UnitRows {
    Side side;
    double *partials;  // [slabs, dim]: sums of the unit rows of each slab
    u32 slab, unused;  // rows in a slab
};
static_assert(sizeof(UnitRows) == 48, "as in params.rs");

const u32 STRIP = 32;

// Reciprocal lengths, and column sums of the unit rows of one slab.
//
// Launch: a block of 256 threads for each slab. A warp measures a row; then each thread owns columns and adds up a strip of
// rows that the warps have just brought into cache. Two-stage: `sum_slabs` adds the slabs.
template <class T>
__device__ void unit_rows(const UnitRows &p) {
    __shared__ double reciprocals[STRIP];
    const T *rows = (const T *)p.side.rows;
    const u32 dim = p.side.dim, first = blockIdx.x * p.slab;
    const u32 last = first + p.slab < p.side.count ? first + p.slab : p.side.count;
    double *sums = p.partials + (u64)blockIdx.x * dim;
    for (u32 start = first; start < last; start += STRIP) {
        const u32 strip = start + STRIP < last ? STRIP : last - start;
        for (u32 r = warp(); r < strip; r += warps()) {
            const T *row = rows + (u64)(start + r) * dim;
            double squares = 0;
            for (u32 d = lane(); d < dim; d += WARP) {
                const double value = widen(row[d]);
                squares = fma(value, value, squares);
            }
            const double length = sqrt(warp_sum(squares));
            if (lane() == 0) {
                // 0 without direction; NaN where the row holds NaN or infinity, and so 0 * length is NaN.
                const double reciprocal = length <= LENGTH_FLOOR ? 0.0 : 1.0 / length + 0.0 * length;
                reciprocals[r] = reciprocal;
                p.side.reciprocals[start + r] = reciprocal;
            }
        }
        __syncthreads();
        for (u32 d = threadIdx.x; d < dim; d += blockDim.x) {
            double sum = start == first ? 0.0 : sums[d];
            for (u32 r = 0; r < strip; r++) sum = fma((double)widen(rows[(u64)(start + r) * dim + d]), reciprocals[r], sum);
            sums[d] = sum;
        }
        __syncthreads();
    }
}
FOR_ELEMENTS(unit_rows, UnitRows)

struct SumSlabs {
    const double *partials;  // [slabs, width]
    double *out;             // [width]
    double scale;
    u32 slabs, width;
    u32 add, unused;  // 1: to what is there
};
static_assert(sizeof(SumSlabs) == 40, "as in params.rs");

// out = scale * sum over slabs. Launch: a block of 1024 threads for 32 columns; lanes are columns, so reads coalesce, and
// warps share the slabs.
extern "C" __global__ void __launch_bounds__(1024) sum_slabs(SumSlabs p) {
    __shared__ double sums[WARP][WARP + 1];
    const u32 column = blockIdx.x * WARP + lane();
    double sum = 0;
    if (column < p.width)
        for (u32 slab = warp(); slab < p.slabs; slab += warps()) sum += p.partials[(u64)slab * p.width + column];
    sums[warp()][lane()] = sum;
    __syncthreads();
    if (warp() != 0 || column >= p.width) return;
    sum = 0;
    for (u32 w = 0; w < warps(); w++) sum += sums[w][lane()];
    p.out[column] = (p.add ? p.out[column] : 0.0) + p.scale * sum;
}

struct Centre {
    Side side;
    float *out;  // [padded, dim]
    Band band;
    u32 padded, unused;  // rows to write: those beyond the band are zero
};
static_assert(sizeof(Centre) == 56, "as in params.rs");

// Centred unit rows of a band. Launch: a warp for each row to write.
template <class T>
__device__ void centre(const Centre &p) {
    const u32 r = blockIdx.x * warps() + warp(), dim = p.side.dim;
    if (r >= p.padded) return;
    float *__restrict__ out = p.out + (u64)r * dim;
    if (r >= p.band.count) {
        for (u32 d = lane(); d < dim; d += WARP) out[d] = 0;
        return;
    }
    const u32 row = p.band.first + r;
    const T *__restrict__ values = (const T *)p.side.rows + (u64)row * dim;
    const double reciprocal = p.side.reciprocals[row];
    const Twice parts(reciprocal);
    ROLLED
    for (u32 d = 4 * lane(); d < dim; d += 4 * WARP) {
        const Four x = load4(values, d, dim);
        Four a;
        for (u32 k = 0; k < 4; k++) {
            const Twice mean(d + k < dim ? p.side.mean[d + k] : 0.0);
            a.at[k] = centred(x.at[k], reciprocal, parts, mean.high, mean.low);
        }
        store4(out, d, dim, a);
    }
}
FOR_ELEMENTS(centre, Centre)

struct Along {
    Side side;
    const double *direction;  // [dim]
    double *out;              // [count]
};
static_assert(sizeof(Along) == 48, "as in params.rs");

// (unit row - mean) . direction, in f64: along the mean of nearly parallel rows that is small against the deviations, and f32
// would hold rounding alone. All lanes of a warp must call; all get it.
template <class T>
__device__ double along_row(const Side &side, const T *__restrict__ rows, u32 row, const double *__restrict__ direction) {
    const u32 dim = side.dim;
    const double reciprocal = side.reciprocals[row];
    double sum = 0;
    ROLLED
    for (u32 d = 4 * lane(); d < dim; d += 4 * WARP) {
        const Four x = load4(rows + (u64)row * dim, d, dim);
        UNROLLED
        for (u32 k = 0; k < 4; k++)
            if (d + k < dim) sum = fma(fma((double)x.at[k], reciprocal, -side.mean[d + k]), direction[d + k], sum);
    }
    return warp_sum(sum);
}

// Launch: a warp for each row.
template <class T>
__device__ void along(const Along &p) {
    const u32 row = blockIdx.x * warps() + warp();
    if (row >= p.side.count) return;
    const double sum = along_row(p.side, (const T *)p.side.rows, row, p.direction);
    if (lane() == 0) p.out[row] = sum;
}
FOR_ELEMENTS(along, Along)

struct ScatterAlong {
    Side side;
    const double *direction;  // [dim]
    double *partials;         // [slabs, dim + 1]
    u32 slab, unused;         // rows in a slab
};
static_assert(sizeof(ScatterAlong) == 56, "as in params.rs");

// The scatter matrix times a direction, sum of (a . direction) a, and at the end of each row of `partials` the sum of
// (a . direction)^2. Launch: a block of 256 threads for each slab, as `unit_rows`. Two-stage: `sum_slabs` adds the slabs.
template <class T>
__device__ void scatter_along(const ScatterAlong &p) {
    __shared__ double alongs[STRIP];
    const T *__restrict__ rows = (const T *)p.side.rows;
    const u32 dim = p.side.dim, first = blockIdx.x * p.slab;
    const u32 last = first + p.slab < p.side.count ? first + p.slab : p.side.count;
    double *__restrict__ out = p.partials + (u64)blockIdx.x * (dim + 1);
    double squares = 0;
    for (u32 start = first; start < last; start += STRIP) {
        const u32 strip = start + STRIP < last ? STRIP : last - start;
        for (u32 r = warp(); r < strip; r += warps()) {
            const double along = along_row(p.side, rows, start + r, p.direction);
            if (lane() == 0) alongs[r] = along;
        }
        __syncthreads();
        for (u32 d = threadIdx.x; d < dim; d += blockDim.x) {
            const Twice mean(p.side.mean[d]);
            double sum = start == first ? 0.0 : out[d];
            for (u32 r = 0; r < strip; r++) {
                const double reciprocal = p.side.reciprocals[start + r];
                const float x = widen(rows[(u64)(start + r) * dim + d]);
                sum = fma(alongs[r], (double)centred(x, reciprocal, Twice(reciprocal), mean.high, mean.low), sum);
            }
            out[d] = sum;
        }
        if (threadIdx.x < strip) squares = fma(alongs[threadIdx.x], alongs[threadIdx.x], squares);
        __syncthreads();
    }
    squares = block_sum(squares);
    if (threadIdx.x == 0) out[dim] = squares;
}
FOR_ELEMENTS(scatter_along, ScatterAlong)
