// The few functions that the C++ and Fortran objects of this machine's compilers ask for, and that the runtime libraries of an older
// system do not have. Linked into released programs alone, by packaging/build.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

// glibc 2.32: libstdc++ counts references without atomic instructions where this is not 0. It always may be.
char __libc_single_threaded = 0;

// glibc 2.36: libstdc++'s std::random_device.
uint32_t arc4random(void) {
    uint32_t value;
    if (getrandom(&value, sizeof value, 0) != sizeof value)
        abort();
    return value;
}

// libgfortran: the one function of it that the LAPACK routines called by FAISS need (they join option letters, "L" and "N").
// target = first followed by second, cut or padded with blanks to `length`, as Fortran's `//` and assignment have it.
void _gfortran_concat_string(size_t length, char *target, size_t length1, const char *first, size_t length2, const char *second) {
    size_t taken1 = length1 < length ? length1 : length;
    size_t taken2 = length2 < length - taken1 ? length2 : length - taken1;
    memmove(target, first, taken1);
    memmove(target + taken1, second, taken2);
    memset(target + taken1 + taken2, ' ', length - taken1 - taken2);
}
