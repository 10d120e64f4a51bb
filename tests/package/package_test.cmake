# Installs a build into a scratch prefix, builds examples/hello against it,
# moves the prefix, and runs the program and the example from there.

# run(VARIABLE EXIT_CODE command...): VARIABLE becomes what it prints, on stdout
# when 0 is expected, else on stderr.
function(run variable expected)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE code
    OUTPUT_VARIABLE output ERROR_VARIABLE message
    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_STRIP_TRAILING_WHITESPACE)
  if(NOT code STREQUAL "${expected}")
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "'${command}' ended with ${code}, not ${expected}:\n"
      "${output}\n${message}")
  endif()
  if(expected EQUAL 0)
    set(${variable} "${output}" PARENT_SCOPE)
  else()
    set(${variable} "${message}" PARENT_SCOPE)
  endif()
endfunction()

function(expect_match text regex)
  if(NOT text MATCHES "${regex}")
    message(FATAL_ERROR "expected a match of '${regex}' in:\n${text}")
  endif()
endfunction()

# Every library BINARY loads is found, and MLX inside the moved tree.
function(expect_self_contained binary)
  if(APPLE OR NOT UNIX)
    return()
  endif()
  run(libraries 0 ldd ${binary})
  if(libraries MATCHES "not found")
    message(FATAL_ERROR "${binary} misses libraries:\n${libraries}")
  endif()
  foreach(library mlx blas lapack)
    expect_match("${libraries}" "lib${library}[^\n]* => [^\n]*/moved/[^\n]*")
  endforeach()
endfunction()

set(installed ${SCRATCH}/installed)
set(moved ${SCRATCH}/moved)
set(ENV{LD_LIBRARY_PATH} "")
file(REMOVE_RECURSE ${SCRATCH})
file(MAKE_DIRECTORY ${SCRATCH})

run(ignored 0 ${CMAKE_COMMAND} --install ${BUILD} --prefix ${installed})
file(RENAME ${installed} ${moved})

run(ignored 0 ${CMAKE_COMMAND} -S ${EXAMPLE} -B ${SCRATCH}/hello -G ${GENERATOR}
  -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_CXX_FLAGS=${CXX_FLAGS}
  -DCMAKE_PREFIX_PATH=${moved})
file(STRINGS ${SCRATCH}/hello/CMakeCache.txt found REGEX "^llamlx_DIR")
expect_match("${found}" "/moved/")
run(ignored 0 ${CMAKE_COMMAND} --build ${SCRATCH}/hello)

# The same with pkg-config and a bare compiler.
set(ENV{PKG_CONFIG_PATH} ${moved}/${LIBDIR}/pkgconfig)
run(flags 0 pkg-config --cflags --libs llamlx)
separate_arguments(flags UNIX_COMMAND "${CXX_FLAGS} ${flags}")
run(ignored 0 ${CXX} -std=c++20 ${EXAMPLE}/main.cpp -o ${SCRATCH}/hello_pc
  ${flags})

expect_self_contained(${moved}/${BINDIR}/llamlx)
expect_self_contained(${moved}/${LIBDIR}/libllamlx.so)
run(version 0 ${moved}/${BINDIR}/llamlx --version)
expect_match("${version}" "${VERSION}")

foreach(hello ${SCRATCH}/hello/hello ${SCRATCH}/hello_pc)
  expect_self_contained(${hello})
  run(message 1 ${hello} ${SCRATCH}/no-such-model)
  expect_match("${message}" "^[^\n]*no-such-model[^\n]*: [^\n]+; [^\n]+$")
endforeach()

# A real answer, the same from the library and from the program.
set(model ${SCRATCH}/model)
file(COPY ${MODEL}/ ${TOKENIZER} DESTINATION ${model})
run(json 0 ${moved}/${BINDIR}/llamlx generate --model-path ${model}
  --prompt "A great hobby to have is" --max-tokens 30 --json)
string(JSON expected GET "${json}" text)
string(STRIP "${expected}" expected)
run(text 0 ${SCRATCH}/hello/hello ${model})
string(STRIP "${text}" text)
if(expected STREQUAL "" OR NOT text STREQUAL expected)
  message(FATAL_ERROR "the library says '${text}', the program '${expected}'")
endif()
file(REMOVE_RECURSE ${SCRATCH})
