# The headers that nearly every file of FAISS reads, compiled once: reading them again takes more time than most files' own code.
cmake_language(DEFER CALL target_precompile_headers faiss PRIVATE
    <algorithm> <cmath> <cstdint> <cstring> <functional> <map> <memory> <random> <set> <string> <unordered_map> <unordered_set> <vector>
    <omp.h> <faiss/IndexIVF.h> <faiss/IndexPQ.h> <faiss/impl/AuxIndexStructures.h> <faiss/impl/FaissAssert.h> <faiss/utils/utils.h>)

# Where FAISS is compiled as it is released, and for any processor, it is compiled a second time, for x86-64-v3 (AVX2, FMA): with that,
# product quantisation takes a third of the time. Both go into one archive, and the program takes the one that its processor can run
# (faiss-levels.sh, faiss-levels.cpp). FAISS's own targets for AVX2 are what is compiled.
function(compile_for_two_levels)
    foreach(target faiss_avx2 faiss_c_avx2)
        # A unique symbol would be one for both.
        target_compile_options(${target} PRIVATE -march=x86-64-v3 -fno-gnu-unique)
    endforeach()
    add_custom_target(two_levels ALL VERBATIM
        COMMAND ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/faiss-levels.sh ${CMAKE_CXX_COMPILER} ${CMAKE_LINKER} ${CMAKE_OBJCOPY} ${CMAKE_AR} ${CMAKE_NM}
            $<TARGET_FILE:faiss_c> $<TARGET_FILE:faiss_c_avx2> $<TARGET_FILE:faiss_avx2>)
    add_dependencies(two_levels faiss_c faiss_c_avx2 faiss_avx2)
    # The program's build script reads here what it has.
    file(WRITE ${CMAKE_BINARY_DIR}/levels "x86-64 x86-64-v3")
endfunction()
set(named "${CMAKE_CXX_FLAGS}")
string(REPLACE "-march=x86-64 " "" named "${named} ")
if("$ENV{OPT_LEVEL}" STREQUAL "3" AND CMAKE_SYSTEM_NAME STREQUAL "Linux" AND CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64"
        AND NOT named MATCHES "-m(arch|avx)" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    cmake_language(DEFER CALL compile_for_two_levels)
endif()
