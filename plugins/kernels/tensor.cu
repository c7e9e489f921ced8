// The Gram matrix of longer rows on tensor cores: deviations are made, multiplied and used up inside a block, and never written. What
// cuBLAS does elsewhere (gram.cu) is the same mathematics in f32.
//
// Low parts of 16-bit rows count, too, where rows are few: moments are f64, and few rows do not average a rounding away (see `COARSE` in
// plugins/src/cuda/tensor.rs).
#include "products.cuh"

struct TensorGram {
    Side embeddings, proxies;  // with centres in place of means
    float *partials;           // [slabs, pairs of strips, EDGE, EDGE]
    u32 slab_rows[2];          // rows in a slab of each side, a multiple of TILE_ROWS
    u32 slabs;                 // of embeddings, before those of proxies
    u32 coarse;                // as in `Sweep`
};
static_assert(sizeof(TensorGram) == 88, "as in params.rs");

// What a lane holds of a strip: its four columns' centre, and of the next tile two pairs of rows.
template <class T>
struct Strip {
    Four centre;
    Raw<T> rows[4];

    __device__ void find(const Side &side, u32 d) {
        UNROLLED
        for (u32 k = 0; k < 4; k++) centre.at[k] = d + k < side.dim ? (float)(side.mean[d + k] * ROW_SCALE) : 0.0f;
    }

    __device__ void load(const Side &side, u32 first, u32 last, u32 d) {
        UNROLLED
        for (u32 r = 0; r < 4; r++) {
            rows[r] = {};
            if (first + r >= last) continue;
            READ((const T *)side.rows + (u64)(first + r) * side.dim + d, inside4(d, side.dim));
            rows[r] = load_raw((const T *)side.rows + (u64)(first + r) * side.dim, d, side.dim);
        }
    }

    // LEFT: as a left factor; else as a right one, and the high parts as a left one, too, where `also` is not null.
    template <bool LEFT>
    __device__ void store(const double (&reciprocals)[4], u32 inside, float times, Plane &highs, Plane &lows, Plane *also) {
        Four e[4];
        UNROLLED
        for (u32 r = 0; r < 4; r++) e[r] = Scaled(reciprocals[r]).about(rows[r].wide(), centre);
        if (inside < 4)
            UNROLLED
            for (u32 r = 0; r < 4; r++)
                if (r >= inside) e[r] = {};
        u32 high[2][4], low[2][4];
        UNROLLED
        for (u32 pair = 0; pair < 2; pair++)
            UNROLLED
            for (u32 k = 0; k < 4; k++) {
                const Pair word = split_scaled<true>(e[2 * pair].at[k], e[2 * pair + 1].at[k], times);
                high[pair][k] = word.high;
                low[pair][k] = word.low;
            }
        if (LEFT) {
            highs.store_left(high[0], high[1]);
            lows.store_left(low[0], low[1]);
            return;
        }
        highs.store_right(high[0], high[1]);
        lows.store_right(low[0], low[1]);
        if (also) also->store_left(high[0], high[1]);
    }
};

// Sums over a slab's rows of the products of two strips' columns, for each pair of strips once. A strip with itself gives
// M = high' (high + 2 low): `settle` takes the mean of M and its transpose, which is the product with both low parts.
//
// Two tiles are in shared memory, which the warps take in turns as in `sweep`.
//
// Launch: blockIdx.x a pair of strips, blockIdx.y a slab of either side, 256 threads, dynamic shared memory for 8 planes.
template <class T>
__device__ void tensor_gram(const TensorGram &p) {
    DYNAMIC_SHARED(shared);
    // Of a tile, of its left or right strip, the high or low parts.
    Plane(*const planes)[2][2] = (Plane(*)[2][2])shared;
    u32 left = 0, right = blockIdx.x;
    while (right > left) right -= ++left;
    const u32 second = left == right ? 0 : 1;  // whether there is another strip
    const bool proxies = blockIdx.y >= p.slabs, fine = !(p.coarse >> (proxies ? 1 : 0) & 1);
    const Side side = choose(proxies, p.embeddings, p.proxies);
    const u32 slab_rows = proxies ? p.slab_rows[1] : p.slab_rows[0];
    const u32 first = (proxies ? blockIdx.y - p.slabs : blockIdx.y) * slab_rows;
    const u32 last = first + slab_rows < side.count ? first + slab_rows : side.count;
    const u32 columns[2] = {left * EDGE + 4 * lane(), right * EDGE + 4 * lane()};
    Strip<T> strips[2];
    double reciprocals[4];
    // What a warp splits of the tile after, on its way while it multiplies. Constant indices keep it in registers.
    const auto load = [&](u32 start) {
        UNROLLED
        for (u32 r = 0; r < 4; r++) reciprocals[r] = start + r < last ? side.reciprocals[start + r] : 0.0;
        UNROLLED
        for (u32 s = 0; s < 2; s++)
            if (s <= second) strips[s].load(side, start, last, columns[s]);
    };
    UNROLLED
    for (u32 s = 0; s < 2; s++)
        if (s <= second) strips[s].find(side, columns[s]);
    load(first + 4 * warp());

    const u32 tiles = (last - first + TILE_ROWS - 1) / TILE_ROWS;
    Products products;
    // Turn k splits tile k and multiplies tile k - 1.
    ROLLED
    for (u32 turn = 0; turn <= tiles; turn++) {
        ROLLED
        for (u32 half = 0; half < 2; half++) {
            if ((half == 0) == (warp() < 4)) {
                if (turn == tiles) continue;
                const u32 start = first + turn * TILE_ROWS + 4 * warp();
                const u32 inside = start < last ? last - start : 0;
                Plane(&tile)[2][2] = planes[turn % 2];
                if (second == 0) {
                    strips[0].template store<false>(reciprocals, inside, 2, tile[1][0], tile[1][1], &tile[0][0]);
                } else {
                    strips[0].template store<true>(reciprocals, inside, 1, tile[0][0], tile[0][1], nullptr);
                    strips[1].template store<false>(reciprocals, inside, 1, tile[1][0], tile[1][1], nullptr);
                }
                load(start + TILE_ROWS);
            } else {
                if (turn == 0) continue;
                Plane(*const tile)[2] = planes[(turn - 1) % 2];
                products.add(tile[0][0], fine && second == 1 ? &tile[0][1] : nullptr, tile[1][0], fine ? &tile[1][1] : nullptr);
            }
        }
        __syncthreads();
    }
    products.write(p.partials + ((u64)blockIdx.y * gridDim.x + blockIdx.x) * EDGE * EDGE);
}
FOR_ELEMENTS(tensor_gram, TensorGram)
