# GTest::gtest_main and GTest::gmock, for this machine or for the one that is
# built for: Debian's packages have the libraries of the former alone, and the
# sources for all others.
if(NOT CMAKE_CROSSCOMPILING)
  find_package(GTest REQUIRED)
else()
  enable_language(C)  # googletest asks for it
  set(INSTALL_GTEST OFF)
  add_subdirectory(/usr/src/googletest googletest EXCLUDE_FROM_ALL SYSTEM)
  target_compile_options(gtest PRIVATE -w)  # not ours to put right
endif()
include(GoogleTest)
