// The first pass over the rows, in one launch for both sides: lengths, sums, products with a direction, and up to 128 columns also
// the Gram matrix. CPU twins: src/loss/rows.rs and src/loss/gram.rs.
//
// Everything is about a centre c near the mean m, which is known only afterwards: the mean of up to 512 rows, one of each stretch of
// the whole, drawn by a hash so that no usual order of rows fools it. `settle` moves the results from c to m in f64. With the unit
// rows u, their deviations e = u - c and d = m - c
//
//     d = sum e / n        sum (u - m)(u - m)' = sum e e' - n d d'
//     sum (u - m)((u - m).v) = sum e (e.v) - n d (d.v)        d.v = sum e.v / n
//
// where d is small against the deviations by the root of the 512, so that the differences keep all digits. The direction v is the
// other side's centre; the little that its mean is beside that goes through the scatter matrix (`settle`, `tensor_gradient`).
#include "products.cuh"

const u32 PROBED = 512;              // rows that a centre is made of, at most
const u32 PROBE_ROWS = 16;           // of them in a block
const u32 PROBE_BLOCKS = PROBED / PROBE_ROWS;

__device__ inline u32 probed(u32 count) { return count < PROBED ? count : PROBED; }

// The k-th row that the centre is made of.
__device__ inline u32 probed_row(u32 k, u32 count) {
    if (count <= PROBED) return k;
    const u32 first = (u32)((u64)k * count / PROBED);
    return first + (k * 2654435761u >> 8) % (count / PROBED);
}

// One over the length of a row, from its square: 0 without direction; NaN where the row holds NaN or infinity.
__device__ inline double reciprocal_of(double squares) {
    if (squares > 1e-30 && squares < 1e30 && squares > LENGTH_FLOOR * LENGTH_FLOOR) {
        double guess = rsqrtf((float)squares);  // 22 bits, each step doubles them
        const double half = 0.5 * squares;
        guess = guess * fma(-half * guess, guess, 1.5);
        return guess * fma(-half * guess, guess, 1.5);
    }
    const double length = sqrt(squares);
    return length <= LENGTH_FLOOR ? 0.0 : 1.0 / length + 0.0 * length;
}

struct Prepare {
    Side embeddings, proxies;
    Links links;
    double *probes;  // [2, PROBE_BLOCKS, dim]: sums of unit rows
    u32 probe_blocks, sort_blocks, clear_blocks, unused;
};
static_assert(sizeof(Prepare) == 136, "as in params.rs");

// What everything else waits for. Launch: 2 * PROBE_BLOCKS blocks that look for the centres, or none; blocks that sort 1024
// labels each; blocks that clear the classes' heads.
template <class T>
__device__ void prepare(const Prepare &p) {
    __shared__ double reciprocals[PROBE_ROWS];
    u32 block = blockIdx.x;
    if (block >= p.probe_blocks) {
        block -= p.probe_blocks;
        if (block < p.sort_blocks) return sort_labels(p.links, block);
        block -= p.sort_blocks;
        for (u32 c = block * blockDim.x + threadIdx.x; c < p.links.classes; c += p.clear_blocks * blockDim.x)
            p.links.heads[c] = -1;
        return;
    }
    const Side side = choose(block >= PROBE_BLOCKS, p.embeddings, p.proxies);
    const u32 dim = side.dim, first = block % PROBE_BLOCKS * PROBE_ROWS, most = probed(side.count);
    const T *__restrict__ rows = (const T *)side.rows;
    for (u32 r = warp(); r < PROBE_ROWS && first + r < most; r += warps()) {
        const T *row = rows + (u64)probed_row(first + r, side.count) * dim;
        double squares = 0;
        for (u32 d = 4 * lane(); d < dim; d += EDGE) {
            READ(row + d, inside4(d, dim));
            const Four x = load4(row, d, dim);
            UNROLLED
            for (u32 k = 0; k < 4; k++) squares = fma((double)x.at[k], (double)x.at[k], squares);
        }
        squares = warp_sum(squares);
        if (lane() == 0) reciprocals[r] = reciprocal_of(squares);
    }
    __syncthreads();
    for (u32 d = threadIdx.x; d < dim; d += blockDim.x) {
        double sum = 0;
        for (u32 r = 0; r < PROBE_ROWS && first + r < most; r++)
            sum = fma((double)widen(rows[(u64)probed_row(first + r, side.count) * dim + d]), reciprocals[r], sum);
        p.probes[(u64)block * dim + d] = sum;
    }
}
FOR_ELEMENTS(prepare, Prepare)

struct Sweep {
    Side embeddings, proxies;
    const double *probes;  // of `prepare`
    double *centres;       // [2, dim]
    double *sums;          // [slabs, 2 dim + 3]: of e, of e (e.v), of e.v, of (e.v)^2, of e.e
    float *grams;          // [slabs, EDGE, EDGE]: of e e' (see `tensor_gram`)
    u32 slab_rows[2];      // rows in a slab of each side
    u32 slabs;             // of embeddings, before those of proxies
    u32 coarse;            // bit 0: embeddings, bit 1: proxies: the Gram matrix of high parts alone
};
static_assert(sizeof(Sweep) == 112, "as in params.rs");

const u32 SCALARS = 3;  // behind the sums of vectors

// A component of a side's centre, which is an f32, so that nothing of it is left over where rows are centred.
__device__ inline double centre_at(const Sweep &p, bool proxies, u32 count, u32 d) {
    const double *__restrict__ probes = p.probes + (proxies ? (u64)PROBE_BLOCKS * p.embeddings.dim : 0) + d;
    double sum = 0;
    UNROLLED
    for (u32 block = 0; block < PROBE_BLOCKS; block++) sum += probes[(u64)block * p.embeddings.dim];
    return (float)(sum / probed(count));
}

// A block's side and slab.
struct Slab {
    Side side;
    u32 first, last;
    bool proxies;

    __device__ explicit Slab(const Sweep &p) {
        proxies = blockIdx.x >= p.slabs;
        side = choose(proxies, p.embeddings, p.proxies);
        const u32 rows = proxies ? p.slab_rows[1] : p.slab_rows[0];
        first = (proxies ? blockIdx.x - p.slabs : blockIdx.x) * rows;
        last = first + rows < side.count ? first + rows : side.count;
    }
};

// Centre and direction in shared memory, zero beyond the rows' end.
template <u32 WIDTH>
struct alignas(16) About {
    double direction[WIDTH];
    float centre[WIDTH];  // scaled as tensor cores take rows

    // Gives centre . direction. All threads of the block must call.
    __device__ double find(const Sweep &p, const Slab &slab) {
        const u32 dim = slab.side.dim;
        double along = 0;
        for (u32 d = threadIdx.x; d < WIDTH; d += blockDim.x) {
            const double own = d < dim ? centre_at(p, slab.proxies, slab.side.count, d) : 0.0;
            const u32 others = slab.proxies ? p.embeddings.count : p.proxies.count;
            const double other = d < dim ? centre_at(p, !slab.proxies, others, d) : 0.0;
            centre[d] = (float)(own * ROW_SCALE);
            direction[d] = other;
            along = fma(own, other, along);
            if (d < dim && slab.first == 0) p.centres[(slab.proxies ? dim : 0) + d] = own;
        }
        return block_sum(along);  // and a barrier
    }

    __device__ Four centre_of(u32 d) const { return load_padded(centre + d); }
};

// What a lane adds up over its rows, scaled, and scalars, each of a row in one lane.
template <u32 STRIPS>
struct Sums {
    double units[STRIPS][4] = {}, alongs[STRIPS][4] = {};
    double along = 0, square = 0;
    float trace = 0;

    // Few rows' sums, in f32.
    __device__ void add(u32 s, const Four &unit, const Four &along_unit) {
        UNROLLED
        for (u32 k = 0; k < 4; k++) {
            units[s][k] += (double)unit.at[k];
            alongs[s][k] += (double)along_unit.at[k];
        }
    }

    // Over the block, in the order of its warps. All threads must call.
    __device__ void write(double *__restrict__ out, u32 dim, double (*shared)[EDGE]) const {
        UNROLLED
        for (u32 of = 0; of < 2; of++)
            UNROLLED
            for (u32 s = 0; s < STRIPS; s++) {
                __syncthreads();
                UNROLLED
                for (u32 k = 0; k < 4; k++) shared[warp()][4 * lane() + k] = of == 0 ? units[s][k] : alongs[s][k];
                __syncthreads();
                const u32 d = s * EDGE + threadIdx.x;
                if (threadIdx.x >= EDGE || d >= dim) continue;
                double sum = 0;
                for (u32 w = 0; w < warps(); w++) sum += shared[w][threadIdx.x];
                out[of * dim + d] = sum / ROW_SCALE;
            }
        const double scalars[SCALARS] = {block_sum(along), block_sum(square), block_sum(trace / ROW_SCALE_SQUARE)};
        if (threadIdx.x == 0)
            for (u32 k = 0; k < SCALARS; k++) out[2 * dim + k] = scalars[k];
    }
};

// What is known of a few rows.
template <u32 ROWS>
struct Measured {
    Scaled scaled[ROWS];
    float along[ROWS];  // e . direction, 0 for rows beyond the last
};

// Rows of a warp, in registers: a lane has four columns of each strip.
template <class T, u32 STRIPS, u32 ROWS>
struct Rows {
    Raw<T> at[ROWS][STRIPS];

    // Zero beyond the last. Most are inside, side by side and aligned, and then one question answers for all.
    __device__ void load(const Side &side, u32 first, u32 last) {
        const T *rows = (const T *)side.rows + (u64)first * side.dim + 4 * lane();
        const bool simple = first + ROWS <= last && STRIPS * EDGE == side.dim && ((u64)side.rows & (sizeof(Raw<T>) - 1)) == 0;
        UNROLLED
        for (u32 r = 0; r < ROWS; r++)
            UNROLLED
            for (u32 s = 0; s < STRIPS; s++) {
                const u32 d = s * EDGE + 4 * lane();
                if (simple || first + r < last) READ(rows + r * side.dim + s * EDGE, inside4(d, side.dim));
                if (simple) {
                    at[r][s] = *(const Raw<T> *)(rows + r * (STRIPS * EDGE) + s * EDGE);
                } else {
                    at[r][s] = {};
                    if (first + r < last) at[r][s] = load_raw((const T *)side.rows + (u64)(first + r) * side.dim, d, side.dim);
                }
            }
    }

    // All lanes must call.
    __device__ Measured<ROWS> measure(const Side &side, u32 first, u32 last, const double *direction, double base, Sums<STRIPS> &sums) const {
        double values[2 * ROWS] = {};
        UNROLLED
        for (u32 r = 0; r < ROWS; r++)
            UNROLLED
            for (u32 s = 0; s < STRIPS; s++) {
                const Four x = at[r][s].wide();
                UNROLLED
                for (u32 k = 0; k < 4; k++) {
                    const double value = x.at[k];
                    values[r] = fma(value, value, values[r]);
                    values[ROWS + r] = fma(value, direction[s * EDGE + 4 * lane() + k], values[ROWS + r]);
                }
            }
        // The lower half of the lanes has lengths, the upper half at the same place products.
        const u32 apart = WARP / (2 * ROWS), row = first + lane() % (WARP / 2) / apart;
        const double sum = transposed_sum(values);
        const double reciprocal = __shfl_sync(ALL_LANES, reciprocal_of(lane() < WARP / 2 ? sum : 1.0), lane() % (WARP / 2));
        const double along = row < last ? sum * reciprocal - base : 0.0;
        if (lane() % apart == 0) {
            if (lane() >= WARP / 2) {
                sums.along += along;
                sums.square = fma(along, along, sums.square);
            } else if (row < last) {
                side.reciprocals[row] = reciprocal;
            }
        }
        const Scaled scaled(reciprocal);
        Measured<ROWS> out;
        UNROLLED
        for (u32 r = 0; r < ROWS; r++) {
            out.scaled[r].high = __shfl_sync(ALL_LANES, scaled.high, r * apart);
            out.scaled[r].low = __shfl_sync(ALL_LANES, scaled.low, r * apart);
            out.along[r] = __shfl_sync(ALL_LANES, (float)along, WARP / 2 + r * apart);
        }
        return out;
    }
};

// Lengths and sums of a slab, and the Gram matrix of its deviations, for rows of up to 128 columns.
//
// Tiles of 32 rows are split into shared memory, twice buffered: while half of the warps multiply one tile, the other half measure and
// split the next, and the one after that is on its way.
//
// Launch: a block of 256 threads for each slab, dynamic shared memory for 6 planes. Eight warps multiply 64 x 32 each.
template <class T>
__device__ void sweep(const Sweep &p) {
    DYNAMIC_SHARED(shared);
    Plane *const lefts = (Plane *)shared, *const highs = lefts + 2, *const lows = highs + 2;
    __shared__ About<EDGE> about;
    const Slab slab(p);
    const bool both = !(p.coarse >> (slab.proxies ? 1 : 0) & 1);
    const double base = about.find(p, slab);
    const u32 tiles = (slab.last - slab.first + TILE_ROWS - 1) / TILE_ROWS;
    Rows<T, 1, 4> rows;
    Sums<1> sums;
    Products products;
    rows.load(slab.side, slab.first + 4 * warp(), slab.last);
    // Turn k splits tile k and multiplies tile k - 1.
    ROLLED
    for (u32 turn = 0; turn <= tiles; turn++) {
        ROLLED
        for (u32 half = 0; half < 2; half++) {
            // Warps w and w + 4 share a scheduler.
            if ((half == 0) == (warp() < 4)) {
                if (turn == tiles) continue;
                const u32 first = slab.first + turn * TILE_ROWS + 4 * warp();
                const Measured<4> measured = rows.measure(slab.side, first, slab.last, about.direction, base, sums);
                const Four centre = about.centre_of(4 * lane());
                Four unit = {}, along_unit = {}, e[4];
                UNROLLED
                for (u32 r = 0; r < 4; r++) e[r] = measured.scaled[r].about(rows.at[r][0].wide(), centre);
                if (first + 4 > slab.last)
                    UNROLLED
                    for (u32 r = 0; r < 4; r++)
                        if (first + r >= slab.last) e[r] = {};
                u32 high[2][4], low[2][4];
                UNROLLED
                for (u32 k = 0; k < 4; k++) {
                    UNROLLED
                    for (u32 r = 0; r < 4; r++) {
                        unit.at[k] += e[r].at[k];
                        along_unit.at[k] = fmaf(measured.along[r], e[r].at[k], along_unit.at[k]);
                    }
                    UNROLLED
                    for (u32 pair = 0; pair < 2; pair++) {
                        const Pair word = split_scaled<true>(e[2 * pair].at[k], e[2 * pair + 1].at[k], 2);
                        high[pair][k] = word.high;
                        low[pair][k] = word.low;
                    }
                }
                lefts[turn % 2].store_left(high[0], high[1]);
                highs[turn % 2].store_right(high[0], high[1]);
                if (both) lows[turn % 2].store_right(low[0], low[1]);
                sums.add(0, unit, along_unit);
                rows.load(slab.side, first + TILE_ROWS, slab.last);
            } else {
                if (turn == 0) continue;
                products.add(lefts[(turn - 1) % 2], nullptr, highs[(turn - 1) % 2], both ? &lows[(turn - 1) % 2] : nullptr);
            }
        }
        __syncthreads();
    }
    sums.trace = products.trace();
    products.write(p.grams + (u64)blockIdx.x * EDGE * EDGE);
    sums.write(p.sums + (u64)blockIdx.x * (2 * slab.side.dim + SCALARS), slab.side.dim, (double(*)[EDGE])shared);
}
FOR_ELEMENTS(sweep, Sweep)

const u32 MOST_STRIPS = 4;

// The same without the Gram matrix, for rows of up to 512 columns. Launch: a block of 256 threads for each slab; a warp takes
// two rows at a time, the next two on their way.
template <class T>
__device__ void measure(const Sweep &p) {
    __shared__ About<MOST_STRIPS * EDGE> about;
    __shared__ double shared[8][EDGE];
    const Slab slab(p);
    const double base = about.find(p, slab);
    Rows<T, MOST_STRIPS, 2> rows;
    Sums<MOST_STRIPS> sums;
    rows.load(slab.side, slab.first + 2 * warp(), slab.last);
    ROLLED
    for (u32 first = slab.first + 2 * warp(); first < slab.last; first += 2 * warps()) {
        const Rows<T, MOST_STRIPS, 2> now = rows;
        rows.load(slab.side, first + 2 * warps(), slab.last);
        const Measured<2> measured = now.measure(slab.side, first, slab.last, about.direction, base, sums);
        UNROLLED
        for (u32 s = 0; s < MOST_STRIPS; s++) {
            if (s * EDGE >= slab.side.dim) continue;
            const Four centre = about.centre_of(s * EDGE + 4 * lane());
            Four unit = {}, along_unit = {};
            UNROLLED
            for (u32 r = 0; r < 2; r++) {
                Four e = measured.scaled[r].about(now.at[r][s].wide(), centre);
                if (first + r >= slab.last) e = {};
                UNROLLED
                for (u32 k = 0; k < 4; k++) {
                    unit.at[k] += e.at[k];
                    along_unit.at[k] = fmaf(measured.along[r], e.at[k], along_unit.at[k]);
                    sums.trace = fmaf(e.at[k], e.at[k], sums.trace);
                }
            }
            sums.add(s, unit, along_unit);
        }
    }
    sums.write(p.sums + (u64)blockIdx.x * (2 * slab.side.dim + SCALARS), slab.side.dim, shared);
}
FOR_ELEMENTS(measure, Sweep)
