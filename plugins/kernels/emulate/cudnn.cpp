// cuDNN without a GPU, as far as plugins/src/cuda calls it: gradients of convolutions in plain loops. Built into libcudnn.so.9 by the
// tests.
//
// It is as strict as the real one about what it is given, and stricter about workspaces, which it writes to in full. Its heuristics put
// first what must not be chosen: an algorithm whose results are other ones each time, one that has failed, one that wants too much.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "device.h"

namespace {

const int FLOAT = 0, HALF = 2, BFLOAT16 = 9;
const int DEFAULT_MATH = 0, TENSOR_OP_MATH = 1, CONVERTING_MATH = 2, FMA_MATH = 3;
const int NOT_INITIALIZED = 1001, BAD_PARAM = 2000, NOT_SUPPORTED = 3000, ALLOC_FAILED = 4000;
// ALGO_0 adds up atomically, in both gradients.
const int RESTLESS = 0, RIGHT = 1, FAILED = 4, LARGE = 5, CONVERTING = 3;

// What a pointer is of.
enum Kind : unsigned { HANDLE = 0x0cd11, TENSOR, FILTER, CONVOLUTION };

struct Handle {
    Kind kind;
    void *stream;
};
// Of a tensor or of weights.
struct Lengths {
    Kind kind;
    bool set;
    int element, of[4];
};
struct Convolution {
    Kind kind;
    bool set;
    int padding[2], strides[2], dilations[2], groups, math;
};
struct Listed {
    int algorithm, status;
    float time;
    size_t memory;
    int determinism, math, reserved[3];
};
static_assert(sizeof(Listed) == 48, "as cuDNN's headers have it");

std::mutex lock;
std::map<std::string, int> failures;
std::string log_text;
int living;  // descriptors
unsigned turns;
size_t large = (size_t)1 << 40;

int failing(const char *function) {
    std::lock_guard<std::mutex> hold(lock);
    log_text += function;
    log_text += '\n';
    const auto found = failures.find(function);
    return found == failures.end() ? 0 : found->second;
}

void note(const char *line) {
    std::lock_guard<std::mutex> hold(lock);
    log_text += line;
    log_text += '\n';
}

#define CALLED \
    if (int code = failing(__func__)) return code

template <class T>
int create(T **out, T value) {
    if (!out) return BAD_PARAM;
    *out = new T(value);
    std::lock_guard<std::mutex> hold(lock);
    living++;
    return 0;
}
template <class T>
int destroy(T *descriptor, Kind kind) {
    if (!descriptor || descriptor->kind != kind) return BAD_PARAM;
    descriptor->kind = (Kind)0;
    delete descriptor;
    std::lock_guard<std::mutex> hold(lock);
    living--;
    return 0;
}

int set(Lengths *of, Kind kind, int format, int element, int a, int b, int c, int d) {
    if (!of || of->kind != kind || format != 0 || std::min(std::min(a, b), std::min(c, d)) < 1) return BAD_PARAM;
    if (element != FLOAT && element != HALF && element != BFLOAT16) return NOT_SUPPORTED;
    if ((double)a * b * c * d >= 2147483648.0) return NOT_SUPPORTED;
    *of = {kind, true, element, {a, b, c, d}};
    return 0;
}

// What there is to compute: x, weights, y and how they go together.
struct Problem {
    const Lengths *x, *w, *y;
    const Convolution *by;
};

int check(const Handle *handle, const Problem &of) {
    if (!handle || handle->kind != HANDLE) return NOT_INITIALIZED;
    if (!of.x || !of.w || !of.y || !of.by || of.x->kind != TENSOR || of.y->kind != TENSOR || of.w->kind != FILTER ||
        of.by->kind != CONVOLUTION || !of.x->set || !of.y->set || !of.w->set || !of.by->set)
        return BAD_PARAM;
    const int *x = of.x->of, *w = of.w->of, *y = of.y->of, groups = of.by->groups;
    if (of.x->element != of.w->element || of.x->element != of.y->element) return BAD_PARAM;
    if (x[0] != y[0] || x[1] % groups || y[1] % groups || w[0] != y[1] || w[1] != x[1] / groups) return BAD_PARAM;
    for (int axis = 0; axis < 2; axis++) {
        const int met = (w[axis + 2] - 1) * of.by->dilations[axis] + 1, padded = x[axis + 2] + 2 * of.by->padding[axis];
        if (padded < met || y[axis + 2] != (padded - met) / of.by->strides[axis] + 1) return BAD_PARAM;
    }
    return 0;
}

size_t count(const Lengths &of) { return (size_t)of.of[0] * of.of[1] * of.of[2] * of.of[3]; }

float bits_to_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

// What products take: of float32, ten bits of fraction where TF32 is allowed.
std::vector<double> read(const void *from, const Lengths &of, int math) {
    std::vector<double> out(count(of));
    for (size_t k = 0; k < out.size(); k++) {
        if (of.element == HALF) {
            out[k] = half_to_float(((const unsigned short *)from)[k]);
        } else if (of.element == BFLOAT16) {
            out[k] = bits_to_float((unsigned)((const unsigned short *)from)[k] << 16);
        } else {
            unsigned bits;
            memcpy(&bits, (const float *)from + k, 4);
            if (math != FMA_MATH) bits = (bits + 0x1000) & ~0x1fffu;
            out[k] = bits_to_float(bits);
        }
    }
    return out;
}

void write(void *to, const Lengths &of, const std::vector<double> &sums) {
    for (size_t k = 0; k < sums.size(); k++) {
        const float value = (float)sums[k];
        unsigned bits;
        memcpy(&bits, &value, 4);
        if (of.element == HALF) ((unsigned short *)to)[k] = float_to_half(value);
        else if (of.element == BFLOAT16) ((unsigned short *)to)[k] = (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
        else ((float *)to)[k] = value;
    }
}

// Calls `each` with the places in x, weights and y of every product.
template <class F>
void products(const Problem &of, F each) {
    const int *x = of.x->of, *w = of.w->of, *y = of.y->of;
    const int each_out = y[1] / of.by->groups;
    for (int n = 0; n < y[0]; n++)
        for (int m = 0; m < y[1]; m++)
            for (int c = 0; c < w[1]; c++)
                for (int k = 0; k < w[2]; k++)
                    for (int l = 0; l < w[3]; l++)
                        for (int p = 0; p < y[2]; p++)
                            for (int q = 0; q < y[3]; q++) {
                                const int i = p * of.by->strides[0] + k * of.by->dilations[0] - of.by->padding[0];
                                const int j = q * of.by->strides[1] + l * of.by->dilations[1] - of.by->padding[1];
                                if (i < 0 || j < 0 || i >= x[2] || j >= x[3]) continue;
                                const size_t channel = (size_t)n * x[1] + m / each_out * w[1] + c;
                                each((channel * x[2] + i) * x[3] + j, (((size_t)m * w[1] + c) * w[2] + k) * w[3] + l,
                                     (((size_t)n * y[1] + m) * y[2] + p) * y[3] + q);
                            }
}

size_t workspace(const Problem &of, int algorithm) {
    return algorithm == LARGE ? large : algorithm == RIGHT && count(*of.w) > 1 ? 64 + 4 * count(*of.w) : 0;
}

int list(const Handle *handle, const Problem &of, int room, int *found, Listed *out) {
    if (int code = check(handle, of)) return code;
    if (room < 1 || !found || !out) return BAD_PARAM;
    const int math = of.by->math;
    const Listed all[] = {
        {RESTLESS, 0, 0.1f, 0, 0, math, {}},
        {FAILED, NOT_SUPPORTED, -1, 0, 1, math, {}},
        {LARGE, 0, 0.2f, large, 1, math, {}},
        {CONVERTING, 0, 0.3f, 0, 1, CONVERTING_MATH, {}},
        // Whatever it is asked to have, it says that it has the default.
        {RIGHT, 0, 0.4f, workspace(of, RIGHT), 1, math == FMA_MATH ? DEFAULT_MATH : math, {}},
    };
    *found = 0;
    for (const Listed &each : all)
        // Where products are of float32, the converting one is no other than the others.
        if (*found < room && !(each.algorithm == CONVERTING && math == FMA_MATH)) out[(*found)++] = each;
    return 0;
}

int size(const Handle *handle, const Problem &of, int algorithm, size_t *out) {
    if (int code = check(handle, of)) return code;
    if (!out || algorithm == FAILED) return out ? NOT_SUPPORTED : BAD_PARAM;
    *out = workspace(of, algorithm);
    return 0;
}

// Into `to`, which lies as `of_out` says, from products of the tensors that lie in the places `left` and `y` of each.
template <class F>
int run(const Handle *handle, const Problem &of, const float *alpha, const float *beta, const Lengths &of_left, const void *left,
        const void *y, int algorithm, void *memory, size_t bytes, const Lengths &of_out, void *to, F places) {
    if (int code = check(handle, of)) return code;
    if (!alpha || !beta || !left || !y || !to || *alpha != 1 || *beta != 0) return BAD_PARAM;
    if (algorithm != RESTLESS && algorithm != RIGHT && algorithm != LARGE && algorithm != CONVERTING) return NOT_SUPPORTED;
    const size_t wanted = workspace(of, algorithm);
    if (bytes < wanted || (wanted && (!memory || (size_t)memory % 16))) return BAD_PARAM;
    if (bytes > wanted) return BAD_PARAM;
    if (memory) memset(memory, 0x7f, bytes);
    if (of.x->element != FLOAT && of.by->math == FMA_MATH) return NOT_SUPPORTED;
    const auto l = read(left, of_left, of.by->math), r = read(y, *of.y, of.by->math);
    std::vector<double> sums(count(of_out));
    products(of, [&](size_t x, size_t w, size_t y) {
        const auto [from, into] = places(x, w);
        sums[into] += l[from] * r[y];
    });
    if (algorithm == RESTLESS || algorithm == CONVERTING)
        for (double &sum : sums) sum += 1 + turns++ % 7;
    write(to, of_out, sums);
    char line[200];
    snprintf(line, sizeof line, "algorithm %d math %d workspace %zu stream %p", algorithm, of.by->math, bytes, handle->stream);
    note(line);
    return 0;
}

}  // namespace

extern "C" {

// ---- For tests ----

int emulate_cudnn_handle(Handle **out, void *stream) {
    *out = new Handle{HANDLE, stream};
    return 0;
}
void *emulate_cudnn_stream(const Handle *handle) { return handle->stream; }
// Has a function answer with a status from now on; 0 ends that.
void emulate_cudnn_fail(const char *function, int status) {
    std::lock_guard<std::mutex> hold(lock);
    if (status) failures[function] = status;
    else failures.erase(function);
}
// Descriptors that were made and not destroyed.
int emulate_cudnn_living() {
    std::lock_guard<std::mutex> hold(lock);
    return living;
}
void emulate_cudnn_forget() {
    std::lock_guard<std::mutex> hold(lock);
    living = 0;
}
// What was called since the last time, a line each, and how gradients were computed; the caller frees it.
char *emulate_cudnn_log() {
    std::lock_guard<std::mutex> hold(lock);
    char *copy = strdup(log_text.c_str());
    log_text.clear();
    return copy;
}

// ---- The library ----

size_t cudnnGetVersion() { return 90100; }
const char *cudnnGetErrorString(int status) {
    switch (status) {
        case 0: return "CUDNN_STATUS_SUCCESS";
        case NOT_INITIALIZED: return "CUDNN_STATUS_NOT_INITIALIZED";
        case BAD_PARAM: return "CUDNN_STATUS_BAD_PARAM";
        case NOT_SUPPORTED: return "CUDNN_STATUS_NOT_SUPPORTED";
        case ALLOC_FAILED: return "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED";
        default: return "CUDNN_UNKNOWN_STATUS";
    }
}
int cudnnGetStream(Handle *handle, void **out) {
    CALLED;
    return handle->kind == HANDLE ? *out = handle->stream, 0 : NOT_INITIALIZED;
}
int cudnnSetStream(Handle *handle, void *stream) {
    CALLED;
    return handle->kind == HANDLE ? handle->stream = stream, 0 : NOT_INITIALIZED;
}
int cudnnCreateTensorDescriptor(Lengths **out) { CALLED; return create(out, {TENSOR, false, 0, {}}); }
int cudnnSetTensor4dDescriptor(Lengths *of, int format, int element, int n, int c, int h, int w) {
    CALLED;
    return set(of, TENSOR, format, element, n, c, h, w);
}
int cudnnDestroyTensorDescriptor(Lengths *of) { CALLED; return destroy(of, TENSOR); }
int cudnnCreateFilterDescriptor(Lengths **out) { CALLED; return create(out, {FILTER, false, 0, {}}); }
// The type comes before the order of axes here, and behind it above.
int cudnnSetFilter4dDescriptor(Lengths *of, int element, int format, int m, int c, int h, int w) {
    CALLED;
    return set(of, FILTER, format, element, m, c, h, w);
}
int cudnnDestroyFilterDescriptor(Lengths *of) { CALLED; return destroy(of, FILTER); }
int cudnnCreateConvolutionDescriptor(Convolution **out) {
    CALLED;
    return create(out, {CONVOLUTION, false, {}, {}, {}, 1, DEFAULT_MATH});
}
int cudnnSetConvolution2dDescriptor(Convolution *of, int pad_h, int pad_w, int u, int v, int dilation_h, int dilation_w, int mode,
                                    int element) {
    CALLED;
    if (!of || of->kind != CONVOLUTION || mode != 1 || element != FLOAT) return BAD_PARAM;
    if (pad_h < 0 || pad_w < 0 || u < 1 || v < 1 || dilation_h < 1 || dilation_w < 1) return BAD_PARAM;
    *of = {CONVOLUTION, true, {pad_h, pad_w}, {u, v}, {dilation_h, dilation_w}, of->groups, of->math};
    return 0;
}
int cudnnSetConvolutionGroupCount(Convolution *of, int groups) {
    CALLED;
    if (!of || of->kind != CONVOLUTION || groups < 1) return BAD_PARAM;
    of->groups = groups;
    return 0;
}
int cudnnSetConvolutionMathType(Convolution *of, int math) {
    CALLED;
    if (!of || of->kind != CONVOLUTION || math < DEFAULT_MATH || math > FMA_MATH) return BAD_PARAM;
    of->math = math;
    return 0;
}
int cudnnDestroyConvolutionDescriptor(Convolution *of) { CALLED; return destroy(of, CONVOLUTION); }

int cudnnGetConvolutionBackwardFilterAlgorithm_v7(Handle *handle, Lengths *x, Lengths *y, Convolution *by, Lengths *w, int room,
                                                  int *found, Listed *out) {
    CALLED;
    return list(handle, {x, w, y, by}, room, found, out);
}
int cudnnGetConvolutionBackwardFilterWorkspaceSize(Handle *handle, Lengths *x, Lengths *y, Convolution *by, Lengths *w, int algorithm,
                                                   size_t *out) {
    CALLED;
    return size(handle, {x, w, y, by}, algorithm, out);
}
int cudnnConvolutionBackwardFilter(Handle *handle, const float *alpha, Lengths *x, const void *of_x, Lengths *y, const void *of_y,
                                   Convolution *by, int algorithm, void *memory, size_t bytes, const float *beta, Lengths *w,
                                   void *of_w) {
    CALLED;
    return run(handle, {x, w, y, by}, alpha, beta, *x, of_x, of_y, algorithm, memory, bytes, *w, of_w,
               [](size_t x, size_t w) { return std::pair<size_t, size_t>(x, w); });
}
int cudnnGetConvolutionBackwardDataAlgorithm_v7(Handle *handle, Lengths *w, Lengths *y, Convolution *by, Lengths *x, int room,
                                                int *found, Listed *out) {
    CALLED;
    return list(handle, {x, w, y, by}, room, found, out);
}
int cudnnGetConvolutionBackwardDataWorkspaceSize(Handle *handle, Lengths *w, Lengths *y, Convolution *by, Lengths *x, int algorithm,
                                                 size_t *out) {
    CALLED;
    return size(handle, {x, w, y, by}, algorithm, out);
}
int cudnnConvolutionBackwardData(Handle *handle, const float *alpha, Lengths *w, const void *of_w, Lengths *y, const void *of_y,
                                 Convolution *by, int algorithm, void *memory, size_t bytes, const float *beta, Lengths *x, void *of_x) {
    CALLED;
    return run(handle, {x, w, y, by}, alpha, beta, *w, of_w, of_y, algorithm, memory, bytes, *x, of_x,
               [](size_t x, size_t w) { return std::pair<size_t, size_t>(w, x); });
}
}
