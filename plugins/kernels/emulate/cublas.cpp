// cuBLAS without a GPU, as far as plugins/src/cuda calls it. Built into libcublas.so.12 by the tests.
#include <cstring>
#include <vector>

namespace {

const int NO_TRANSPOSE = 0, TF32_MATH = 3, INVALID = 7;
const unsigned MAGIC = 0x0b1a5;

struct Handle {
    unsigned magic;
    int math, pointers;
    void *stream;
};

// What tensor cores would read with TF32 allowed: ten bits of fraction.
float reduced(float value, int math) {
    if (math != TF32_MATH) return value;
    unsigned bits;
    memcpy(&bits, &value, 4);
    bits = (bits + 0x1000) & ~0x1fffu;
    memcpy(&value, &bits, 4);
    return value;
}

// op(matrix) as rows of `length`, one for each of `count` results: what dot products run over.
std::vector<float> rows(const float *matrix, int leading, bool along_columns, int count, int length, int math) {
    std::vector<float> out((size_t)count * length);
    for (int i = 0; i < count; i++)
        for (int k = 0; k < length; k++)
            out[(size_t)i * length + k] =
                reduced(along_columns ? matrix[(size_t)i * leading + k] : matrix[(size_t)k * leading + i], math);
    return out;
}

}  // namespace

extern "C" {

int emulate_cublas_handle(Handle **out, void *stream, int math, int pointers) {
    *out = new Handle{MAGIC, math, pointers, stream};
    return 0;
}
int emulate_cublas_state(const Handle *handle, void **stream, int *math, int *pointers) {
    *stream = handle->stream;
    *math = handle->math;
    *pointers = handle->pointers;
    return 0;
}

int cublasGetStream_v2(Handle *handle, void **out) { return handle->magic == MAGIC ? *out = handle->stream, 0 : INVALID; }
int cublasSetStream_v2(Handle *handle, void *stream) { return handle->magic == MAGIC ? handle->stream = stream, 0 : INVALID; }
int cublasGetMathMode(Handle *handle, int *out) { return handle->magic == MAGIC ? *out = handle->math, 0 : INVALID; }
int cublasSetMathMode(Handle *handle, int mode) { return handle->magic == MAGIC ? handle->math = mode, 0 : INVALID; }
int cublasGetPointerMode_v2(Handle *handle, int *out) { return handle->magic == MAGIC ? *out = handle->pointers, 0 : INVALID; }
int cublasSetPointerMode_v2(Handle *handle, int mode) { return handle->magic == MAGIC ? handle->pointers = mode, 0 : INVALID; }

// Column-major, as cuBLAS has it: C[m, n] = alpha op(A) op(B) + beta C.
int cublasSgemmStridedBatched(Handle *handle, int op_a, int op_b, int m, int n, int k, const float *alpha, const float *a,
                              int lda, long long stride_a, const float *b, int ldb, long long stride_b,
                              const float *beta, float *c, int ldc, long long stride_c, int count) {
    if (handle->magic != MAGIC || m < 0 || n < 0 || k < 0 || handle->pointers != 0) return INVALID;
    if (lda < (op_a == NO_TRANSPOSE ? m : k) || ldb < (op_b == NO_TRANSPOSE ? k : n) || ldc < m) return INVALID;
    for (int batch = 0; batch < count; batch++) {
        const auto left = rows(a + batch * stride_a, lda, op_a != NO_TRANSPOSE, m, k, handle->math);
        const auto right = rows(b + batch * stride_b, ldb, op_b == NO_TRANSPOSE, n, k, handle->math);
        for (int j = 0; j < n; j++)
            for (int i = 0; i < m; i++) {
                const float *l = &left[(size_t)i * k], *r = &right[(size_t)j * k];
                float lanes[16] = {}, sum = 0;
                int d = 0;
                for (; d + 16 <= k; d += 16)
                    for (int lane = 0; lane < 16; lane++) lanes[lane] += l[d + lane] * r[d + lane];
                for (; d < k; d++) sum += l[d] * r[d];
                for (float lane : lanes) sum += lane;
                float &out = c[batch * stride_c + (size_t)j * ldc + i];
                // With beta = 0 what was there is not read, NaN included.
                out = *alpha * sum + (*beta == 0 ? 0 : *beta * out);
            }
    }
    return 0;
}

int cublasSgemm_v2(Handle *handle, int op_a, int op_b, int m, int n, int k, const float *alpha, const float *a, int lda,
                   const float *b, int ldb, const float *beta, float *c, int ldc) {
    return cublasSgemmStridedBatched(handle, op_a, op_b, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1);
}
}
