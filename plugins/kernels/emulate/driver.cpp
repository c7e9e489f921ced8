// A CUDA driver without a GPU: the driver API as far as plugins/src/cuda calls it, over the kernels compiled for the CPU.
//
// Built into libcuda.so.1 by the tests. Device memory is the process's memory, a stream runs what it is given at once. What
// it cannot show: races between warps other than by another order of threads and blocks, and anything about time.
#define PDLOSS_EMULATE
#include "../kernels.cu"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <ucontext.h>
#include <vector>

Position threadIdx, blockIdx, blockDim, gridDim;
// What a device of compute capability 8.0 gives a block at most.
const unsigned MOST_SHARED = 163 * 1024;
alignas(16) unsigned emulated_shared[MOST_SHARED / 4];

namespace {

// ---- Threads of a block as coroutines ----

enum State { READY, AT_WARP, AT_BLOCK, DONE };

struct Coroutine {
    jmp_buf here;
    State state = DONE;
    unsigned turn = 0;  // which of the two slots the next shuffle writes
    double slots[2];
    unsigned fragments[2][6];
};

const size_t STACK = 128 * 1024;
const unsigned MOST_THREADS = 1024;
Coroutine coroutines[MOST_THREADS];
jmp_buf scheduler;
unsigned running;
void (*body)(const void *);
const void *body_parameters;
bool reversed;

void wait(State state) {
    coroutines[running].state = state;
    if (_setjmp(coroutines[running].here) == 0) _longjmp(scheduler, 1);
}

void endless() {
    for (;;) {
        body(body_parameters);
        wait(DONE);
    }
}

// The first entry onto a new stack; it is only ever left by a jump.
void start(unsigned thread) {
    ucontext_t context, back;
    getcontext(&context);
    context.uc_stack.ss_sp = malloc(STACK);
    context.uc_stack.ss_size = STACK;
    context.uc_link = nullptr;
    makecontext(&context, endless, 0);
    (void)thread;
    swapcontext(&back, &context);
}

void resume(unsigned thread) {
    static bool started[MOST_THREADS];
    running = thread;
    threadIdx = {thread, 0, 0};
    if (_setjmp(scheduler) != 0) return;
    if (!started[thread]) {
        started[thread] = true;
        start(thread);
    }
    _longjmp(coroutines[thread].here, 1);
}

// Runs a warp as far as it gets; true where it got anywhere. A shuffle names all lanes, so all must come.
bool run_warp(unsigned first) {
    bool moved = false;
    for (;;) {
        bool ran = false;
        for (unsigned k = 0; k < 32; k++) {
            const unsigned t = first + (reversed ? 31 - k : k);
            if (coroutines[t].state != READY) continue;
            resume(t);
            ran = true;
        }
        if (!ran) return moved;
        moved = true;
        unsigned waiting = 0;
        for (unsigned t = first; t < first + 32; t++) waiting += coroutines[t].state == AT_WARP;
        for (unsigned t = first; waiting == 32 && t < first + 32; t++) coroutines[t].state = READY;
    }
}

// Runs one block; false where its threads wait for each other for ever.
//
// One warp after the other, each up to a barrier of the block: of all orders the one that a missing barrier shows in, since
// warps are as far apart as barriers let them be.
bool run_block(unsigned threads) {
    for (unsigned t = 0; t < threads; t++) coroutines[t].state = READY;
    for (;;) {
        bool moved = false, alive = false, all = true;
        for (unsigned first = 0; first < threads; first += 32) moved |= run_warp(reversed ? threads - 32 - first : first);
        for (unsigned t = 0; t < threads; t++) {
            alive |= coroutines[t].state != DONE;
            all &= coroutines[t].state == AT_BLOCK || coroutines[t].state == DONE;
        }
        if (!alive) return true;
        if (!all || !moved) return false;
        for (unsigned t = 0; t < threads; t++)
            if (coroutines[t].state == AT_BLOCK) coroutines[t].state = READY;
    }
}

// ---- Kernels by name ----

struct Kernel {
    void (*run)(const void *);
    unsigned most_threads;
};

#define ENTRY(name, parameters, most) {#name, {[](const void *p) { name(*(const parameters *)p); }, most}}
#define ENTRIES(name, parameters) \
    ENTRY(name##_f32, parameters, 256), ENTRY(name##_f16, parameters, 256), ENTRY(name##_bf16, parameters, 256)

const std::map<std::string, Kernel> kernels = {
    ENTRIES(unit_rows, UnitRows),
    ENTRIES(centre, Centre),
    ENTRIES(along, Along),
    ENTRIES(scatter_along, ScatterAlong),
    ENTRIES(gather_links, GatherLinks),
    ENTRIES(cosines, Cosines),
    ENTRIES(finish, Finish),
    ENTRIES(tensor_gram, TensorGram),
    ENTRIES(tensor_gradient, TensorGradient),
    ENTRIES(tensor_gradient_wide, TensorGradient),
    ENTRY(add_gram, AddGram, 256),
    ENTRY(split_scatter, SplitScatter, 256),
    ENTRY(sum_slabs, SumSlabs, 1024),
    ENTRY(sort_labels, Links, 1024),
    ENTRY(merge_labels, Links, 256),
    ENTRY(no_heads, Links, 256),
    ENTRY(heads, Links, 256),
    ENTRY(add_scatter, AddScatter, 256),
    ENTRY(scatter_products, ScatterProducts, 256),
    ENTRY(scale_scatter, ScaleScatter, 256),
    ENTRY(sum_tile, SumTile, 256),
    ENTRY(weigh_tile, WeighTile, 256),
    ENTRY(conclude, Conclude, 1024),
    ENTRY(weigh, Weigh, 256),
};

std::recursive_mutex lock;
std::string log_text;
std::map<std::string, int> failures;
int version = 12000, capability = 8;
std::map<std::string, unsigned> shared_allowed;
void *current_context;
int capture_mode;

int failing(const char *function) {
    const auto found = failures.find(function);
    return found == failures.end() ? 0 : found->second;
}

const int INVALID_VALUE = 1, INVALID_CONTEXT = 201, NOT_FOUND = 500, LAUNCH_FAILED = 719;

}  // namespace

void __syncthreads() { wait(AT_BLOCK); }

static double exchange(unsigned mask, double value, unsigned other) {
    if (mask != 0xffffffffu) abort();
    Coroutine &own = coroutines[running];
    const unsigned slot = own.turn++ % 2;
    own.slots[slot] = value;
    wait(AT_WARP);
    return coroutines[other].slots[slot];
}

double __shfl_xor_sync(unsigned mask, double value, int lanes) { return exchange(mask, value, running ^ (unsigned)lanes); }
double __shfl_sync(unsigned mask, double value, int lane) { return exchange(mask, value, running / 32 * 32 + (unsigned)lane); }

// What tensor cores do, bit by bit: f16 products are exact, their sums of eight are added to the f32 sum and cut off towards zero.
// Which lane holds what is PTX's table for mma.m16n8k16.
void emulate_multiply_add(float (&sums)[4], const unsigned (&left)[4], const unsigned (&right)[2]) {
    static float table[65536];
    static bool filled = false;
    for (unsigned bits = 0; !filled && bits < 65536; bits++) table[bits] = half_to_float((unsigned short)bits);
    filled = true;
    Coroutine &own = coroutines[running];
    const unsigned slot = own.turn++ % 2, warp = running / 32 * 32, g = running % 32 / 4, t = running % 4;
    memcpy(own.fragments[slot], left, sizeof left);
    memcpy(own.fragments[slot] + 4, right, sizeof right);
    wait(AT_WARP);
    for (unsigned c = 0; c < 4; c++)
        for (unsigned half = 0; half < 2; half++) {
            double sum = sums[c];
            for (unsigned k = 0; k < 4; k++) {
                const unsigned row = coroutines[warp + 4 * g + k].fragments[slot][2 * half + c / 2];
                const unsigned column = coroutines[warp + 4 * (2 * t + c % 2) + k].fragments[slot][4 + half];
                sum += (double)table[row & 0xffff] * table[column & 0xffff] + (double)table[row >> 16] * table[column >> 16];
            }
            float cut = (float)sum;
            if (std::fabs((double)cut) > std::fabs(sum)) cut = std::nextafter(cut, 0.0f);
            sums[c] = cut;
        }
}

#define GUARD                                      \
    std::lock_guard<std::recursive_mutex> hold(lock); \
    if (int code = failing(__func__)) return code

extern "C" {

// ---- For tests ----

// Has a function of the driver answer with a code from now on; 0 ends that.
void emulate_fail(const char *function, int code) {
    std::lock_guard<std::recursive_mutex> hold(lock);
    if (code) failures[function] = code;
    else failures.erase(function);
}
// Threads and blocks in the opposite order: what depends on their order changes.
void emulate_reverse(int on) { reversed = on; }
void emulate_capability(int major) { capability = major; }
void emulate_version(int number) { version = number; }
void emulate_note(const char *line) {
    std::lock_guard<std::recursive_mutex> hold(lock);
    log_text += line;
    log_text += '\n';
}
// What was called since the last time, a line each; the caller frees it.
char *emulate_log() {
    std::lock_guard<std::recursive_mutex> hold(lock);
    char *copy = strdup(log_text.c_str());
    log_text.clear();
    return copy;
}

// ---- The driver API ----

int cuInit(unsigned) { GUARD; return 0; }
int cuDriverGetVersion(int *out) { GUARD; *out = version; return 0; }
int cuDeviceGetCount(int *out) { GUARD; *out = 1; return 0; }
int cuCtxGetCurrent(void **out) { GUARD; *out = current_context; return 0; }
int cuCtxSetCurrent(void *context) { GUARD; current_context = context; return 0; }
int cuCtxGetId(void *context, unsigned long long *out) { GUARD; *out = (unsigned long long)context; return 0; }
int cuCtxGetDevice(int *out) { GUARD; *out = 0; return current_context ? 0 : INVALID_CONTEXT; }
int cuDeviceGetAttribute(int *out, int attribute, int) {
    GUARD;
    // Compute capability, major; shared memory that a block may ask for.
    if (attribute != 75 && attribute != 97) return INVALID_VALUE;
    *out = attribute == 75 ? capability : MOST_SHARED;
    return 0;
}
// A stream's first word is its context.
int cuStreamGetCtx(void *stream, void **out) {
    GUARD;
    *out = stream ? *(void **)stream : current_context;
    return *out ? 0 : INVALID_CONTEXT;
}
int cuThreadExchangeStreamCaptureMode(int *mode) {
    GUARD;
    std::swap(*mode, capture_mode);
    return 0;
}
int cuModuleLoadData(void **out, const void *image) {
    GUARD;
    if (!current_context) return INVALID_CONTEXT;
    if (capture_mode != 2) return 900;  // as during a capture of mode global
    const bool elf = memcmp(image, "\177ELF", 4) == 0, ptx = strstr((const char *)image, ".target sm_80") != nullptr;
    emulate_note(elf ? "load cubin" : ptx ? "load ptx" : "load ?");
    *out = (void *)&kernels;
    return elf || ptx ? 0 : 200;
}
int cuModuleUnload(void *) { GUARD; return 0; }
int cuModuleGetFunction(void **out, void *, const char *name) {
    GUARD;
    const auto found = kernels.find(name);
    if (found == kernels.end()) return NOT_FOUND;
    *out = (void *)&*found;
    return 0;
}
int cuFuncSetAttribute(void *function, int attribute, int value) {
    GUARD;
    if (attribute != 8 || value < 0 || (unsigned)value > MOST_SHARED) return INVALID_VALUE;
    shared_allowed[((const std::pair<const std::string, Kernel> *)function)->first] = (unsigned)value;
    return 0;
}
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **parameters, void **extra) {
    GUARD;
    const auto &[name, kernel] = *(const std::pair<const std::string, Kernel> *)function;
    char line[200];
    snprintf(line, sizeof line, "%s %u,%u,%u %u stream %p", name.c_str(), gx, gy, gz, bx, stream);
    emulate_note(line);
    const bool shapes = gx && gy && gz && gy <= 65535 && gz == 1 && by == 1 && bz == 1 && bx <= kernel.most_threads && bx % 32 == 0;
    if (!shapes || shared > shared_allowed[name] || extra || (stream && *(void **)stream != current_context)) return INVALID_VALUE;
    // What an earlier block left there is not to be relied on.
    memset(emulated_shared, 0xff, shared);
    body = kernel.run;
    body_parameters = parameters[0];
    blockDim = {bx, 1, 1};
    gridDim = {gx, gy, 1};
    const unsigned long long blocks = (unsigned long long)gx * gy;
    for (unsigned long long k = 0; k < blocks; k++) {
        const unsigned long long block = reversed ? blocks - 1 - k : k;
        blockIdx = {(unsigned)(block % gx), (unsigned)(block / gx), 0};
        if (!run_block(bx)) return LAUNCH_FAILED;
    }
    return 0;
}
int cuGetErrorName(int, const char **out) { *out = "CUDA_ERROR_EMULATED"; return 0; }
int cuGetErrorString(int, const char **out) { *out = "emulated failure"; return 0; }
}
