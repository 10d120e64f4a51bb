# llamlx_cuda_modules(TARGET file.cu...)
#
# Compiles files of CUDA kernels with nvcc, each for all of LLAMLX_CUDA_ARCHS,
# and puts what comes out into the target, where src/cuda/modules.h finds it
# by the file's path without ".cu". Nothing of CUDA is linked.
#
# LLAMLX_NVCC is nvcc, or false where there is none or it is not wanted, and
# LLAMLX_CUDA_INCLUDE the folder of its <cuda.h>; tools/setup --cuda installs
# both.
set(LLAMLX_CUDA AUTO CACHE STRING
    "Build the CUDA kernels: ON, OFF, AUTO where there is nvcc; or EMULATED on the CPU, for tests")
set_property(CACHE LLAMLX_CUDA PROPERTY STRINGS AUTO ON OFF EMULATED)
set(LLAMLX_CUDA_ARCHS 80 86 89 90a 100 120 CACHE STRING
    "The GPUs that kernels are compiled for, as nvcc names them: 90, 90a")

function(llamlx_find_nvcc)
  # A cached path may point into an environment that was made anew.
  if(LLAMLX_NVCC_PROGRAM AND NOT EXISTS "${LLAMLX_NVCC_PROGRAM}")
    unset(LLAMLX_NVCC_PROGRAM CACHE)
  endif()
  file(GLOB wheel
    ${PROJECT_SOURCE_DIR}/.venv-cuda/lib/python3*/site-packages/nvidia/cu13/bin)
  get_filename_component(cudacxx "$ENV{CUDACXX}" DIRECTORY)
  find_program(LLAMLX_NVCC_PROGRAM nvcc
    HINTS ${wheel} $ENV{CUDA_HOME}/bin ${cudacxx} PATHS /usr/local/cuda/bin)
  if(NOT LLAMLX_NVCC_PROGRAM)
    set(why "nvcc was not found" PARENT_SCOPE)
    return()
  endif()
  get_filename_component(root ${LLAMLX_NVCC_PROGRAM} DIRECTORY)
  get_filename_component(root ${root} DIRECTORY)
  execute_process(COMMAND ${LLAMLX_NVCC_PROGRAM} --version
    OUTPUT_VARIABLE said ERROR_QUIET)
  string(REGEX MATCH "release ([0-9]+)" release "${said}")
  if(NOT release OR CMAKE_MATCH_1 LESS 13)
    set(why "${LLAMLX_NVCC_PROGRAM} is not of CUDA 13" PARENT_SCOPE)
  elseif(NOT EXISTS ${root}/include/cuda.h)
    set(why "${root}/include has no cuda.h" PARENT_SCOPE)
  else()
    set(LLAMLX_NVCC ${LLAMLX_NVCC_PROGRAM} PARENT_SCOPE)
    set(LLAMLX_CUDA_INCLUDE ${root}/include PARENT_SCOPE)
  endif()
endfunction()

set(LLAMLX_NVCC FALSE)
if(LLAMLX_CUDA AND NOT LLAMLX_CUDA STREQUAL EMULATED AND NOT APPLE AND NOT CMAKE_CROSSCOMPILING)
  llamlx_find_nvcc()
  if(LLAMLX_NVCC)
    message(STATUS "CUDA kernels: by ${LLAMLX_NVCC}")
  elseif(LLAMLX_CUDA STREQUAL AUTO)
    message(STATUS "CUDA kernels: none, as ${why}")
  else()
    message(FATAL_ERROR "${why}. Run tools/setup --cuda, or set CUDA_HOME.")
  endif()
endif()

# nvcc as it is called for every file and architecture.
set(LLAMLX_NVCC_COMMAND ${LLAMLX_NVCC} -c -cubin -std=c++20 -O3
    -I ${PROJECT_SOURCE_DIR}/src)
if(LLAMLX_WERROR)
  list(APPEND LLAMLX_NVCC_COMMAND -Werror all-warnings)
endif()
# nvcc takes the g++ that is there; another one has to be named. It is not named
# without need, so that builds by g++ and by clang++ share the compiler's cache.
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 16)
  find_program(LLAMLX_GXX g++)
  file(REAL_PATH ${CMAKE_CXX_COMPILER} own)
  set(usual "")
  if(LLAMLX_GXX)
    file(REAL_PATH ${LLAMLX_GXX} usual)
  endif()
  if(NOT own STREQUAL usual)
    list(APPEND LLAMLX_NVCC_COMMAND -ccbin ${CMAKE_CXX_COMPILER})
  endif()
endif()
if(CMAKE_CXX_COMPILER_LAUNCHER MATCHES "ccache")
  list(PREPEND LLAMLX_NVCC_COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER})
endif()

# Compiles one file to `fatbin`, for each architecture by itself: the largest take
# minutes for one, and a machine of many cores should not wait for six in a row.
function(llamlx_cuda_fatbin source fatbin)
  get_filename_component(folder ${fatbin} DIRECTORY)
  file(MAKE_DIRECTORY ${folder})
  get_filename_component(programs ${LLAMLX_NVCC} DIRECTORY)
  string(REGEX REPLACE "\\.fatbin$" "" base ${fatbin})
  set(cubins "")
  set(images "")
  foreach(arch ${LLAMLX_CUDA_ARCHS})
    set(cubin ${base}.sm_${arch}.cubin)
    add_custom_command(OUTPUT ${cubin}
      COMMAND ${LLAMLX_NVCC_COMMAND} -arch=sm_${arch} -MD -MF ${cubin}.d
        -o ${cubin} ${source}
      DEPENDS ${source} DEPFILE ${cubin}.d
      COMMENT "Compiling CUDA kernels ${source} for sm_${arch}" VERBATIM)
    list(APPEND cubins ${cubin})
    list(APPEND images --image3=kind=elf,sm=${arch},file=${cubin})
  endforeach()
  add_custom_command(OUTPUT ${fatbin}
    COMMAND ${programs}/fatbinary --create=${fatbin} -64 ${images}
    DEPENDS ${cubins}
    COMMENT "Packing CUDA kernels ${fatbin}" VERBATIM)
endfunction()

function(llamlx_cuda_modules target)
  set(assembly "")
  set(symbols "")
  set(rows "")
  set(fatbins "")
  foreach(source ${ARGN})
    string(REGEX REPLACE "\\.cu$" "" name ${source})
    string(MAKE_C_IDENTIFIER "llamlx_cuda_${name}" symbol)
    set(fatbin ${CMAKE_CURRENT_BINARY_DIR}/${name}.fatbin)
    llamlx_cuda_fatbin(${CMAKE_CURRENT_SOURCE_DIR}/${source} ${fatbin})
    list(APPEND fatbins ${fatbin})
    string(APPEND assembly
      ".balign 64\n${symbol}:\n.incbin \"${fatbin}\"\n${symbol}_end:\n")
    string(APPEND symbols
      "extern const std::byte ${symbol}[], ${symbol}_end[];\n")
    string(APPEND rows "    {\"${name}\", {${symbol}, ${symbol}_end}},\n")
  endforeach()
  list(TRANSFORM LLAMLX_CUDA_ARCHS REPLACE "([0-9])([a-z]*)$" ".\\1\\2"
    OUTPUT_VARIABLE architectures)
  list(JOIN architectures ", " architectures)

  set(table ${CMAKE_CURRENT_BINARY_DIR}/cuda_modules.cpp)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/cuda_modules.cpp.in ${table} @ONLY)
  set_source_files_properties(${table} PROPERTIES OBJECT_DEPENDS "${fatbins}")
  target_sources(${target} PRIVATE ${table})
endfunction()
