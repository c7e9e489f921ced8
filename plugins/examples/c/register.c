/* Registers the operators in C and runs the loss with its gradient once.
 *
 *     cc plugins/examples/c/register.c -o register -ldl
 *     ./register libonnxruntime.so libpdloss_ort.so plugins/examples/loss.onnx
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__has_include)
#if __has_include(<onnxruntime_c_api.h>)
#include <onnxruntime_c_api.h>
#define HAVE_ORT_HEADER
#endif
#endif
#ifndef HAVE_ORT_HEADER
#include "ort_slots.h"
#endif

static const OrtApi *ort;

/* Every call answers with null or an error. */
static void check(OrtStatus *status) {
    if (status) {
        fprintf(stderr, "onnxruntime: %s\n", ort->GetErrorMessage(status));
        ort->ReleaseStatus(status);
        exit(1);
    }
}

int main(int count, char **arguments) {
    if (count != 4) {
        fprintf(stderr, "usage: register LIBONNXRUNTIME LIBPDLOSS_ORT MODEL\n");
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
    check(ort->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "pdloss", &environment));
    check(ort->CreateSessionOptions(&options));
    check(ort->RegisterCustomOpsLibrary_V2(options, arguments[2]));
    check(ort->CreateSession(environment, arguments[3], options, &session));

    /* Three samples, two classes; the first two samples lie near their proxies. */
    float embeddings[] = {1.0f, 0.1f, 0.2f, 1.0f, 0.7f, 0.6f}, proxies[] = {1.0f, 0.0f, 0.0f, 1.0f};
    int64_t labels[] = {0, 1, 0}, rows[] = {3, 2}, classes[] = {2, 2};
    OrtMemoryInfo *memory;
    OrtValue *inputs[3], *outputs[2] = {NULL, NULL};
    check(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
    check(ort->CreateTensorWithDataAsOrtValue(memory, embeddings, sizeof embeddings, rows, 2,
                                              ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &inputs[0]));
    check(ort->CreateTensorWithDataAsOrtValue(memory, proxies, sizeof proxies, classes, 2,
                                              ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &inputs[1]));
    check(ort->CreateTensorWithDataAsOrtValue(memory, labels, sizeof labels, rows, 1,
                                              ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, &inputs[2]));
    const char *given[] = {"embeddings", "proxies", "labels"}, *wanted[] = {"loss", "embeddings_grad"};
    check(ort->Run(session, NULL, given, (const OrtValue *const *)inputs, 3, wanted, 2, outputs));

    float *loss, *gradient;
    check(ort->GetTensorMutableData(outputs[0], (void **)&loss));
    check(ort->GetTensorMutableData(outputs[1], (void **)&gradient));
    printf("loss %.6f  gradient of the embeddings", *loss);
    for (int i = 0; i < 6; i++) {
        printf(" %.4f", gradient[i]);
    }
    printf("\n");

    for (int i = 0; i < 3; i++) {
        ort->ReleaseValue(inputs[i]);
    }
    for (int i = 0; i < 2; i++) {
        ort->ReleaseValue(outputs[i]);
    }
    ort->ReleaseMemoryInfo(memory);
    ort->ReleaseSession(session);
    ort->ReleaseSessionOptions(options);
    ort->ReleaseEnv(environment);
    return 0;
}
