# FAISS and libjpeg-turbo compiled at the level of the cargo profile: their own build files take -O3 whatever is asked for, and FAISS
# so compiled is the longest part of a first build.
foreach(language C CXX)
    set(CMAKE_${language}_FLAGS_RELEASE "-O$ENV{OPT_LEVEL} -DNDEBUG" CACHE STRING "")
endforeach()
# Read by FAISS's own build file where it names its project.
set(CMAKE_PROJECT_faiss_INCLUDE ${CMAKE_CURRENT_LIST_DIR}/faiss.cmake)
