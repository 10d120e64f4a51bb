#pragma once

#include "cuda/intrinsics.h"

/// Products by warpgroups, the four warps that Hopper's matrix unit takes
/// together: "wgmma.mma_async".
///
/// Both operands lie in shared memory. The left one is 64 rows of a packed
/// weight of 16-bit numbers (packed_weight.h), the tiles of four blocks of 16
/// rows after each other. The right one is rows of x, 64 columns of them in 128
/// bytes, whose 16-byte pieces change places with the row (piece ^ row % 8), as
/// make_operands (operands.h) writes them. A step is 16 columns of both.
///
/// Source  "PTX ISA", NVIDIA: asynchronous warpgroup level matrix instructions.

namespace llamlx::cuda {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define LLAMLX_HAS_WARPGROUPS 1

/// The block's dynamic shared memory from the first multiple of 1024 bytes on,
/// where operands begin: up to 1023 bytes are lost.
__device__ inline unsigned char* memory_of_operands() {
  auto* memory = shared_memory();
  return memory + (1024 - shared_address(memory) % 1024) % 1024;
}

/// An operand in shared memory whose groups of 8 rows follow each other by 1024
/// bytes, as the matrix unit is told of it. `kSwizzle`: 1 where rows of 128
/// bytes change places, 2 where rows of 64 do.
template <int kSwizzle>
__device__ inline std::uint64_t describe_operand(const void* operand) {
  constexpr std::uint64_t kEightRows = std::uint64_t{1024 >> 4} << 32;
  return std::uint64_t{kSwizzle} << 62 | kEightRows | std::uint64_t{1} << 16 |
         ((shared_address(operand) & 0x3ffffU) >> 4);
}
/// Step `step` of rows of x, which begin at a multiple of 1024 bytes.
__device__ inline std::uint64_t describe_rows(const unsigned char* rows,
                                              int step) {
  return describe_operand<1>(rows + 32 * step);
}
/// Step `step` of tiles of a weight, which begin at a multiple of 512 bytes.
__device__ inline std::uint64_t describe_tiles(const unsigned char* tiles,
                                               int step) {
  return describe_operand<2>(tiles + step / 2 * 512 + step % 2 * 32);
}

/// The right operand the other way round: 16 rows of 64 columns, of 128 bytes
/// whose pieces change places, from a multiple of 1024 bytes on; further
/// columns follow by `next_columns` bytes.
__device__ inline std::uint64_t describe_turned(const unsigned char* rows,
                                                int next_columns) {
  constexpr std::uint64_t kLeading = std::uint64_t{0x3fff} << 16;
  return (describe_operand<1>(rows) & ~kLeading) |
         static_cast<std::uint64_t>(next_columns >> 4) << 16;
}

/// Shows registers and shared memory that were written to the matrix unit.
__device__ inline void begin_products() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
/// Shared memory that copy_async or stores wrote: before a barrier.
__device__ inline void show_to_matrix_unit() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
__device__ inline void commit_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits until all but the last `kLeft` groups of products are done.
template <int kLeft>
__device__ inline void wait_for_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory");
}

/// Takes registers that others give, or gives them: all of a warpgroup, so many
/// for each thread after it, a multiple of 8.
template <int kRegisters>
__device__ inline void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ inline void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// The sums of so many rows of x: their names in an instruction, and the
// registers that these stand for.
#define LLAMLX_NAMES_8 "%0, %1, %2, %3"
#define LLAMLX_NAMES_16 \
  LLAMLX_NAMES_8        \
  ", %4, %5, %6, %7"
#define LLAMLX_NAMES_32 \
  LLAMLX_NAMES_16       \
  ", %8, %9, %10, %11, %12, %13, %14, %15"
#define LLAMLX_NAMES_64                                               \
  LLAMLX_NAMES_32                                                     \
  ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28" \
  ", %29, %30, %31"
#define LLAMLX_NAMES_128                                              \
  LLAMLX_NAMES_64                                                     \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44" \
  ", %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57" \
  ", %58, %59, %60, %61, %62, %63"
#define LLAMLX_NAMES_256                                                 \
  LLAMLX_NAMES_128                                                       \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76"    \
  ", %77, %78, %79, %80, %81, %82, %83, %84, %85, %86, %87, %88, %89"    \
  ", %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102" \
  ", %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113"   \
  ", %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124"   \
  ", %125, %126, %127"
#define LLAMLX_SUMS_8(c, n) \
  "+f"(c[n][0]), "+f"(c[n][1]), "+f"(c[n][2]), "+f"(c[n][3])
#define LLAMLX_SUMS_16(c, n) LLAMLX_SUMS_8(c, n), LLAMLX_SUMS_8(c, (n) + 1)
#define LLAMLX_SUMS_32(c, n) LLAMLX_SUMS_16(c, n), LLAMLX_SUMS_16(c, (n) + 2)
#define LLAMLX_SUMS_64(c, n) LLAMLX_SUMS_32(c, n), LLAMLX_SUMS_32(c, (n) + 4)
#define LLAMLX_SUMS_128(c, n) LLAMLX_SUMS_64(c, n), LLAMLX_SUMS_64(c, (n) + 8)
#define LLAMLX_SUMS_256(c, n) \
  LLAMLX_SUMS_128(c, n), LLAMLX_SUMS_128(c, (n) + 16)
#define LLAMLX_WGMMA(rows, type)                                       \
  "wgmma.mma_async.sync.aligned.m64n" #rows "k16.f32." #type "." #type \
  " {" LLAMLX_NAMES_##rows "}, "

/// c += a b^T, when it is waited for: 16 columns of 64 rows of a weight, and of
/// 8 rows of x for each element of c. `operands`: the names of a and b.
#define LLAMLX_MULTIPLY_MEMORY(T, type, rows, operands)                \
  __device__ inline void multiply_warpgroup(                           \
      T, float(&c)[(rows) / 8][4], std::uint64_t a, std::uint64_t b) { \
    asm volatile(LLAMLX_WGMMA(rows, type) operands ", 1, 1, 1, 0, 0;"  \
                 : LLAMLX_SUMS_##rows(c, 0)                            \
                 : "l"(a), "l"(b));                                    \
  }
LLAMLX_MULTIPLY_MEMORY(F16, f16, 128, "%64, %65")
LLAMLX_MULTIPLY_MEMORY(F16, f16, 256, "%128, %129")
LLAMLX_MULTIPLY_MEMORY(Bf16, bf16, 128, "%64, %65")
LLAMLX_MULTIPLY_MEMORY(Bf16, bf16, 256, "%128, %129")
#undef LLAMLX_MULTIPLY_MEMORY

/// The same with the left operand in registers, as weight_tile.h's fragments
/// are: a warp has 16 of the rows. They stay as they are until it is done.
/// `kAdds`: whether what c was is added. `operands`: the names of a and b, and
/// of that.
#define LLAMLX_MULTIPLY_REGISTERS(name, T, type, rows, operands, turns)  \
  template <bool kAdds = true>                                           \
  __device__ void name(T, float(&c)[(rows) / 8][4],                      \
                       const std::uint32_t(&a)[4], std::uint64_t b) {    \
    asm volatile(LLAMLX_WGMMA(rows, type) operands ", 1, 1, " #turns ";" \
                 : LLAMLX_SUMS_##rows(c, 0)                              \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b),   \
                   "n"(kAdds ? 1 : 0));                                  \
  }
LLAMLX_MULTIPLY_REGISTERS(multiply_warpgroup, F16, f16, 8,
                          "{%4, %5, %6, %7}, %8, %9", 0)
LLAMLX_MULTIPLY_REGISTERS(multiply_warpgroup, Bf16, bf16, 8,
                          "{%4, %5, %6, %7}, %8, %9", 0)
LLAMLX_MULTIPLY_REGISTERS(multiply_warpgroup, F16, f16, 16,
                          "{%8, %9, %10, %11}, %12, %13", 0)
LLAMLX_MULTIPLY_REGISTERS(multiply_warpgroup, Bf16, bf16, 16,
                          "{%8, %9, %10, %11}, %12, %13", 0)
LLAMLX_MULTIPLY_REGISTERS(multiply_warpgroup, F16, f16, 32,
                          "{%16, %17, %18, %19}, %20, %21", 0)
LLAMLX_MULTIPLY_REGISTERS(multiply_warpgroup, Bf16, bf16, 32,
                          "{%16, %17, %18, %19}, %20, %21", 0)
LLAMLX_MULTIPLY_REGISTERS(multiply_warpgroup, F16, f16, 64,
                          "{%32, %33, %34, %35}, %36, %37", 0)
LLAMLX_MULTIPLY_REGISTERS(multiply_warpgroup, Bf16, bf16, 64,
                          "{%32, %33, %34, %35}, %36, %37", 0)
LLAMLX_MULTIPLY_REGISTERS(multiply_warpgroup, F16, f16, 128,
                          "{%64, %65, %66, %67}, %68, %69", 0)
LLAMLX_MULTIPLY_REGISTERS(multiply_warpgroup, Bf16, bf16, 128,
                          "{%64, %65, %66, %67}, %68, %69", 0)
LLAMLX_MULTIPLY_REGISTERS(multiply_warpgroup, F16, f16, 256,
                          "{%128, %129, %130, %131}, %132, %133", 0)
LLAMLX_MULTIPLY_REGISTERS(multiply_warpgroup, Bf16, bf16, 256,
                          "{%128, %129, %130, %131}, %132, %133", 0)

/// The same where the right operand lies the other way round, as
/// describe_turned describes it: c += a b.
LLAMLX_MULTIPLY_REGISTERS(multiply_warpgroup_turned, F16, f16, 64,
                          "{%32, %33, %34, %35}, %36, %37", 1)
LLAMLX_MULTIPLY_REGISTERS(multiply_warpgroup_turned, Bf16, bf16, 64,
                          "{%32, %33, %34, %35}, %36, %37", 1)
LLAMLX_MULTIPLY_REGISTERS(multiply_warpgroup_turned, F16, f16, 128,
                          "{%64, %65, %66, %67}, %68, %69", 1)
LLAMLX_MULTIPLY_REGISTERS(multiply_warpgroup_turned, Bf16, bf16, 128,
                          "{%64, %65, %66, %67}, %68, %69", 1)
#undef LLAMLX_MULTIPLY_REGISTERS
#undef LLAMLX_WGMMA
#undef LLAMLX_NAMES_8
#undef LLAMLX_SUMS_8
#undef LLAMLX_NAMES_16
#undef LLAMLX_SUMS_16
#undef LLAMLX_NAMES_32
#undef LLAMLX_SUMS_32
#undef LLAMLX_NAMES_64
#undef LLAMLX_SUMS_64
#undef LLAMLX_NAMES_128
#undef LLAMLX_SUMS_128
#undef LLAMLX_NAMES_256
#undef LLAMLX_SUMS_256

#endif  // __CUDA_ARCH_FEAT_SM90_ALL

}  // namespace llamlx::cuda
