// Gradients of activations. CPU twin: plugins/src/activation, whose table has the formulas.
#include "common.cuh"

struct ActivationGrad {
    const void *grad, *kept, *second;  // [count]
    void *out;
    u64 count;
    double low, high;  // of Clip
    double factor;     // alpha, or what GELU is multiplied with
    u32 activation, unused;
};
static_assert(sizeof(ActivationGrad) == 72, "as in params.rs");

// In the order of `Activation` in plugins/src/activation.
enum Activation { RELU, CLIP, LEAKY_RELU, SIGMOID, TANH, HARD_SIGMOID, HARD_SWISH, SILU, GELU, GELU_TANH };

// A product, as in standard operators: what is not finite stays so.
__device__ inline float gate(float value, bool holds) { return value * (holds ? 1.0f : 0.0f); }

template <u32 KIND>
__device__ inline float slope(float g, float kept, float second, float low, float high, float factor) {
    switch (KIND) {
        case RELU: return gate(g, kept > 0);
        case CLIP: return gate(g, kept > low && kept < high);
        case LEAKY_RELU: return kept > 0 ? g : g * factor;
        case SIGMOID: return g * (kept * (1 - kept));
        case TANH: return g * (1 - kept * kept);
        case HARD_SIGMOID: return gate(g * factor, kept > 0 && kept < 1);
        case HARD_SWISH: return kept > -3 && kept < 3 ? g * (kept * (float)(1.0 / 3.0) + 0.5f) : gate(g, kept > 0);
        case SILU: return g * (second * (1 + kept * (1 - second)));
        case GELU: {
            const float below = erff(kept * 0.70710678f) * 0.5f + 0.5f;
            return g * ((below + kept * (expf(kept * kept * -0.5f) * 0.39894228f)) * factor);
        }
        default: {
            const float c = 0.79788456f, a = 0.044715f, square = kept * kept;
            const float t = tanhf(kept * (square * (c * a) + c));
            return g * (t * 0.5f + 0.5f + kept * ((1 - t * t) * (square * (1.5f * c * a) + 0.5f * c)));
        }
    }
}

template <class T, u32 KIND>
__device__ void each(const ActivationGrad &p) {
    const float low = (float)p.low, high = (float)p.high, factor = (float)p.factor;
    for (u64 at = 4 * ((u64)blockIdx.x * blockDim.x + threadIdx.x); at < p.count; at += 4ull * gridDim.x * blockDim.x) {
        const u32 rest = p.count - at < 4 ? (u32)(p.count - at) : 4;
        const Four grad = load4((const T *)p.grad + at, 0, rest), kept = load4((const T *)p.kept + at, 0, rest);
        const Four second = KIND == SILU ? load4((const T *)p.second + at, 0, rest) : Four{};
        Four out;
        UNROLLED
        for (u32 k = 0; k < 4; k++) out.at[k] = slope<KIND>(grad.at[k], kept.at[k], second.at[k], low, high, factor);
        store4((T *)p.out + at, 0, rest, out);
    }
}

// Launch: threads stride over groups of four numbers.
template <class T>
__device__ void activation_grad(const ActivationGrad &p) {
    switch (p.activation) {
        case RELU: return each<T, RELU>(p);
        case CLIP: return each<T, CLIP>(p);
        case LEAKY_RELU: return each<T, LEAKY_RELU>(p);
        case SIGMOID: return each<T, SIGMOID>(p);
        case TANH: return each<T, TANH>(p);
        case HARD_SIGMOID: return each<T, HARD_SIGMOID>(p);
        case HARD_SWISH: return each<T, HARD_SWISH>(p);
        case SILU: return each<T, SILU>(p);
        case GELU: return each<T, GELU>(p);
        default: return each<T, GELU_TANH>(p);
    }
}
FOR_ELEMENTS(activation_grad, ActivationGrad)
