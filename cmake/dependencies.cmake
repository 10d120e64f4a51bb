# Finds every library llamlx stands on. Nothing is downloaded here: tools/setup
# installs the system packages and the MLX wheel into .venv.

find_package(Threads REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
if(LLAMLX_KERNELS_ONLY)
  return()
endif()

# A cached MLX_DIR may point into an environment that was made anew.
if(NOT EXISTS "${MLX_DIR}/MLXConfig.cmake" AND NOT MLX_ROOT)
  file(GLOB LLAMLX_WHEEL_MLX_DIRS
       ${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/mlx/share/cmake/MLX)
  list(APPEND CMAKE_PREFIX_PATH ${LLAMLX_WHEEL_MLX_DIRS})
endif()
find_package(MLX CONFIG QUIET)
if(NOT MLX_FOUND)
  message(FATAL_ERROR
    "MLX was not found. Run tools/setup, or pass -DMLX_DIR=<prefix>/share/cmake/MLX.")
endif()
get_target_property(LLAMLX_MLX_LIBRARY mlx IMPORTED_LOCATION_RELEASE)

find_package(CLI11 2.1 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(LIBDEFLATE REQUIRED IMPORTED_TARGET libdeflate)
pkg_check_modules(SENTENCEPIECE REQUIRED IMPORTED_TARGET sentencepiece)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
