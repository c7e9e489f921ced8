# The headers that nearly every file of FAISS reads, compiled once: reading them again takes more time than most files' own code.
cmake_language(DEFER CALL target_precompile_headers faiss PRIVATE
    <algorithm> <cmath> <cstdint> <cstring> <functional> <map> <memory> <random> <set> <string> <unordered_map> <unordered_set> <vector>
    <omp.h> <faiss/IndexIVF.h> <faiss/IndexPQ.h> <faiss/impl/AuxIndexStructures.h> <faiss/impl/FaissAssert.h> <faiss/utils/utils.h>)
