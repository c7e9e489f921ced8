// Which of two FAISS is used: that for x86-64-v3 where the processor has it, unless PDLOSS_FAISS says x86-64. faiss-levels.sh compiles
// this; eval/src/level.rs says what was chosen, by the same rule.

#include <cpuid.h>
#include <cstdlib>
#include <cstring>

extern "C" {
// Read by each function below.
__attribute__((visibility("hidden"))) unsigned char pdloss_faiss_v3 = 0;
// What FAISS for x86-64-v3 has to do before `main`: initialisers of its own variables.
extern void (*const pdloss_v3_start[])();
}

// AVX, AVX2, BMI1, BMI2, F16C, FMA, LZCNT and MOVBE, and a system that keeps their registers.
static bool has_v3() {
    const unsigned first = bit_FMA | bit_MOVBE | bit_OSXSAVE | bit_AVX | bit_F16C, seventh = bit_AVX2 | bit_BMI | bit_BMI2;
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & first) != first)
        return false;
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 6) != 6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || (b & seventh) != seventh)
        return false;
    return __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & bit_LZCNT);
}

// Before `main`, which is before anything calls FAISS.
__attribute__((constructor)) static void choose() {
    const char *asked = std::getenv("PDLOSS_FAISS");
    if ((asked && std::strcmp(asked, "x86-64") == 0) || !has_v3())
        return;
    pdloss_faiss_v3 = 1;
    for (unsigned at = 0; at < START_BYTES / sizeof(void *); at++)
        pdloss_v3_start[at]();
}

// Each in a section of its own, so that a linker can leave out what nobody calls. Registers are as the caller left them.
#define LEVELS(name)                                        \
    __asm__(".section .text." #name ",\"ax\",@progbits\n"   \
            ".globl " #name "\n"                            \
            ".type " #name ", @function\n" #name ":\n"      \
            "cmpb $0, pdloss_faiss_v3(%rip)\n"              \
            "jne pdloss_v3_" #name "@PLT\n"                 \
            "jmp pdloss_plain_" #name "@PLT\n"              \
            ".size " #name ", . - " #name "\n"              \
            ".text\n");
#include "functions.inc"
