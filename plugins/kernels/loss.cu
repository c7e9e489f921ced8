// The loss at the moments, and what its slopes make of the pairs. CPU twins: src/loss/moments.rs, src/loss/decidability.rs,
// src/loss/gradient.rs (Weights).
//
// Single blocks: a few thousand additions, then a handful of f64 operations in one thread. The host never sees a number: what
// the gradient needs to know, settings included, lies in `saved`, whose layout is that of plugins/src/state.rs.
#include "products.cuh"

const double STATE_VERSION = 1;
const u32 FORM_LOG = 0, FORM_NEGATIVE = 1, FORM_INVERSE = 2;
const u32 MODE_TANGENT = 0, MODE_CLAMP = 1;

struct Settings {
    double temperature, floor, eps;
    u32 form, mode;
};
static_assert(sizeof(Settings) == 32, "as in params.rs");

// Count, mean and sum of squared deviations.
struct Summary {
    double count, mean, squares;

    __device__ double variance() const { return count == 0 ? 0.0 : squares / count; }

    // Of what is left when `part`, which must be in it, is taken out.
    __device__ Summary without(const Summary &part) const {
        Summary rest;
        rest.count = count - part.count;
        rest.mean = mean + (mean - part.mean) * part.count / rest.count;
        const double step = part.mean - rest.mean;
        rest.squares = squares - part.squares - step * step * part.count * rest.count / count;
        rest.tidy();
        return rest;
    }

    // Rounding may leave a hair below zero. Written so that NaN stays NaN.
    __device__ void tidy() {
        if (squares < 0) squares = 0.0;
    }
};

// From sums of deviations about `centre`.
__device__ inline Summary summary_about(double centre, double count, double sum, double squares) {
    Summary summary = {count, 0, 0};
    if (count == 0) return summary;
    summary.mean = centre + sum / count;
    summary.squares = squares - sum * sum / count;
    summary.tidy();
    return summary;
}

struct Decidability {
    double loss, index, pull, squeeze;  // loss, d', -dL/dgap, dL/dV

    __device__ Decidability(const Settings &settings, const Summary &genuine, const Summary &impostor) {
        const double gap = genuine.mean - impostor.mean;
        const double variance = genuine.variance() + impostor.variance();
        const double spread = sqrt((variance + VARIANCE_FLOOR) / 2);
        index = gap / spread;
        if (settings.form != FORM_NEGATIVE && settings.mode == MODE_CLAMP) {
            clamp(settings, gap, variance);
            return;
        }
        const double floor = settings.floor;
        const bool below = index <= floor;
        double steepness;
        if (settings.form == FORM_NEGATIVE) {
            loss = -index;
            steepness = 1;
        } else if (settings.form == FORM_LOG) {
            const double half_log_2 = 0.34657359027997264;
            loss = (below ? -log(floor) - (index - floor) / floor : -log(index)) + half_log_2;
            steepness = 1 / (below ? floor : index);
        } else {
            const double at = below ? floor : index;
            loss = below ? 1 / floor - (index - floor) / (floor * floor) : 1 / index;
            steepness = 1 / (at * at);
        }
        pull = steepness / spread;
        squeeze = steepness * index / (2 * (variance + VARIANCE_FLOOR));
    }

    __device__ void clamp(const Settings &settings, double gap, double variance) {
        const double scaled = gap / settings.temperature, square = settings.temperature * settings.temperature;
        const bool below = scaled <= settings.eps;
        const double held = below ? settings.eps : scaled;
        const double widened = variance / square + settings.eps;
        if (settings.form == FORM_LOG) {
            loss = -log(held) + 0.5 * log(widened);
            pull = 1 / held;
            squeeze = 0.5 / widened;
        } else {
            const double spread = sqrt(widened / 2);
            loss = spread / held;
            pull = spread / (held * held);
            squeeze = 0.25 / (spread * held);
        }
        pull = below ? 0.0 : pull / settings.temperature;
        squeeze /= square;
    }
};

const u32 F32 = 0, F16 = 1, BF16 = 2;

struct Conclude {
    double *header, *summaries, *moments;  // [10], [6], [8]
    void *loss;                            // of type `element`
    const double *cosines;                 // [batch]; null: D-Loss
    const double *alongs[2];               // of embeddings and of proxies, on the Gram path: as in `Settle`
    const double *centres;                 // [2, dim], which those belong to; null: the means
    const double *products;                // of `settle` or `scatter_products`; null: tiles
    const double *tile_sums;               // [blocks, 6], on the tiles path
    const double *embedding_mean, *proxy_mean;  // [dim]
    Labels labels;
    Settings settings;
    u32 batch, classes, dim, blocks;  // blocks: of `settle` or of tiles, or the rows of `scatter_products`
    u32 element, unused;
};
static_assert(sizeof(Conclude) == 168, "as in params.rs");

// Moments, loss, and the header of the saved state. A block of 1024 threads.
__device__ inline void conclude_block(const Conclude &p) {
    double centre = 0;
    for (u32 d = threadIdx.x; d < p.dim; d += blockDim.x) centre = fma(p.embedding_mean[d], p.proxy_mean[d], centre);
    centre = block_sum(centre);

    double bad = 0;
    Summary genuine = {0, 0, 0}, impostor = {0, 0, 0};
    if (p.cosines) {
        double sum = 0, squares = 0;
        for (u32 i = threadIdx.x; i < p.batch; i += blockDim.x) {
            sum += p.cosines[i];
            bad += in_range(label_at(p.labels, i), p.classes) ? 0 : 1;
        }
        bad = block_sum(bad);
        const double mean = block_sum(sum) / p.batch;
        for (u32 i = threadIdx.x; i < p.batch; i += blockDim.x) {
            const double off = p.cosines[i] - mean;
            squares = fma(off, off, squares);
        }
        genuine.count = p.batch;
        genuine.mean = mean;
        genuine.squares = block_sum(squares);
    }
    if (p.products) {
        double inner = 0;
        for (u32 k = threadIdx.x; k < p.blocks; k += blockDim.x) inner += p.products[k];
        inner = block_sum(inner);
        double spreads[2];
        UNROLLED
        for (u32 side = 0; side < 2; side++) {
            const double *mean = side == 0 ? p.proxy_mean : p.embedding_mean;  // the other side's
            const double *centre = p.centres + (side == 0 ? p.dim : 0);
            double cross = 0;
            for (u32 d = threadIdx.x; p.centres && d < p.dim; d += blockDim.x)
                cross = fma(mean[d] - centre[d], p.alongs[side][d], cross);
            spreads[side] = p.alongs[side][p.dim] + 2 * block_sum(cross);
        }
        const double squares = inner + p.classes * spreads[0] + (double)p.batch * spreads[1];
        const Summary whole = {(double)p.batch * p.classes, centre, squares};
        impostor = whole.without(genuine);
    } else {
        double sums[TILE_SUMS];
        for (u32 k = 0; k < TILE_SUMS; k++) {
            double sum = 0;
            for (u32 b = threadIdx.x; b < p.blocks; b += blockDim.x) sum += p.tile_sums[b * TILE_SUMS + k];
            sums[k] = block_sum(sum);
        }
        // D-Loss sees every unordered pair twice.
        const double share = p.cosines ? 1.0 : 0.5;
        impostor = summary_about(centre, share * sums[0], share * sums[1], share * sums[2]);
        if (!p.cosines) genuine = summary_about(centre, share * sums[3], share * sums[4], share * sums[5]);
    }
    if (threadIdx.x != 0) return;

    const Decidability at(p.settings, genuine, impostor);
    // Without a genuine or an impostor pair there is no index; a bad label has made a genuine cosine NaN already.
    const bool undefined = genuine.count == 0 || impostor.count == 0 || bad > 0;
    const double nan = __longlong_as_double(0x7ff8000000000000ll);
    const float loss = (float)(undefined ? nan : at.loss);
    if (p.element == F32) narrow(loss, *(float *)p.loss);
    if (p.element == F16) narrow(loss, *(Half *)p.loss);
    if (p.element == BF16) narrow(loss, *(Brain *)p.loss);

    const double t = p.settings.temperature;
    const double moments[8] = {genuine.mean / t,
                               impostor.mean / t,
                               genuine.variance() / (t * t),
                               impostor.variance() / (t * t),
                               undefined ? nan : at.index,
                               genuine.count,
                               impostor.count,
                               bad};
    for (u32 k = 0; k < 8; k++) p.moments[k] = moments[k];
    const double header[10] = {STATE_VERSION,
                               (double)p.settings.form,
                               (double)p.settings.mode,
                               t,
                               p.settings.floor,
                               p.settings.eps,
                               (double)p.batch,
                               p.cosines ? (double)p.classes : 0.0,
                               (double)p.dim,
                               p.products ? 1.0 : 0.0};
    for (u32 k = 0; k < 10; k++) p.header[k] = header[k];
    const double summaries[6] = {genuine.count,  genuine.mean,  genuine.squares,
                                 impostor.count, impostor.mean, impostor.squares};
    for (u32 k = 0; k < 6; k++) p.summaries[k] = summaries[k];
}

extern "C" __global__ void __launch_bounds__(1024) conclude(Conclude p) { conclude_block(p); }

struct Weigh {
    const double *header, *summaries, *moments;  // of the saved state; as the forward wrote them
    const void *upstream;                        // of type `element`; null: 1
    const double *embedding_mean, *proxy_mean;   // [dim]
    Weights *out;
    float *vectors;                 // [2, 3, padded dim]: `Vectors` of embeddings and of proxies
    const double *alongs[2];        // as in `Conclude`; null: `split_scatter` or `scale_scatter` does what follows
    const double *centres;          // [2, dim]; null: the means in f32
    const double *scales;           // [2], of `settle`
    float *centred;                 // [2, 2, padded dim]: `centre` and `rest` of `TensorGradient`; null: not asked for
    Pivot *pivots;                  // [2], likewise
    float *factors, *constants;     // [2], [2, padded dim]: as in `SplitScatter`, of embeddings and of proxies
    u32 batch, classes, dim, gram;  // what the host knows: classes 0 for D-Loss
    u32 element, unused;
};
static_assert(sizeof(Weigh) == 152, "as in params.rs");

// What pairs weigh in the gradient. A state that is not of these shapes mutes the gradient with NaN: the host cannot look
// at it, so this is where it is refused. One block.
__device__ inline void find_weights(const Weigh &p) {
    double centre = 0, shares[2];
    for (u32 d = threadIdx.x; d < p.dim; d += blockDim.x) centre = fma(p.embedding_mean[d], p.proxy_mean[d], centre);
    centre = block_sum(centre);
    for (u32 side = 0; side < 2; side++) {
        const double *own = side == 0 ? p.embedding_mean : p.proxy_mean;
        const double *other = side == 0 ? p.proxy_mean : p.embedding_mean;
        double square = 0;
        for (u32 d = threadIdx.x; d < p.dim; d += blockDim.x) square = fma(own[d], own[d], square);
        square = block_sum(square);
        shares[side] = square == 0 ? 0.0 : centre / square;
        const u32 width = padded(p.dim);
        float *high = p.vectors + (u64)side * 3 * width, *low = high + width, *rest = low + width;
        for (u32 d = threadIdx.x; d < width; d += blockDim.x) {
            const Twice mean(d < p.dim ? own[d] : 0.0);
            high[d] = mean.high;
            low[d] = mean.low;
            rest[d] = d < p.dim ? (float)(other[d] - shares[side] * own[d]) : 0.0f;
        }
    }
    if (threadIdx.x != 0) return;

    const double *h = p.header, *s = p.summaries;
    const bool ours = h[0] == STATE_VERSION && h[1] >= 0 && h[1] <= FORM_INVERSE && h[2] >= 0 && h[2] <= MODE_CLAMP &&
                      h[6] == p.batch && h[7] == p.classes && h[8] == p.dim && (p.classes == 0 || h[9] == p.gram);
    const Settings settings = {h[3], h[4], h[5], ours ? (u32)h[1] : 0, ours ? (u32)h[2] : 0};
    const Summary genuine = {s[0], s[1], s[2]}, impostor = {s[3], s[4], s[5]};
    float upstream = 1;
    if (p.upstream && p.element == F32) upstream = widen(*(const float *)p.upstream);
    if (p.upstream && p.element == F16) upstream = widen(*(const Half *)p.upstream);
    if (p.upstream && p.element == BF16) upstream = widen(*(const Brain *)p.upstream);

    const Decidability at(settings, genuine, impostor);
    const double pull = at.pull * upstream, squeeze = at.squeeze * upstream;
    Weights w;
    w.level = pull / impostor.count;
    w.genuine_level = -pull / genuine.count;
    // One number has no variance, whatever it is. The deviation it is multiplied with would be rounding alone.
    w.slope = impostor.count == 1 ? 0.0 : 2 * squeeze / impostor.count;
    w.genuine_slope = genuine.count == 1 ? 0.0 : 2 * squeeze / genuine.count;
    w.impostor_mean = impostor.mean;
    w.genuine_mean = genuine.mean;
    w.centre = centre;
    w.share[0] = shares[0];
    w.share[1] = shares[1];
    const bool undefined = genuine.count == 0 || impostor.count == 0 || p.moments[7] > 0;
    w.mute = !ours ? 2 : undefined ? 1 : 0;
    *p.out = w;
}

__device__ inline void weigh_block(const Weigh &p) {
    find_weights(p);
    if (!p.centred) return;
    __syncthreads();
    const double slope = p.out->slope;
    UNROLLED
    for (u32 side = 0; side < 2; side++) {
        const double *own = side == 0 ? p.embedding_mean : p.proxy_mean;
        const double *other = side == 0 ? p.proxy_mean : p.embedding_mean;
        double square = 0, middle = 0;
        for (u32 d = threadIdx.x; d < p.dim; d += blockDim.x) {
            const double centre = p.centres ? p.centres[side * p.dim + d] : (double)(float)own[d];
            square = fma(centre, centre, square);
            middle = fma(centre, other[d], middle);
        }
        square = block_sum(square);
        middle = block_sum(middle);
        // Rows far apart have no need of it, and a short centre would make it large.
        const double share = square > 0.5 ? middle / square : 0.0;
        if (threadIdx.x == 0) {
            const double at = middle + share * (0.5 * (1 - square)), others = side == 0 ? p.classes : p.batch;
            p.pivots[side] = {(float)share,
                              (float)at,
                              (float)(share - at),
                              (float)(others * p.out->level),
                              (float)(others * slope),
                              (float)(at - p.out->impostor_mean)};
        }
        const u32 width = padded(p.dim);
        float *out = p.centred + 2 * side * width, *rest = out + width;
        for (u32 d = threadIdx.x; d < width; d += blockDim.x) {
            const bool inside = d < p.dim;
            const double centre = !inside ? 0.0 : p.centres ? p.centres[side * p.dim + d] : (double)(float)own[d];
            out[d] = (float)(centre * ROW_SCALE);
            rest[d] = inside ? (float)(other[d] - share * centre) : 0.0f;
        }
        if (!p.alongs[0]) continue;
        const double *along = side == 0 ? p.alongs[1] : p.alongs[0];
        if (threadIdx.x == 0) p.factors[side] = (float)(slope / (p.scales[1 - side] * ROW_SCALE_SQUARE));
        for (u32 d = threadIdx.x; d < width; d += blockDim.x)
            p.constants[side * width + d] = d < p.dim ? (float)(slope * along[d]) : 0.0f;
    }
}

// Launch: one block of 256 threads.
extern "C" __global__ void __launch_bounds__(256) weigh(Weigh p) { weigh_block(p); }

struct Judge {
    Conclude conclude;
    Weigh weigh;
};
static_assert(sizeof(Judge) == 320, "as in params.rs");

// Both, where the gradient follows at once. Launch: one block of 1024 threads.
extern "C" __global__ void __launch_bounds__(1024) judge(Judge p) {
    conclude_block(p.conclude);
    __syncthreads();
    weigh_block(p.weigh);
}
