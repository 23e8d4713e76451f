# zig as the compiler: for Linux on x86-64 or aarch64, whatever the machine at hand is. Its C++ library
# becomes part of what it makes.
#   -DZIG=<the program> -DMACHINE=<x86_64 or aarch64> -DGLIBC=<the oldest glibc, as 2.28>
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES ZIG MACHINE GLIBC)
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ${MACHINE})
set(CMAKE_CXX_COMPILER ${ZIG} c++)
set(CMAKE_CXX_COMPILER_TARGET ${MACHINE}-linux-gnu.${GLIBC})
set(CMAKE_AR ${ZIG})
set(CMAKE_CXX_ARCHIVE_CREATE "<CMAKE_AR> ar qcD <TARGET> <OBJECTS>")
set(CMAKE_CXX_ARCHIVE_FINISH "<CMAKE_AR> ranlib <TARGET>")
set(CMAKE_STRIP "") # the system's may not know the machine; the linker strips
set(CMAKE_CXX_FLAGS_INIT "-g0 -ffile-prefix-map=${CMAKE_SOURCE_DIR}=.")
set(PYBIND11_USE_CROSSCOMPILING ON) # Python's headers are enough
