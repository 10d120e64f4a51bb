#pragma once

#include "cuda/values.h"

#ifndef __CUDACC__
#include "cuda/emulator/emulator.h"
#endif

/// What our CUDA kernels are written in, beyond the language: the few
/// instructions that have no portable spelling. Compiled by nvcc they are PTX;
/// compiled by anything else they are the emulator's (emulator/emulator.h), so
/// that kernels can be tested on machines without a GPU.
///
/// Source  "PTX ISA", NVIDIA; "CUDA C++ Programming Guide", NVIDIA.

namespace llamlx::cuda {

inline constexpr int kWarpSize = 32;
inline constexpr unsigned kAllLanes = 0xffffffffU;

/// Begins the definition of a kernel: its name, the struct that is its one
/// parameter `args`, the threads of a block, and how many blocks a
/// multiprocessor has at least (which bounds the registers of a thread).
/// Example: LLAMLX_KERNEL(pack_weight, PackArgs, 256, 1) { ... }
#ifdef __CUDACC__
#define LLAMLX_KERNEL(name, Args, threads, blocks)              \
  extern "C" __global__ void __launch_bounds__(threads, blocks) \
      name(const __grid_constant__ Args args)
#else
#define LLAMLX_KERNEL(name, Args, threads, blocks)                       \
  extern "C" void name(const Args& args);                                \
  static const ::llamlx::cuda::emulator::Registration registered_##name( \
      #name, sizeof(Args),                                               \
      [](const void* args) { name(*static_cast<const Args*>(args)); });  \
  extern "C" void name(const Args& args)
#endif

#ifdef __CUDACC__

/// Waits until the kernel before this one in the stream has ended and its
/// writes can be seen; it may have let this one start earlier.
__device__ inline void wait_for_predecessor() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Lets the next kernel of the stream start what it does before it waits.
__device__ inline void let_successor_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// Reads what is read once: it is not kept in the first cache. Only for memory
/// that nothing writes while kernels run.
__device__ inline Words4 load_once(const Words4* p) {
  Words4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.w[0]), "=r"(v.w[1]), "=r"(v.w[2]), "=r"(v.w[3])
               : "l"(p));
  return v;
}
__device__ inline Words2 load_once(const Words2* p) {
  Words2 v;
  asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2];"
               : "=r"(v.w[0]), "=r"(v.w[1])
               : "l"(p));
  return v;
}
__device__ inline std::uint32_t load_once(const std::uint32_t* p) {
  std::uint32_t v;
  asm volatile("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(v) : "l"(p));
  return v;
}

/// Reads what another kernel may have written a moment ago: past the first
/// cache, which does not see the writes of other multiprocessors.
__device__ inline float load_fresh(const float* p) { return __ldcg(p); }
__device__ inline int load_fresh(const int* p) { return __ldcg(p); }
__device__ inline unsigned load_fresh(const unsigned* p) { return __ldcg(p); }
__device__ inline Floats4 load_fresh(const Floats4* p) {
  const float4 v = __ldcg(reinterpret_cast<const float4*>(p));
  return {{v.x, v.y, v.z, v.w}};
}
__device__ inline Words4 load_fresh(const Words4* p) {
  const uint4 v = __ldcg(reinterpret_cast<const uint4*>(p));
  return {{v.x, v.y, v.z, v.w}};
}

/// Brings what no kernel writes into the first cache, to be read later.
__device__ inline void bring_nearest(const float* p) {
  asm volatile(
      "{\n"
      ".reg .f32 unused;\n"
      "ld.global.nc.f32 unused, [%0];\n"
      "}" ::"l"(p));
}

/// Two 16-bit numbers of a word, the first in its low half.
__device__ inline std::uint32_t pack(F16, float low, float high) {
  std::uint32_t w;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(w) : "f"(high), "f"(low));
  return w;
}
__device__ inline std::uint32_t pack(Bf16, float low, float high) {
  std::uint32_t w;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(w) : "f"(high), "f"(low));
  return w;
}
__device__ inline float unpack(F16, std::uint16_t half) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(half));
  return x;
}
__device__ inline float unpack(Bf16, std::uint16_t half) {
  return __uint_as_float(static_cast<unsigned>(half) << 16);
}

/// a * b + c, in each half of a word.
__device__ inline std::uint32_t fma2(F16, std::uint32_t a, std::uint32_t b,
                                     std::uint32_t c) {
  std::uint32_t d;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}
__device__ inline std::uint32_t sub2(F16, std::uint32_t a, std::uint32_t b) {
  std::uint32_t d;
  asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}

__device__ inline std::uint32_t fma2(Bf16, std::uint32_t a, std::uint32_t b,
                                     std::uint32_t c) {
  std::uint32_t d;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}

/// (a & b) | c.
__device__ inline std::uint32_t and_or(std::uint32_t a, std::uint32_t b,
                                       std::uint32_t c) {
  std::uint32_t d;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}

/// Bytes of the eight of (b, a), as `selector` names them.
__device__ inline std::uint32_t permute_bytes(std::uint32_t a, std::uint32_t b,
                                              std::uint32_t selector) {
  return __byte_perm(a, b, selector);
}

/// c += A B, where a warp's lanes hold A [16, 16], B [16, 8] and c [16, 8] as
/// "mma.m16n8k16" wants them. Sums are float32.
__device__ inline void multiply_add(F16, float (&c)[4],
                                    const std::uint32_t (&a)[4],
                                    const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ inline void multiply_add(Bf16, float (&c)[4],
                                    const std::uint32_t (&a)[4],
                                    const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// c += A B, where a warp's lanes hold A [16, 32], bytes without sign, B
/// [32, 8], bytes with sign, and c [16, 8] as "mma.m16n8k32" wants them.
__device__ inline void multiply_add_bytes(int (&c)[4],
                                          const std::uint32_t (&a)[4],
                                          const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Reads and writes what blocks that run together pass to each other: each word
/// as a whole, and in no order with other words.
__device__ inline std::uint32_t load_shared_word(const std::uint32_t* p) {
  std::uint32_t v;
  asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];"
               : "=r"(v)
               : "l"(p)
               : "memory");
  return v;
}
__device__ inline Words2 load_shared_word(const Words2* p) {
  Words2 v;
  asm volatile("ld.relaxed.gpu.global.v2.u32 {%0, %1}, [%2];"
               : "=r"(v.w[0]), "=r"(v.w[1])
               : "l"(p)
               : "memory");
  return v;
}
__device__ inline Words4 load_shared_word(const Words4* p) {
  Words4 v;
  asm volatile("ld.relaxed.gpu.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.w[0]), "=r"(v.w[1]), "=r"(v.w[2]), "=r"(v.w[3])
               : "l"(p)
               : "memory");
  return v;
}
__device__ inline void store_shared_word(std::uint32_t* p, std::uint32_t v) {
  asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(p), "r"(v)
               : "memory");
}
__device__ inline void store_shared_word(Words4* p, const Words4& v) {
  asm volatile("st.relaxed.gpu.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(p),
               "r"(v.w[0]), "r"(v.w[1]), "r"(v.w[2]), "r"(v.w[3])
               : "memory");
}
/// The number of this thread in its block, read where it stands in the program:
/// what follows from it takes no registers before and after.
__device__ inline int thread_now() {
  int thread;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
  return thread;
}

/// Between two looks for what another block writes.
__device__ inline void look_again() {}

/// Copies 16 bytes to shared memory without waiting: zeros if not `is_there`.
__device__ inline void copy_async(void* shared, const void* global,
                                  bool is_there = true) {
  const auto to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to),
               "l"(global), "r"(is_there ? 16 : 0)
               : "memory");
}
/// Ends a batch of copies.
__device__ inline void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
/// Waits until all but the last `kLeft` batches have arrived, for this thread.
template <int kLeft>
__device__ inline void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

/// Reads memory of any kind, where it stands in the program and not later.
__device__ inline Words4 load_now(const Words4* p) {
  Words4 v;
  asm volatile("ld.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.w[0]), "=r"(v.w[1]), "=r"(v.w[2]), "=r"(v.w[3])
               : "l"(p));
  return v;
}
__device__ inline Words2 load_now(const Words2* p) {
  Words2 v;
  asm volatile("ld.v2.u32 {%0, %1}, [%2];"
               : "=r"(v.w[0]), "=r"(v.w[1])
               : "l"(p));
  return v;
}

__device__ inline Words2 load_fresh(const Words2* p) {
  const uint2 v = __ldcg(reinterpret_cast<const uint2*>(p));
  return {{v.x, v.y}};
}

/// Adds 1 to a counter of the whole GPU, and returns what it was: whoever finds
/// a thread's 1 there sees what that thread had seen written.
__device__ inline unsigned count_arrival(unsigned* counter) {
  unsigned before;
  asm volatile("atom.add.acq_rel.gpu.global.u32 %0, [%1], 1;"
               : "=r"(before)
               : "l"(counter)
               : "memory");
  return before;
}

/// Asks for the 128 bytes around `p` to be brought near, without waiting.
__device__ inline void bring_near(const void* p) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
}

/// 2 to the power of x, to about 2^-22; 0 of -infinity.
__device__ inline float power_of_2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Whether it is so for any lane of the warp.
__device__ inline bool any_lane(bool is_so) {
  return __any_sync(kAllLanes, is_so) != 0;
}

/// Four matrices of 8 x 8 numbers of 16 bits, turned over: lane 8 m + i says
/// where row i of matrix m begins, and lane 4 g + t gets of each the numbers of
/// column g in rows 2 t and 2 t + 1. ("ldmatrix.x4.trans")
__device__ inline void load_transposed(std::uint32_t (&to)[4],
                                       const void* shared_row) {
  const auto at = static_cast<unsigned>(__cvta_generic_to_shared(shared_row));
  asm volatile(
      "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
      : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
      : "r"(at));
}

/// Copies of bytes to shared memory by the copy engine of compute capability
/// 9.0, which tells a barrier there when they have arrived.
#if __CUDA_ARCH__ >= 900
#define LLAMLX_HAS_BULK_COPIES 1
#endif

#ifdef LLAMLX_HAS_BULK_COPIES
__device__ inline unsigned shared_address(const void* p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}
/// Makes a barrier that so many threads arrive at, by one that then calls
/// show_barriers() before it or others use the barriers it made.
__device__ inline void make_barrier(std::uint64_t* barrier, int threads = 1) {
  asm volatile(
      "mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(threads)
      : "memory");
}
__device__ inline void show_barriers() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
__device__ inline void arrive_at_barrier(std::uint64_t* barrier) {
  asm volatile(
      "mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
      : "memory");
}
/// Arrives at a barrier that also waits for so many bytes to be copied.
__device__ inline void arrive_expecting(std::uint64_t* barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                   shared_address(barrier)),
               "r"(bytes)
               : "memory");
}
/// Begins to copy `bytes`, a multiple of 16, that the barrier expects.
__device__ inline void copy_bulk_part(void* shared, const void* global,
                                      int bytes, std::uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1], %2, [%3];" ::"r"(shared_address(shared)),
      "l"(global), "r"(bytes), "r"(shared_address(barrier))
      : "memory");
}
/// Adds to memory, where nobody else adds meanwhile, without reading it.
__device__ inline void add_floats(Floats4* to, const Floats4& x) {
  asm volatile(
      "red.relaxed.gpu.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to),
      "f"(x.f[0]), "f"(x.f[1]), "f"(x.f[2]), "f"(x.f[3])
      : "memory");
}
/// Begins to copy `bytes` that the barrier opens after, as one thread.
__device__ inline void copy_bulk(void* shared, const void* global, int bytes,
                                 std::uint64_t* barrier) {
  arrive_expecting(barrier, bytes);
  copy_bulk_part(shared, global, bytes, barrier);
}
/// Waits until the barrier has opened for the time of this parity.
__device__ inline void wait_at_barrier(std::uint64_t* barrier, int parity) {
  asm volatile(
      "{\n"
      ".reg .pred is_open;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 is_open, [%0], %1;\n"
      "@!is_open bra again;\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}
/// All threads of the blocks that were launched together (LaunchShape) meet;
/// what they wrote into shared memory is then seen by all of them.
__device__ inline void meet_cluster() {
  asm volatile(
      "barrier.cluster.arrive.aligned;\n"
      "barrier.cluster.wait.aligned;" ::
          : "memory");
}
/// What lies at `p` in the shared memory of block `rank` of these.
__device__ inline Floats4 load_from_block(const Floats4* p, int rank) {
  unsigned at = 0;
  asm("mapa.shared::cluster.u32 %0, %1, %2;"
      : "=r"(at)
      : "r"(shared_address(p)), "r"(rank));
  Floats4 v;
  asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v.f[0]), "=f"(v.f[1]), "=f"(v.f[2]), "=f"(v.f[3])
               : "r"(at)
               : "memory");
  return v;
}
#endif  // LLAMLX_HAS_BULK_COPIES

/// A barrier of some warps of the block, together `threads`; each such group
/// has a number from 1 to 15.
__device__ inline void meet_group(int group, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(group), "r"(threads) : "memory");
}

/// The dynamic shared memory of the block.
__device__ inline unsigned char* shared_memory() {
  extern __shared__ __align__(128) unsigned char bytes[];
  return bytes;
}

#endif  // __CUDACC__

__device__ inline int smaller(int a, int b) { return a < b ? a : b; }
__device__ inline int larger(int a, int b) { return a > b ? a : b; }
__device__ inline int ceil_divide(int a, int b) { return (a + b - 1) / b; }

/// The larger of two; NaN if one is.
__device__ inline float max_or_nan(float a, float b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  float larger;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(larger) : "f"(a), "f"(b));
  return larger;
#else
  return a > b || a != a ? a : b;
#endif
}

/// The sum, or the largest, of a value of every lane of a warp; all get it.
__device__ inline float warp_sum(float x) {
  for (int step = kWarpSize / 2; step > 0; step /= 2) {
    x += __shfl_xor_sync(kAllLanes, x, step);
  }
  return x;
}
__device__ inline float warp_max(float x) {
  for (int step = kWarpSize / 2; step > 0; step /= 2) {
    x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, step));
  }
  return x;
}
__device__ inline float warp_max_or_nan(float x) {
  for (int step = kWarpSize / 2; step > 0; step /= 2) {
    x = max_or_nan(x, __shfl_xor_sync(kAllLanes, x, step));
  }
  return x;
}

}  // namespace llamlx::cuda
