# `cmake --install`: the program, the shared library with its header and its
# CMake and pkg-config packages, and MLX's runtime. The tree can be moved as a
# whole, and runs without .venv, Python or a compiler:
#
#   bin/llamlx
#   include/llamlx/llamlx.h
#   lib/libllamlx.so   lib/cmake/llamlx/   lib/pkgconfig/llamlx.pc
#   lib/llamlx/mlx/lib/libmlx.so     lib/llamlx/mlx_cpu.libs/ (its BLAS, LAPACK)
#
# libmlx finds its BLAS at ../../mlx_cpu.libs, so the wheel's layout is kept.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/llamlx)
set(mlx_runtime_dir ${CMAKE_INSTALL_LIBDIR}/llamlx/mlx/lib)

install(TARGETS llamlx EXPORT llamlx-targets
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/llamlx
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(TARGET llamlx_cli)
  install(TARGETS llamlx_cli)
endif()

# Where the loader looks for MLX, counted from the program and the library.
if(APPLE)
  set(origin "@loader_path")
else()
  set(origin "$ORIGIN")
endif()
file(RELATIVE_PATH bin_to_mlx /${CMAKE_INSTALL_BINDIR} /${mlx_runtime_dir})
file(RELATIVE_PATH lib_to_mlx /${CMAKE_INSTALL_LIBDIR} /${mlx_runtime_dir})
set_target_properties(llamlx PROPERTIES INSTALL_RPATH ${origin}/${lib_to_mlx})
if(TARGET llamlx_cli)
  set_target_properties(llamlx_cli PROPERTIES
    INSTALL_RPATH ${origin}/${bin_to_mlx})
endif()

# MLX itself: the library, on macOS the compiled Metal kernels beside it, and
# the libraries and licence that its wheel carries.
get_filename_component(mlx_library_dir ${LLAMLX_MLX_LIBRARY} DIRECTORY)
get_filename_component(mlx_wheels_dir ${mlx_library_dir}/../.. ABSOLUTE)
file(GLOB mlx_runtime
  ${mlx_library_dir}/libmlx.* ${mlx_library_dir}/libjaccl.*
  ${mlx_library_dir}/mlx.metallib)
install(PROGRAMS ${mlx_runtime} DESTINATION ${mlx_runtime_dir})
file(GLOB mlx_bundled ${mlx_wheels_dir}/mlx_cpu.libs/*)
install(PROGRAMS ${mlx_bundled}
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/llamlx/mlx_cpu.libs)
file(GLOB mlx_licence ${mlx_wheels_dir}/mlx-${MLX_VERSION}.dist-info/licenses/*)
install(FILES ${mlx_licence} DESTINATION ${CMAKE_INSTALL_DOCDIR}
  RENAME LICENSE.mlx)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

# find_package(llamlx CONFIG) gives llamlx::llamlx.
install(EXPORT llamlx-targets NAMESPACE llamlx:: DESTINATION ${package_dir})
configure_package_config_file(
  ${CMAKE_CURRENT_LIST_DIR}/llamlx-config.cmake.in
  ${PROJECT_BINARY_DIR}/llamlx-config.cmake
  INSTALL_DESTINATION ${package_dir}
  NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/llamlx-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES
  ${PROJECT_BINARY_DIR}/llamlx-config.cmake
  ${PROJECT_BINARY_DIR}/llamlx-config-version.cmake
  DESTINATION ${package_dir})

# pkg-config llamlx.
file(RELATIVE_PATH pc_to_prefix
  /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
string(REGEX REPLACE "/$" "" pc_to_prefix "${pc_to_prefix}")
configure_file(${CMAKE_CURRENT_LIST_DIR}/llamlx.pc.in
  ${PROJECT_BINARY_DIR}/llamlx.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/llamlx.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
