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

namespace {

// ---- Threads of a block as coroutines ----

enum State { READY, AT_WARP, AT_BLOCK, DONE };

struct Coroutine {
    jmp_buf here;
    State state = DONE;
    unsigned turn = 0;  // which of the two slots the next shuffle writes
    double slots[2];
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
    ENTRIES(cosines, Cosines),
    ENTRIES(finish, Finish),
    ENTRY(sum_slabs, SumSlabs, 1024),
    ENTRY(no_links, Links, 256),
    ENTRY(links, Links, 256),
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
void *current_context;
int capture_mode;

int failing(const char *function) {
    const auto found = failures.find(function);
    return found == failures.end() ? 0 : found->second;
}

const int INVALID_VALUE = 1, INVALID_CONTEXT = 201, NOT_FOUND = 500, LAUNCH_FAILED = 719;

}  // namespace

void __syncthreads() { wait(AT_BLOCK); }

double __shfl_xor_sync(unsigned mask, double value, int lanes) {
    if (mask != 0xffffffffu) abort();
    Coroutine &own = coroutines[running];
    const unsigned slot = own.turn++ % 2, other = running ^ (unsigned)lanes;
    own.slots[slot] = value;
    wait(AT_WARP);
    return coroutines[other].slots[slot];
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
    if (attribute != 75 && attribute != 76) return INVALID_VALUE;  // compute capability, major and minor
    *out = attribute == 75 ? capability : 0;
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
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **parameters, void **extra) {
    GUARD;
    const auto &[name, kernel] = *(const std::pair<const std::string, Kernel> *)function;
    char line[200];
    snprintf(line, sizeof line, "%s %u,%u,%u %u stream %p", name.c_str(), gx, gy, gz, bx, stream);
    emulate_note(line);
    const bool shapes = gx && gy && gz && gy <= 65535 && gz == 1 && by == 1 && bz == 1 && bx <= kernel.most_threads && bx % 32 == 0;
    if (!shapes || shared || extra || (stream && *(void **)stream != current_context)) return INVALID_VALUE;
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
