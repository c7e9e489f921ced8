// A CUDA driver without a GPU: the driver API as far as plugins/src/cuda calls it, over the kernels compiled for the CPU.
//
// Built into libcuda.so.1 by the tests. Device memory is the process's memory, a stream runs what it is given at once. What
// it cannot show: races between warps other than by another order of threads and blocks, and anything about time.
#define PDLOSS_EMULATE
#include "../kernels.cu"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <ucontext.h>
#include <vector>

__thread Position threadIdx, blockIdx, blockDim, gridDim;
// What a device of compute capability 8.0 gives a block at most.
const unsigned MOST_SHARED = 163 * 1024;
__thread unsigned *emulated_shared;

namespace {

// ---- Threads of a block as coroutines ----

// What a jump returns to. The compiler's own jumps cost a tenth of the C library's, which are most of what an emulation does; both
// GCC and Clang have them.
typedef void *Place[5];

enum State { READY, AT_WARP, AT_BLOCK, DONE };

struct Coroutine {
    Place place;
    State state = DONE;
    unsigned turn = 0;  // which of the two slots the next shuffle writes
    double slots[2];
    unsigned fragments[2][6];
};

// Where bytes that were read or written start and end.
struct Span {
    uintptr_t start, end;
};

// Brings spans in order, makes those that touch one, and says how many bytes they have.
unsigned long long merge(std::vector<Span> &spans) {
    std::sort(spans.begin(), spans.end(), [](const Span &a, const Span &b) { return a.start < b.start; });
    unsigned long long bytes = 0;
    size_t kept = 0;
    for (const Span &span : spans) {
        if (kept && span.start <= spans[kept - 1].end) spans[kept - 1].end = std::max(spans[kept - 1].end, span.end);
        else spans[kept++] = span;
    }
    spans.resize(kept);
    for (const Span &span : spans) bytes += span.end - span.start;
    return bytes;
}

const size_t STACK = 128 * 1024;
const unsigned MOST_THREADS = 1024;
// What a thread of the process runs one block after the other on.
struct Multiprocessor {
    Coroutine coroutines[MOST_THREADS];
    bool started[MOST_THREADS] = {};
    unsigned running = 0;  // which coroutine
    Place scheduler;
    std::vector<Span> moved[2];  // by the block: read, written
    alignas(16) unsigned shared[MOST_SHARED / 4];
};
__thread Multiprocessor *here;
void (*body)(const void *);
const void *body_parameters;
bool reversed, counting;

// Not in the function that a place is of.
__attribute__((noinline, noreturn)) void jump(Place &place) { __builtin_longjmp(place, 1); }

__attribute__((noinline)) void wait(State state) {
    Multiprocessor &at = *here;
    Coroutine &own = at.coroutines[at.running];
    own.state = state;
    if (__builtin_setjmp(own.place) == 0) jump(at.scheduler);
}

void endless() {
    for (;;) {
        body(body_parameters);
        wait(DONE);
    }
}

// The first entry onto a new stack; it is only ever left by a jump.
void start() {
    ucontext_t context, back;
    getcontext(&context);
    context.uc_stack.ss_sp = malloc(STACK);
    context.uc_stack.ss_size = STACK;
    context.uc_link = nullptr;
    makecontext(&context, endless, 0);
    swapcontext(&back, &context);
}

__attribute__((noinline)) void resume(Multiprocessor &at, unsigned thread) {
    at.running = thread;
    threadIdx = {thread, 0, 0};
    if (__builtin_setjmp(at.scheduler) != 0) return;
    if (!at.started[thread]) {
        at.started[thread] = true;
        start();
    }
    jump(at.coroutines[thread].place);
}

// Runs a warp as far as it gets; true where it got anywhere. A shuffle names all lanes, so all must come.
bool run_warp(Multiprocessor &at, unsigned first) {
    Coroutine *const coroutines = at.coroutines;
    bool moved = false;
    for (;;) {
        bool ran = false;
        for (unsigned k = 0; k < 32; k++) {
            const unsigned t = first + (reversed ? 31 - k : k);
            if (coroutines[t].state != READY) continue;
            resume(at, t);
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
    Multiprocessor &at = *here;
    Coroutine *const coroutines = at.coroutines;
    for (unsigned t = 0; t < threads; t++) coroutines[t].state = READY;
    for (;;) {
        bool moved = false, alive = false, all = true;
        for (unsigned first = 0; first < threads; first += 32) moved |= run_warp(at, reversed ? threads - 32 - first : first);
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

// ---- The device ----

// The grid under way, whose blocks the multiprocessors take in turn. Kernels have no atomics: what blocks write is read by later
// grids only.
struct Grid {
    Position blocks, threads;
    unsigned shared;
    std::atomic<unsigned long long> next{0};
    std::atomic<bool> failed{false};
    std::mutex lock;
    std::vector<Span> moved[2];           // by all blocks: read, written
    unsigned long long fetched = 0;       // bytes that each block reads, each once a block
};

class Device {
   public:
    // Threads that wait for grids as long as the process lives.
    Device() {
        std::unique_lock<std::mutex> hold(lock);
        for (working = 0; working < count; working++) std::thread(&Device::multiprocess, this).detach();
        changed.wait(hold, [&] { return working == 0; });
    }

    // False where threads of a block waited for each other for ever.
    bool run(Grid &grid) {
        std::unique_lock<std::mutex> hold(lock);
        current = &grid;
        number++;
        working = count;
        changed.notify_all();
        changed.wait(hold, [&] { return working == 0; });
        return !grid.failed;
    }

   private:
    void multiprocess() {
        here = new Multiprocessor;
        emulated_shared = here->shared;
        std::unique_lock<std::mutex> hold(lock);
        for (unsigned long long done = 0;; done = number) {
            working--;
            changed.notify_all();
            changed.wait(hold, [&] { return number != done; });
            Grid &grid = *current;
            hold.unlock();
            take_blocks(grid);
            hold.lock();
        }
    }

    static void take_blocks(Grid &grid) {
        // What an earlier block left there is not to be relied on.
        memset(emulated_shared, 0xff, grid.shared);
        blockDim = grid.threads;
        gridDim = grid.blocks;
        const unsigned long long count = (unsigned long long)grid.blocks.x * grid.blocks.y;
        for (unsigned long long k; !grid.failed && (k = grid.next++) < count;) {
            const unsigned long long block = reversed ? count - 1 - k : k;
            blockIdx = {(unsigned)(block % grid.blocks.x), (unsigned)(block / grid.blocks.x), 0};
            if (!run_block(grid.threads.x)) grid.failed = true;
            if (!counting) continue;
            std::lock_guard<std::mutex> hold(grid.lock);
            grid.fetched += merge(here->moved[0]);
            for (unsigned kind = 0; kind < 2; kind++) {
                merge(here->moved[kind]);
                grid.moved[kind].insert(grid.moved[kind].end(), here->moved[kind].begin(), here->moved[kind].end());
                here->moved[kind].clear();
            }
        }
    }

    const unsigned count = std::max(1u, std::thread::hardware_concurrency());
    std::mutex lock;
    std::condition_variable changed;
    Grid *current = nullptr;
    unsigned long long number = 0;
    unsigned working = 0;
};

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
    ENTRIES(prepare, Prepare),
    ENTRIES(sweep, Sweep),
    ENTRIES(measure, Sweep),
    ENTRIES(settle, Settle),
    ENTRIES(tensor_gram, TensorGram),
    ENTRIES(tensor_gradient, TensorGradient),
    ENTRIES(tensor_gradient_wide, TensorGradient),
    ENTRIES(update, Update),
    ENTRIES(square_sums, SquareSums),
    ENTRIES(gradient_norm, GradientNorm),
    ENTRIES(activation_grad, ActivationGrad),
    ENTRIES(batch_sums, BatchNorm),
    ENTRIES(batch_norm, BatchNorm),
    ENTRIES(batch_grad_sums, BatchNorm),
    ENTRIES(batch_grad, BatchNorm),
    ENTRIES(layer_grad, LayerNorm),
    ENTRIES(layer_columns, LayerNorm),
    ENTRIES(layer_scale, LayerNorm),
    ENTRIES(max_pool, MaxPool),
    ENTRIES(max_pool_grad, MaxPool),
    ENTRY(split_scatter, SplitScatter, 256),
    ENTRY(sum_slabs, SumSlabs, 1024),
    ENTRY(merge_labels, Links, 256),
    ENTRY(heads, Links, 256),
    ENTRY(add_scatter, AddScatter, 256),
    ENTRY(scatter_products, ScatterProducts, 256),
    ENTRY(scale_scatter, ScaleScatter, 256),
    ENTRY(sum_tile, SumTile, 256),
    ENTRY(weigh_tile, WeighTile, 256),
    ENTRY(conclude, Conclude, 1024),
    ENTRY(weigh, Weigh, 256),
    ENTRY(judge, Judge, 1024),
};

std::recursive_mutex lock;
std::string log_text;
std::map<std::string, int> failures;
int version = 12000, capability = 8;
std::map<std::string, unsigned> shared_allowed;
// Of each thread of the process, as in the driver.
__thread void *current_context;
__thread int capture_mode;

int failing(const char *function) {
    const auto found = failures.find(function);
    return found == failures.end() ? 0 : found->second;
}

const int INVALID_VALUE = 1, INVALID_CONTEXT = 201, NOT_FOUND = 500, LAUNCH_FAILED = 719;

}  // namespace

void __syncthreads() { wait(AT_BLOCK); }

void emulate_moved(const void *address, size_t bytes, int written) {
    if (!counting || bytes == 0) return;
    here->moved[written].push_back({(uintptr_t)address, (uintptr_t)address + bytes});
}

static double exchange(unsigned mask, double value, unsigned other) {
    if (mask != 0xffffffffu) abort();
    Multiprocessor &at = *here;
    Coroutine &own = at.coroutines[at.running];
    const unsigned slot = own.turn++ % 2;
    own.slots[slot] = value;
    wait(AT_WARP);
    return at.coroutines[other].slots[slot];
}

double __shfl_xor_sync(unsigned mask, double value, int lanes) { return exchange(mask, value, here->running ^ (unsigned)lanes); }
double __shfl_sync(unsigned mask, double value, int lane) { return exchange(mask, value, here->running / 32 * 32 + (unsigned)lane); }

// What tensor cores do, bit by bit: f16 products are exact, their sums of eight are added to the f32 sum and cut off towards zero.
// Which lane holds what is PTX's table for mma.m16n8k16.
void emulate_multiply_add(float (&sums)[4], const unsigned (&left)[4], const unsigned (&right)[2]) {
    static const std::vector<float> table = [] {
        std::vector<float> values(65536);
        for (unsigned bits = 0; bits < 65536; bits++) values[bits] = half_to_float((unsigned short)bits);
        return values;
    }();
    Multiprocessor &at = *here;
    Coroutine *const coroutines = at.coroutines, &own = coroutines[at.running];
    const unsigned slot = own.turn++ % 2, warp = at.running / 32 * 32, g = at.running % 32 / 4, t = at.running % 4;
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
// After each launch a line: bytes of rows, gradients and matrices read, written, and read by all blocks together, each byte once a
// launch or a block.
void emulate_count(int on) { counting = on; }
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
int cuMemsetD8Async(void *to, unsigned char value, size_t bytes, void *stream) {
    GUARD;
    char line[100];
    snprintf(line, sizeof line, "memset %zu stream %p", bytes, stream);
    emulate_note(line);
    if (!to || (stream && *(void **)stream != current_context)) return INVALID_VALUE;
    memset(to, value, bytes);
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
    body = kernel.run;
    body_parameters = parameters[0];
    static Device &device = *new Device;
    Grid grid;
    grid.blocks = {gx, gy, 1};
    grid.threads = {bx, 1, 1};
    grid.shared = shared;
    const bool ran = device.run(grid);
    if (counting) {
        const unsigned long long read = merge(grid.moved[0]), written = merge(grid.moved[1]);
        snprintf(line, sizeof line, "bytes %llu %llu %llu", read, written, grid.fetched);
        emulate_note(line);
    }
    return ran ? 0 : LAUNCH_FAILED;
}
int cuGetErrorName(int, const char **out) { *out = "CUDA_ERROR_EMULATED"; return 0; }
int cuGetErrorString(int, const char **out) { *out = "emulated failure"; return 0; }
}
