# What packaging/build compiles C and C++ with. cargo-zigbuild would hand CMake zig's own compiler, which has no OpenMP.
set(CMAKE_C_COMPILER gcc)
set(CMAKE_CXX_COMPILER g++)
# FAISS for old processors and for new ones.
set(CMAKE_PROJECT_faiss_INCLUDE ${CMAKE_CURRENT_LIST_DIR}/../.cargo/faiss.cmake)
