# llamlx_isa_flags(TARGET)
#
# Compiles a file NAME_ISA.cpp (or NAME_ISA_test.cpp) of the target for the
# instruction set ISA (src/cpu/isa.h), and leaves it out where the architecture
# has none such. Flags of instruction sets are written here and nowhere else.
set(LLAMLX_X86_ISAS avx2 avx512 avx512_vnni avx512_bf16 amx)
set(LLAMLX_ARM_ISAS neon neon_dotprod neon_i8mm neon_bf16)

set(LLAMLX_ISA_FLAGS_avx2 -mavx2 -mfma -mf16c)
set(LLAMLX_ISA_FLAGS_avx512 ${LLAMLX_ISA_FLAGS_avx2}
    -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512
    # GCC 12 warns of its own intrinsics (its bug 105593).
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>
    $<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized>)
set(LLAMLX_ISA_FLAGS_avx512_vnni ${LLAMLX_ISA_FLAGS_avx512}
    -mavx512vnni -mavx512vbmi)
set(LLAMLX_ISA_FLAGS_avx512_bf16 ${LLAMLX_ISA_FLAGS_avx512_vnni} -mavx512bf16)
set(LLAMLX_ISA_FLAGS_amx ${LLAMLX_ISA_FLAGS_avx512_bf16}
    -mamx-tile -mamx-bf16 -mamx-int8)
set(LLAMLX_ISA_FLAGS_neon -march=armv8-a)
set(LLAMLX_ISA_FLAGS_neon_dotprod -march=armv8.2-a+fp16+dotprod)
set(LLAMLX_ISA_FLAGS_neon_i8mm -march=armv8.2-a+fp16+dotprod+i8mm)
set(LLAMLX_ISA_FLAGS_neon_bf16 -march=armv8.2-a+fp16+dotprod+i8mm+bf16)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(LLAMLX_ISAS ${LLAMLX_X86_ISAS})
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  set(LLAMLX_ISAS ${LLAMLX_ARM_ISAS})
else()
  set(LLAMLX_ISAS "")
endif()

function(llamlx_isa_flags target)
  get_target_property(sources ${target} SOURCES)
  foreach(isa ${LLAMLX_X86_ISAS} ${LLAMLX_ARM_ISAS})
    set(files ${sources})
    list(FILTER files INCLUDE REGEX "_${isa}(_test)?\\.cpp$")
    if(NOT files)
      continue()
    endif()
    if(isa IN_LIST LLAMLX_ISAS)
      set_property(SOURCE ${files} APPEND PROPERTY
        COMPILE_OPTIONS ${LLAMLX_ISA_FLAGS_${isa}})
    else()
      set_property(SOURCE ${files} PROPERTY HEADER_FILE_ONLY TRUE)
    endif()
  endforeach()
endfunction()
