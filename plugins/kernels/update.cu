// The optimiser's step of all weights. CPU twin: plugins/src/update, in whose order of operations it is.
#include "common.cuh"

// A weight in T and all that goes with it; null where the rule or the weight has none.
struct Updated {
    const void *weight, *gradient, *first, *second, *average;
    void *next_weight, *next_first, *next_second, *next_average;
    u64 count;
    double rate, decay, stays;  // factor on the learning rate; weight decay; what stays of the average
    u64 block;                  // the first block that has a part of it
};
static_assert(sizeof(Updated) == 112, "as in params.rs");

const u32 UPDATED = 32;  // weights that a launch has at most: parameters end at 4 KiB
const u32 UPDATE_BLOCK = 4096;

const u32 SGD = 0, ADAMW = 1, LION = 2;

struct Update {
    const float *learning_rate;
    const long long *step;  // counted from 1
    const void *norm;       // of all gradients together, in T
    double beta1, beta2;    // of SGD the momentum, and nothing
    double epsilon;
    double clip;  // the largest norm; 0: any
    u32 optimizer, nesterov, weights;
    u32 skips;  // a norm that is not finite changes nothing
    Updated of[UPDATED];
};
static_assert(sizeof(Update) == 3656, "as in params.rs");

// What all of a weight is multiplied with.
struct Factors {
    float clip, size, epsilon, keep, decay, stays, comes;
    bool skipped;
};

__device__ inline double raised(double base, long long exponent) {
    if (exponent == 2) return base * base;
    if (exponent == 3) return base * base * base;
    return pow(base, (double)exponent);
}

__device__ inline Factors factors_of(const Update &p, float norm, double rate, double decay, double stays) {
    double size = *p.learning_rate * rate, keep = 1, epsilon = 0;
    if (p.optimizer != SGD && decay > 0) keep = size * -decay + 1;
    if (p.optimizer == ADAMW) {
        const double root = sqrt(1 - raised(p.beta2, *p.step));
        epsilon = root * p.epsilon;
        size = size * root / (1 - raised(p.beta1, *p.step));
    }
    const float ratio = (float)p.clip / (norm + 1e-6f);
    Factors out;
    out.clip = p.clip > 0 && !(ratio > 1) ? ratio : 1;  // NaN where the norm is
    out.size = (float)size;
    out.epsilon = (float)epsilon;
    out.keep = (float)keep;
    out.decay = p.optimizer == SGD && decay > 0 ? (float)decay : 0;
    out.stays = (float)stays;
    out.comes = (float)(1 - stays);
    out.skipped = p.skips && !(fabsf(norm) <= 3.40282347e38f);
    return out;
}

// -1, 0 or 1; what is no number stays so.
__device__ inline float sign(float value) { return value > 0 ? 1 : value < 0 ? -1 : value == 0 ? 0 : value; }

// Launch: blocks that have 4096 numbers each of one weight.
template <class T>
__device__ void update(const Update &p) {
    __shared__ Factors shared;
    u32 at = 0;
    while (at + 1 < p.weights && p.of[at + 1].block <= blockIdx.x) at++;
    const Updated of = p.of[at];
    if (threadIdx.x == 0) shared = factors_of(p, widen(*(const T *)p.norm), of.rate, of.decay, of.stays);
    __syncthreads();
    const Factors f = shared;
    const u64 start = (blockIdx.x - of.block) * UPDATE_BLOCK;
    const u32 count = of.count - start < UPDATE_BLOCK ? (u32)(of.count - start) : UPDATE_BLOCK;
    const float kept1 = (float)p.beta1, new1 = (float)(1 - p.beta1), kept2 = (float)p.beta2, new2 = (float)(1 - p.beta2);
    for (u32 i = 4 * threadIdx.x; i < count; i += 4 * blockDim.x) {
        const Four gradients = load4((const T *)of.gradient + start, i, count);
        Four weight = load4((const T *)of.weight + start, i, count);
        Four first = {}, second = {};
        if (of.first) first = load4((const T *)of.first + start, i, count);
        if (of.second) second = load4((const T *)of.second + start, i, count);
        UNROLLED
        for (u32 k = 0; k < 4; k++) {
            if (f.skipped) break;
            float &w = weight.at[k], &m = first.at[k], &v = second.at[k];
            const float g = gradients.at[k] * f.clip;
            if (p.optimizer == ADAMW) {
                m = m * kept1 + g * new1;
                v = v * kept2 + g * g * new2;
                w = w * f.keep - m / (sqrtf(v) + f.epsilon) * f.size;
            } else if (p.optimizer == LION) {
                const float direction = sign(m * kept1 + g * new1);
                m = m * kept2 + g * new2;
                w = w * f.keep - direction * f.size;
            } else {
                // Not `g + w * 0`: a weight that is infinite has no decay either.
                float direction = f.decay > 0 ? g + w * f.decay : g;
                if (of.first) {
                    m = m * kept1 + direction;
                    direction = p.nesterov ? direction + m * kept1 : m;
                }
                w = w - direction * f.size;
            }
        }
        store4((T *)of.next_weight + start, i, count, weight);
        if (of.first) store4((T *)of.next_first + start, i, count, first);
        if (of.second) store4((T *)of.next_second + start, i, count, second);
        if (of.average) {
            Four average = load4((const T *)of.average + start, i, count);
            UNROLLED
            for (u32 k = 0; k < 4 && !f.skipped; k++) average.at[k] = average.at[k] * f.stays + weight.at[k] * f.comes;
            store4((T *)of.next_average + start, i, count, average);
        }
    }
}
FOR_ELEMENTS(update, Update)
