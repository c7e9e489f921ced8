// What the slabs of the first pass come to: means, scatter matrices, and of these what the loss and the gradient take. In f64; from
// centres to means as sweep.cu has it.
//
// The sum of squares of all similarities about their mean, with the means' offsets d from the centres c, is
//
//     <K_z, K_q> + C sum (a.qbar)^2 + B sum (b.zbar)^2
//     sum (a.qbar)^2 = sum (a.c_q)^2 + 2 d_q . (K_z c_q) + d_q . K_z d_q
//
// The shares of single elements of the matrices, those with two d among them, are added up here; `conclude` has the rest.
#include "products.cuh"

struct Settle {
    Cosines cosines;
    Links links;
    const double *sums, *centres;  // of `sweep` or `measure`
    const float *grams;            // of `sweep` or `tensor_gram`
    double *alongs[2];             // [dim + 1]: the side's scatter matrix times the other's centre; sum of (a . centre)^2
    double *scatters[2];           // [dim, dim]
    u32 *matrices[2];              // as `split_scatter` writes them; or null
    double *scales;                // [2]: what those are multiplied with
    double *inner;                 // [settle_blocks]
    u32 sum_slabs[2], gram_slabs[2];
    u32 settle_blocks, cosine_blocks, split, unused;
};
static_assert(sizeof(Settle) == 256, "as in params.rs");

const u32 SQUARE = 16;                                     // edge of what a block settles
const u32 SQUARES = EDGE / SQUARE * (EDGE / SQUARE);       // of a pair of strips
const u32 ITEMS = SQUARE * SQUARE / 4;                     // 2 x 2 elements, a thread each, the slabs in four parts

// Launch: SQUARES blocks of 256 threads for each pair of strips; then blocks with a warp for each cosine; then blocks with a thread
// for each key, if any.
template <class T>
__device__ void settle(const Settle &p) {
    __shared__ double parts[8][2 * SQUARE], off[2][2 * SQUARE], totals[4][ITEMS][4];
    u32 block = blockIdx.x;
    if (block >= p.settle_blocks) {
        block -= p.settle_blocks;
        if (block < p.cosine_blocks) return cosine<T>(p.cosines, block * warps() + warp());
        return find_head(p.links, (block - p.cosine_blocks) * blockDim.x + threadIdx.x);
    }
    u32 left = 0, right = block / SQUARES;
    while (right > left) right -= ++left;
    const u32 dim = p.cosines.embeddings.dim, width = 2 * dim + SCALARS;
    const u32 strips = (dim + EDGE - 1) / EDGE, pairs = strips * (strips + 1) / 2;
    const u32 top = block % SQUARES / 8 * SQUARE, start = block % 8 * SQUARE;  // inside the strips
    const u32 i0 = left * EDGE + top, j0 = right * EDGE + start;
    const bool diagonal = i0 == j0;

    const u32 item = threadIdx.x % ITEMS, part = threadIdx.x / ITEMS;
    const u32 row = 2 * (item / 8), column = 2 * (item % 8);
    const double count[2] = {(double)p.cosines.embeddings.count, (double)p.cosines.proxies.count};
    double scatter[2][4];
    UNROLLED
    for (u32 side = 0; side < 2; side++) {
        const double *__restrict__ sums = p.sums + (side == 0 ? 0 : (u64)p.sum_slabs[0] * width);
        const double *centre = p.centres + side * dim;
        const u32 slabs = p.sum_slabs[side];
        double scalars[SCALARS] = {};
        for (u32 slab = threadIdx.x; slab < slabs; slab += blockDim.x)
            UNROLLED
            for (u32 k = 0; k < SCALARS; k++) scalars[k] += sums[(u64)slab * width + 2 * dim + k];
        const double along = block_sum(scalars[0]), square = block_sum(scalars[1]), trace = block_sum(scalars[2]);
        // Of rows that are all but equal the products may vanish where the offsets' do not.
        const double least = count[side] * 0x1p-70;
        const double scale = fragment_scale(trace < least ? least : trace);
        if (block == 0 && threadIdx.x == 0) {
            p.scales[side] = scale;
            p.alongs[side][dim] = square - along * along / count[side];
        }

        // Means of 16 rows' and 16 columns' numbers; on the diagonal also the products with the direction.
        const u32 own = lane() < SQUARE ? i0 + lane() : j0 + lane() - SQUARE;
        for (u32 of = 0; of < (diagonal ? 2 : 1); of++) {
            double sum = 0;
            if (own < dim)
                for (u32 slab = warp(); slab < slabs; slab += warps()) sum += sums[(u64)slab * width + of * dim + own];
            parts[warp()][lane()] = sum;
            __syncthreads();
            if (warp() == 0) {
                sum = 0;
                for (u32 w = 0; w < warps(); w++) sum += parts[w][lane()];
                const bool writes = diagonal && own < dim && lane() < SQUARE;
                if (of == 0) {
                    off[side][lane()] = sum / count[side];
                    if (writes) (side == 0 ? p.cosines.embeddings.mean : p.cosines.proxies.mean)[own] = centre[own] + off[side][lane()];
                } else if (writes) {
                    p.alongs[side][own] = sum - off[side][lane()] * along;
                }
            }
            __syncthreads();
        }

        const float *__restrict__ grams = p.grams + (side == 0 ? 0 : (u64)p.gram_slabs[0] * pairs * EDGE * EDGE);
        double sum[4] = {};
        for (u32 slab = part; slab < p.gram_slabs[side]; slab += 4) {
            const float *gram = grams + ((u64)slab * pairs + block / SQUARES) * EDGE * EDGE;
            const float *own_part = gram + (top + row) * EDGE + start + column;
            READ(own_part, 2);
            READ(own_part + EDGE, 2);
            if (left != right) {
                sum[0] += own_part[0];
                sum[1] += own_part[1];
                sum[2] += own_part[EDGE];
                sum[3] += own_part[EDGE + 1];
                continue;
            }
            // high' (high + 2 low) and its transpose.
            const float *mirrored = gram + (start + column) * EDGE + top + row;
            READ(mirrored, 2);
            READ(mirrored + EDGE, 2);
            sum[0] += 0.5 * ((double)own_part[0] + mirrored[0]);
            sum[1] += 0.5 * ((double)own_part[1] + mirrored[EDGE]);
            sum[2] += 0.5 * ((double)own_part[EDGE] + mirrored[1]);
            sum[3] += 0.5 * ((double)own_part[EDGE + 1] + mirrored[EDGE + 1]);
        }
        UNROLLED
        for (u32 k = 0; k < 4; k++) totals[part][item][k] = sum[k];
        __syncthreads();
        UNROLLED
        for (u32 k = 0; k < 4; k++) {
            double total = 0;
            UNROLLED
            for (u32 q = 0; q < 4; q++) total += totals[q][item][k];
            const double pair = off[side][row + k / 2] * off[side][SQUARE + column + k % 2];
            scatter[side][k] = total / ROW_SCALE_SQUARE - count[side] * pair;
        }
        __syncthreads();
        if (part != 0) continue;
        UNROLLED
        for (u32 k = 0; k < 4; k++) {
            const u32 i = i0 + row + k / 2, j = j0 + column + k % 2;
            if (i >= dim || j >= dim) continue;
            p.scatters[side][(u64)i * dim + j] = scatter[side][k];
            if (left != right) p.scatters[side][(u64)j * dim + i] = scatter[side][k];
        }
        if (!p.matrices[side]) continue;
        float scaled[4];
        UNROLLED
        for (u32 k = 0; k < 4; k++) scaled[k] = (float)(scale * scatter[side][k]);
        UNROLLED
        for (u32 k = 0; k < 2; k++) {
            const u32 tiles = strips * (EDGE / 8);
            write_fragment(p.matrices[side], tiles, p.split, i0 + row, j0 + column + k, scaled[k], scaled[2 + k]);
            if (left != right)
                write_fragment(p.matrices[side], tiles, p.split, j0 + column, i0 + row + k, scaled[2 * k], scaled[2 * k + 1]);
        }
    }
    double share = 0;
    UNROLLED
    for (u32 k = 0; k < 4; k++) {
        const u32 i = row + k / 2, j = SQUARE + column + k % 2;
        share += scatter[0][k] * scatter[1][k] + count[1] * scatter[0][k] * off[1][i] * off[1][j] +
                 count[0] * scatter[1][k] * off[0][i] * off[0][j];
    }
    share = block_sum(part == 0 ? share : 0.0);
    if (threadIdx.x == 0) p.inner[block] = left == right ? share : 2 * share;
}
FOR_ELEMENTS(settle, Settle)
