/* The part of onnxruntime's C API that the examples in C use, for those who have no onnxruntime_c_api.h: wheels carry the library
 * without its headers. The table's entries keep their places for ever, so a struct with gaps is enough. With the real header
 * on the include path this file is not used.
 */
#ifndef PDLOSS_ORT_SLOTS_H
#define PDLOSS_ORT_SLOTS_H

#include <stddef.h>
#include <stdint.h>

#define ORT_API_VERSION 17

typedef struct OrtEnv OrtEnv;
typedef struct OrtStatus OrtStatus;
typedef struct OrtSession OrtSession;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtAllocator OrtAllocator;
typedef struct OrtValue OrtValue;

enum { ORT_LOGGING_LEVEL_WARNING = 2, ORT_LOGGING_LEVEL_ERROR = 3 };
enum { OrtArenaAllocator = 1 };
enum { OrtMemTypeDefault = 0 };
enum { ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT = 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64 = 7 };

typedef struct OrtApi {
    void *slot_0_to_1[2];
    const char *(*GetErrorMessage)(const OrtStatus *);
    OrtStatus *(*CreateEnv)(int level, const char *name, OrtEnv **);
    void *slot_4_to_6[3];
    OrtStatus *(*CreateSession)(const OrtEnv *, const char *path, const OrtSessionOptions *, OrtSession **);
    void *slot_8;
    OrtStatus *(*Run)(OrtSession *, const OrtRunOptions *, const char *const *names, const OrtValue *const *inputs,
                      size_t input_count, const char *const *output_names, size_t output_count, OrtValue **outputs);
    OrtStatus *(*CreateSessionOptions)(OrtSessionOptions **);
    void *slot_11_to_30[20];
    OrtStatus *(*SessionGetOutputCount)(const OrtSession *, size_t *);
    void *slot_32_to_35[4];
    OrtStatus *(*SessionGetInputName)(const OrtSession *, size_t index, OrtAllocator *, char **);
    OrtStatus *(*SessionGetOutputName)(const OrtSession *, size_t index, OrtAllocator *, char **);
    void *slot_38_to_48[11];
    OrtStatus *(*CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo *, void *data, size_t bytes, const int64_t *shape,
                                                 size_t rank, int type, OrtValue **);
    void *slot_50;
    OrtStatus *(*GetTensorMutableData)(OrtValue *, void **);
    void *slot_52_to_68[17];
    OrtStatus *(*CreateCpuMemoryInfo)(int allocator, int memory, OrtMemoryInfo **);
    void *slot_70_to_77[8];
    OrtStatus *(*GetAllocatorWithDefaultOptions)(OrtAllocator **);
    void *slot_79_to_91[13];
    void (*ReleaseEnv)(OrtEnv *);
    void (*ReleaseStatus)(OrtStatus *);
    void (*ReleaseMemoryInfo)(OrtMemoryInfo *);
    void (*ReleaseSession)(OrtSession *);
    void (*ReleaseValue)(OrtValue *);
    void *slot_97_to_99[3];
    void (*ReleaseSessionOptions)(OrtSessionOptions *);
    void *slot_101_to_227[127];
    OrtStatus *(*RegisterCustomOpsLibrary_V2)(OrtSessionOptions *, const char *path);
} OrtApi;

_Static_assert(offsetof(OrtApi, Run) == 9 * sizeof(void *), "place of Run");
_Static_assert(offsetof(OrtApi, SessionGetOutputName) == 37 * sizeof(void *), "place of SessionGetOutputName");
_Static_assert(offsetof(OrtApi, CreateCpuMemoryInfo) == 69 * sizeof(void *), "place of CreateCpuMemoryInfo");
_Static_assert(offsetof(OrtApi, ReleaseSessionOptions) == 100 * sizeof(void *), "place of ReleaseSessionOptions");
_Static_assert(offsetof(OrtApi, RegisterCustomOpsLibrary_V2) == 228 * sizeof(void *), "place of RegisterCustomOpsLibrary_V2");

typedef struct OrtApiBase {
    const OrtApi *(*GetApi)(uint32_t version);
    const char *(*GetVersionString)(void);
} OrtApiBase;

#endif
