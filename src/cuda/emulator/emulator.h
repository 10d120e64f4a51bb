#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string_view>

#include "cuda/values.h"

/// Runs CUDA kernels on the CPU, to test them on machines without a GPU: a
/// kernel's source is compiled as C++, each thread of a block is a fiber, and
/// blocks run one after another, or in turn where they wait for each other.
/// Threads switch at barriers, at what a warp does together and where they look
/// for what others write, and nowhere else, so that it finds wrong indices and
/// missing cases, and not every race.
///
/// A warp acts together only when all its 32 lanes are there.
///
/// Example:
///     cuda::emulate("few_rows_f16",
///                   {.grid_x = 4, .block = 256, .shared_bytes = 4096}, args);

// NOLINTBEGIN(readability-identifier-naming): CUDA's own names
#define __device__
// NOLINTEND(readability-identifier-naming)

namespace llamlx::cuda {

struct EmulatedShape {
  unsigned grid_x = 1;
  unsigned grid_y = 1;
  unsigned grid_z = 1;
  unsigned block = 32;
  unsigned shared_bytes = 0;
  bool runs_together = false;  ///< blocks wait for each other
  /// A warp, of those of all blocks that run together, which goes on only when
  /// the others have come to nothing for a while; or -1.
  int late_warp = -1;
};

/// Runs the kernel `name` as every thread of the grid. Shared memory is filled
/// with bytes that are NaN as numbers of any type. Throws what a thread throws;
/// std::logic_error when lanes of a warp act together that have ended, or all
/// that have not wait for what nobody writes;
/// std::invalid_argument for a kernel that there is not, a block that is not
/// whole warps, or arguments of another size than the kernel's.
/// Threads  one call at a time.
void emulate(std::string_view name, const EmulatedShape& shape,
             const void* args, std::size_t args_bytes);

/// Bytes of a kernel's arguments. Errors: std::invalid_argument.
std::size_t emulated_args_bytes(std::string_view name);

template <typename Args>
void emulate(std::string_view name, const EmulatedShape& shape,
             const Args& args) {
  emulate(name, shape, &args, sizeof(Args));
}

namespace emulator {

struct Index3 {
  unsigned x = 0;
  unsigned y = 0;
  unsigned z = 0;
};

/// Makes a kernel known by its name (LLAMLX_KERNEL).
struct Registration {
  Registration(const char* name, std::size_t args_bytes,
               void (*run)(const void* args));
};

/// Of the thread that runs now.
extern Index3 thread_index, block_index, block_dim, grid_dim;

unsigned char* shared_bytes();
void meet_block();
void meet_warp();
void meet_group(int group, int threads);
/// Lets other threads run, by one that waits for what another block writes.
void look_again();

/// Gives a value of every lane of this warp to `use`, which gets them in order.
void exchange(const void* mine, std::size_t bytes,
              const std::function<void(const unsigned char* all)>& use);

std::uint16_t to_f16(float x);
float from_f16(std::uint16_t half);
std::uint16_t to_bf16(float x);
float from_bf16(std::uint16_t half);

}  // namespace emulator

// NOLINTBEGIN(readability-identifier-naming): CUDA's own names
#define threadIdx ::llamlx::cuda::emulator::thread_index
#define blockIdx ::llamlx::cuda::emulator::block_index
#define blockDim ::llamlx::cuda::emulator::block_dim
#define gridDim ::llamlx::cuda::emulator::grid_dim

inline void __syncthreads() { emulator::meet_block(); }
inline void __syncwarp() { emulator::meet_warp(); }

template <typename T>
T __shfl_xor_sync(unsigned, T value, unsigned bits) {
  T result{};
  emulator::exchange(&value, sizeof(T), [&](const unsigned char* all) {
    const std::size_t lane = (threadIdx.x ^ bits) & 31U;
    std::memcpy(&result, all + sizeof(T) * lane, sizeof(T));
  });
  return result;
}

template <typename T>
T __shfl_sync(unsigned, T value, int lane) {
  T result{};
  emulator::exchange(&value, sizeof(T), [&](const unsigned char* all) {
    std::memcpy(&result, all + sizeof(T) * (static_cast<unsigned>(lane) & 31U),
                sizeof(T));
  });
  return result;
}

inline unsigned __float_as_uint(float x) {
  unsigned u;
  std::memcpy(&u, &x, sizeof u);
  return u;
}
inline float __uint_as_float(unsigned u) {
  float x;
  std::memcpy(&x, &u, sizeof x);
  return x;
}
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __float2int_rn(float x) {
  return static_cast<int>(std::nearbyint(x));
}
inline int min(int a, int b) { return a < b ? a : b; }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float x, float y) { return x / y; }
// NOLINTEND(readability-identifier-naming)

inline void meet_group(int group, int threads) {
  emulator::meet_group(group, threads);
}
inline void wait_for_predecessor() {}
inline void let_successor_start() {}
template <typename T>
T load_once(const T* p) {
  return *p;
}
template <typename T>
T load_fresh(const T* p) {
  return *p;
}

inline void bring_nearest(const float*) {}

inline std::uint32_t join(std::uint16_t low, std::uint16_t high) {
  return low | (static_cast<std::uint32_t>(high) << 16);
}
inline std::uint32_t pack(F16, float low, float high) {
  return join(emulator::to_f16(low), emulator::to_f16(high));
}
inline std::uint32_t pack(Bf16, float low, float high) {
  return join(emulator::to_bf16(low), emulator::to_bf16(high));
}
inline float unpack(F16, std::uint16_t half) {
  return emulator::from_f16(half);
}
inline float unpack(Bf16, std::uint16_t half) {
  return emulator::from_bf16(half);
}
template <typename T>
std::uint32_t fma2(T, std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  const auto one = [&](int shift) {
    const auto f = [&](std::uint32_t word) {
      return unpack(T{}, static_cast<std::uint16_t>(word >> shift));
    };
    return f(a) * f(b) + f(c);
  };
  return pack(T{}, one(0), one(16));
}
inline std::uint32_t sub2(F16, std::uint32_t a, std::uint32_t b) {
  return fma2(F16{}, a, 0x3c003c00U, b ^ 0x80008000U);
}
inline std::uint32_t and_or(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  return (a & b) | c;
}
inline std::uint32_t permute_bytes(std::uint32_t a, std::uint32_t b,
                                   std::uint32_t selector) {
  const std::uint64_t all = a | (static_cast<std::uint64_t>(b) << 32);
  std::uint32_t result = 0;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned which = (selector >> (4 * i)) & 7U;
    result |= static_cast<std::uint32_t>((all >> (8 * which)) & 0xffU)
              << (8 * i);
  }
  return result;
}

inline void copy_async(void* shared, const void* global, bool is_there = true) {
  if (is_there) {
    std::memcpy(shared, global, 16);
  } else {
    std::memset(shared, 0, 16);
  }
}
inline void commit_copies() {}
template <int>
void wait_for_copies() {}

/// A barrier in shared memory; copies are done at once, so that nobody has to
/// wait for their bytes.
struct SharedBarrier {
  std::uint16_t threads;
  std::uint16_t missing;
  std::uint32_t phase;
};
inline SharedBarrier* shared_barrier(std::uint64_t* barrier) {
  static_assert(sizeof(SharedBarrier) == sizeof *barrier);
  return reinterpret_cast<SharedBarrier*>(barrier);
}
inline void make_barrier(std::uint64_t* barrier, int threads = 1) {
  const auto count = static_cast<std::uint16_t>(threads);
  *shared_barrier(barrier) = {count, count, 0};
}
inline void show_barriers() {}
inline void arrive_at_barrier(std::uint64_t* barrier) {
  auto& its = *shared_barrier(barrier);
  if (--its.missing > 0) return;
  its.missing = its.threads;
  ++its.phase;
}
inline void copy_bulk_part(void* shared, const void* global, int bytes,
                           std::uint64_t*) {
  std::memcpy(shared, global, static_cast<std::size_t>(bytes));
}
/// Its copies follow: others must not run before they are done.
inline void arrive_expecting(std::uint64_t* barrier, int) {
  arrive_at_barrier(barrier);
}
inline void wait_at_barrier(std::uint64_t* barrier, int parity) {
  while ((shared_barrier(barrier)->phase & 1U) ==
         static_cast<unsigned>(parity)) {
    emulator::look_again();
  }
}

inline unsigned char* shared_memory() { return emulator::shared_bytes(); }

template <typename T>
T load_now(const T* p) {
  return *p;
}
inline unsigned count_arrival(unsigned* counter) { return (*counter)++; }
inline void bring_near(const void*) {}
inline float power_of_2(float x) { return std::exp2(x); }
inline bool any_lane(bool is_so) {
  bool result = false;
  emulator::exchange(&is_so, sizeof is_so, [&](const unsigned char* all) {
    for (int i = 0; i < 32; ++i) result = result || all[i] != 0;
  });
  return result;
}
inline void load_transposed(std::uint32_t (&to)[4], const void* shared_row) {
  emulator::exchange(
      &shared_row, sizeof shared_row, [&](const unsigned char* all) {
        const auto* rows = reinterpret_cast<const std::uint16_t* const*>(all);
        const unsigned lane = threadIdx.x & 31U;
        for (unsigned m = 0; m < 4; ++m) {
          const auto at = [&](unsigned row) {
            return rows[8 * m + row][lane / 4];
          };
          to[m] = join(at(2 * (lane % 4)), at(2 * (lane % 4) + 1));
        }
      });
}

namespace emulator {

/// c += A B as the lanes of a warp hold them; `from` reads a half.
void multiply_add(float (&c)[4], const std::uint32_t (&a)[4],
                  const std::uint32_t (&b)[2],
                  float (*from)(std::uint16_t half));

}  // namespace emulator

void multiply_add_bytes(int (&c)[4], const std::uint32_t (&a)[4],
                        const std::uint32_t (&b)[2]);

template <typename Words>
Words load_shared_word(const Words* p) {
  return *p;
}
template <typename Words>
void store_shared_word(Words* p, const Words& v) {
  *p = v;
}
inline int thread_now() { return static_cast<int>(threadIdx.x); }
inline void look_again() { emulator::look_again(); }

inline void multiply_add(F16, float (&c)[4], const std::uint32_t (&a)[4],
                         const std::uint32_t (&b)[2]) {
  emulator::multiply_add(c, a, b, emulator::from_f16);
}
inline void multiply_add(Bf16, float (&c)[4], const std::uint32_t (&a)[4],
                         const std::uint32_t (&b)[2]) {
  emulator::multiply_add(c, a, b, emulator::from_bf16);
}

}  // namespace llamlx::cuda
