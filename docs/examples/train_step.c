/* Trains with a step graph in C: what comes out as NAME.next goes in as NAME, the same memory, without a copy.
 *
 *     cc -I plugins/examples/c docs/examples/train_step.c -o train_step -ldl -lm
 *     ./train_step libonnxruntime.so STEP.onnx CHANNELS HEIGHT WIDTH CLASSES
 *
 * The pictures are made up: one colour a class, with noise.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_include)
#if __has_include(<onnxruntime_c_api.h>)
#include <onnxruntime_c_api.h>
#define HAVE_ORT_HEADER
#endif
#endif
#ifndef HAVE_ORT_HEADER
#include "ort_slots.h"
#endif

enum { BATCH = 32, STEPS = 30, REPORTS = 2 };

static const OrtApi *ort;

/* Every call answers with null or an error. */
static void check(OrtStatus *status) {
    if (status) {
        fprintf(stderr, "onnxruntime: %s\n", ort->GetErrorMessage(status));
        ort->ReleaseStatus(status);
        exit(1);
    }
}

static void *memory_for(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (!memory) {
        fprintf(stderr, "no memory for %zu times %zu bytes\n", count, size);
        exit(1);
    }
    return memory;
}

/* Between -1 and 1, the same on every machine. */
static float noise(void) {
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / (float)(1 << 23) - 1.0f;
}

int main(int count, char **arguments) {
    if (count != 7) {
        fprintf(stderr, "usage: train_step LIBONNXRUNTIME STEP.onnx CHANNELS HEIGHT WIDTH CLASSES\n");
        return 2;
    }
    int64_t shape[] = {BATCH, atoll(arguments[3]), atoll(arguments[4]), atoll(arguments[5])};
    int64_t classes = atoll(arguments[6]);
    if (shape[1] < 1 || shape[2] < 1 || shape[3] < 1 || classes < 1) {
        fprintf(stderr, "train_step: sizes must be numbers above 0\n");
        return 2;
    }
    void *library = dlopen(arguments[1], RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    const OrtApiBase *(*get_base)(void);
    *(void **)&get_base = dlsym(library, "OrtGetApiBase");
    ort = get_base ? get_base()->GetApi(17) : NULL; /* the level of onnxruntime 1.17, in every later one too */
    if (!ort) {
        fprintf(stderr, "%s: not onnxruntime 1.17 or newer\n", arguments[1]);
        return 1;
    }
    OrtEnv *environment;
    OrtSessionOptions *options;
    OrtSession *session;
    OrtAllocator *allocator;
    OrtMemoryInfo *memory;
    check(ort->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "train_step", &environment)); /* it warns of every first value */
    check(ort->CreateSessionOptions(&options));
    check(ort->CreateSession(environment, arguments[2], options, &session));
    check(ort->GetAllocatorWithDefaultOptions(&allocator));
    check(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));

    /* Inputs: data, labels, learning rate, then the state. Outputs: reports, then the next state. */
    size_t outputs;
    check(ort->SessionGetOutputCount(session, &outputs));
    char **given = memory_for(3 + outputs, sizeof *given), **wanted = memory_for(REPORTS + outputs, sizeof *wanted);
    check(ort->SessionGetInputName(session, 0, allocator, &given[0]));
    given[1] = "pdloss.labels";
    given[2] = "pdloss.learning_rate";
    wanted[0] = "pdloss.loss";
    wanted[1] = "pdloss.mean_cosine";
    size_t tensors = 0;
    for (size_t index = 0; index < outputs; index++) {
        char *name;
        check(ort->SessionGetOutputName(session, index, allocator, &name));
        size_t length = strlen(name);
        if (length > 5 && !strcmp(name + length - 5, ".next")) {
            wanted[REPORTS + tensors] = name;
            given[3 + tensors] = memory_for(length, 1);
            memcpy(given[3 + tensors], name, length - 5);
            tensors++;
        }
    }

    size_t pixels = (size_t)(shape[1] * shape[2] * shape[3]);
    size_t colours = (size_t)(classes * shape[1]), area = pixels / (size_t)shape[1];
    float *colour = memory_for(colours, sizeof *colour);
    float *data = memory_for(BATCH * pixels, sizeof *data);
    for (size_t index = 0; index < colours; index++) {
        colour[index] = 2.0f * noise();
    }
    int64_t labels[BATCH], batch = BATCH;
    float learning_rate = 1e-3f, first = 0.0f, last = 0.0f;
    const OrtValue **in = memory_for(3 + tensors, sizeof *in);
    OrtValue **out = memory_for(REPORTS + tensors, sizeof *out), *fed[3];
    check(ort->CreateTensorWithDataAsOrtValue(memory, data, BATCH * pixels * sizeof *data, shape, 4,
                                              ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &fed[0]));
    check(ort->CreateTensorWithDataAsOrtValue(memory, labels, sizeof labels, &batch, 1,
                                              ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, &fed[1]));
    check(ort->CreateTensorWithDataAsOrtValue(memory, &learning_rate, sizeof learning_rate, NULL, 0,
                                              ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &fed[2]));
    for (int index = 0; index < 3; index++) {
        in[index] = fed[index];
    }
    for (int step = 0; step < STEPS; step++) {
        for (int row = 0; row < BATCH; row++) {
            labels[row] = (row + step) % classes;
            for (size_t pixel = 0; pixel < pixels; pixel++) {
                data[row * pixels + pixel] = colour[labels[row] * shape[1] + (int64_t)(pixel / area)] + noise();
            }
        }
        /* The first step is fed no state: it starts from the initializers in the file. */
        size_t state = step ? tensors : 0;
        check(ort->Run(session, NULL, (const char *const *)given, in, 3 + state, (const char *const *)wanted,
                       REPORTS + tensors, out));
        float *loss, *mean_cosine;
        check(ort->GetTensorMutableData(out[0], (void **)&loss));
        check(ort->GetTensorMutableData(out[1], (void **)&mean_cosine));
        last = *loss;
        first = step ? first : last;
        if (step % 10 == 0 || step == STEPS - 1) {
            printf("step %3d  loss %8.4f  mean cosine %7.4f\n", step, last, *mean_cosine);
        }
        for (size_t index = 0; index < REPORTS; index++) {
            ort->ReleaseValue(out[index]);
            out[index] = NULL;
        }
        for (size_t index = 0; index < tensors; index++) {
            if (step) {
                ort->ReleaseValue((OrtValue *)in[3 + index]);
            }
            in[3 + index] = out[REPORTS + index];
            out[REPORTS + index] = NULL;
        }
    }

    for (size_t index = 0; index < 3 + tensors; index++) {
        ort->ReleaseValue((OrtValue *)in[index]);
    }
    ort->ReleaseMemoryInfo(memory);
    ort->ReleaseSession(session);
    ort->ReleaseSessionOptions(options);
    ort->ReleaseEnv(environment);
    if (!(last < first)) {
        fprintf(stderr, "train_step: the loss did not fall: %f, then %f\n", first, last);
        return 1;
    }
    return 0;
}
