# llamlx_room(NAME [NEEDS room...] [LIBRARIES target...])
#
# One folder under src/ is one room: a static library llamlx_NAME made of the
# folder's *.cpp files, and one test program llamlx_NAME_test made of its
# *_test.cpp files. A room may include only the rooms it NEEDS
# (tools/check_includes.py holds the code to that).
function(llamlx_room name)
  cmake_parse_arguments(ROOM "" "" "NEEDS;LIBRARIES" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS *.cpp)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_(test|bench)\\.cpp$")
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")

  add_library(llamlx_${name} STATIC ${sources})
  target_include_directories(llamlx_${name} PUBLIC
    ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
  list(TRANSFORM ROOM_NEEDS PREPEND llamlx_)
  target_link_libraries(llamlx_${name} PUBLIC ${ROOM_NEEDS} ${ROOM_LIBRARIES})
  llamlx_warnings(llamlx_${name})

  if(LLAMLX_TESTS AND tests)
    add_executable(llamlx_${name}_test ${tests})
    target_link_libraries(llamlx_${name}_test PRIVATE
      llamlx_${name} GTest::gtest_main GTest::gmock)
    target_compile_definitions(llamlx_${name}_test PRIVATE
      LLAMLX_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data")
    # Tests are compiled far more often than they run: what only slows the
    # compiler down is left to the code under test.
    target_compile_options(llamlx_${name}_test PRIVATE
      $<$<CONFIG:Release>:-O1> -fno-sanitize=undefined)
    llamlx_warnings(llamlx_${name}_test)
    gtest_discover_tests(llamlx_${name}_test
      TEST_PREFIX "${name}." NO_PRETTY_VALUES DISCOVERY_TIMEOUT 60
      PROPERTIES LABELS unit)
  endif()
endfunction()

function(llamlx_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow)
  if(LLAMLX_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
