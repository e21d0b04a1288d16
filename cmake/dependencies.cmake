# What lowkey stands on, all of it Debian packages (tools/install_packages.sh lists them).
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(Eigen3 REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
if(LOWKEY_TESTS)
  enable_testing()
  find_package(GTest REQUIRED)
  pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
  include(GoogleTest)
endif()

find_program(CCACHE ccache)
if(CCACHE)
  # The variable is what precompiled headers need.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
endif()

add_library(lowkey_flags INTERFACE)
# GCC 12 sees overlaps in std::string that are not there (its bug 105651).
target_compile_options(lowkey_flags INTERFACE -Wall -Wextra -Wno-unknown-pragmas -Wno-missing-field-initializers $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
target_include_directories(lowkey_flags INTERFACE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
# Three targets are compiled: the baseline (SSE2), AVX2 and AVX-512. More would cost build time for no speed.
target_compile_definitions(lowkey_flags INTERFACE "HWY_DISABLED_TARGETS=(HWY_SSSE3|HWY_SSE4|HWY_AVX3_DL)")
target_link_libraries(lowkey_flags INTERFACE Threads::Threads fmt::fmt)
# A target with the property "plain" is left alone: in the fuzzers' build those that see no byte of a file.
set(SANITIZED "$<NOT:$<BOOL:$<TARGET_PROPERTY:plain>>>")
if(LOWKEY_SANITIZE)
  target_compile_options(lowkey_flags INTERFACE
    "$<${SANITIZED}:-fsanitize=${LOWKEY_SANITIZE};-fno-omit-frame-pointer;-fno-sanitize-recover=undefined>")
  target_link_options(lowkey_flags INTERFACE -fsanitize=${LOWKEY_SANITIZE})
endif()
if(LOWKEY_FUZZ)
  target_compile_options(lowkey_flags INTERFACE "$<${SANITIZED}:-fsanitize=fuzzer-no-link>")
endif()
