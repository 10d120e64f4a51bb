#pragma once

#include <atomic>
#include <cstddef>
#include <string_view>
#include <type_traits>

#include "cuda/stream.h"

struct CUfunc_st;

namespace llamlx {

/// A kernel that is loaded into the GPU. Kernels have exactly one parameter, a
/// trivially copyable struct.
class Kernel {
 public:
  explicit Kernel(CUfunc_st* function);

  CUfunc_st* function() const { return function_; }
  std::size_t args_bytes() const { return args_bytes_; }
  int registers() const;

  /// Lets blocks have this much dynamic shared memory from now on.
  void allow_shared(unsigned bytes) const;

 private:
  CUfunc_st* function_;
  std::size_t args_bytes_;
  mutable std::atomic<unsigned> allowed_shared_;
};

/// The kernel `name` (extern "C") of the file `module`, which is a path in this
/// room without ".cu"; for as long as the process lives. The file is loaded
/// when its first kernel is asked for.
/// Example: cuda_kernel("matmul/few_rows", "few_rows_f16")
/// Errors: std::invalid_argument for names that this build does not have, or a
/// kernel of other parameters; Error (no_device).
/// Threads: any.
const Kernel& cuda_kernel(std::string_view module, std::string_view name);

struct LaunchShape {
  unsigned grid_x;
  unsigned grid_y = 1;
  unsigned grid_z = 1;
  unsigned block = 256;
  unsigned shared_bytes = 0;  ///< dynamic
  /// Starts while the kernel before it in the stream ends, and waits for that
  /// itself (intrinsics.h); before compute capability 9.0 it starts after.
  bool overlaps = true;
  /// All blocks run at the same time, so that they may wait for each other;
  /// such a kernel overlaps with none.
  bool runs_together = false;
  /// Blocks of one column of the grid's y, all of them, are on neighbouring
  /// multiprocessors and see each other's shared memory: up to 8, from compute
  /// capability 9.0 on.
  bool is_cluster = false;
};

/// How many blocks run on a multiprocessor at a time.
int blocks_per_multiprocessor(const Kernel& kernel, unsigned block,
                              unsigned shared_bytes = 0);

/// How many clusters of blocks run at a time.
int clusters_at_once(const Kernel& kernel, const LaunchShape& shape);

/// launch(), for arguments that lie in memory.
void launch_bytes(Stream& stream, const Kernel& kernel,
                  const LaunchShape& shape, const void* args,
                  std::size_t args_bytes);

/// What a kernel of ours may have as its parameter.
template <typename Args>
constexpr bool kIsKernelArgs = std::is_trivially_copyable_v<Args> &&
                               sizeof(Args) <= 4000;

/// Puts a kernel into the stream. `args` is copied before this returns.
/// Errors: std::invalid_argument for an empty grid, a block of none or more
/// than 1024 threads, or arguments of another size than the kernel's; Error,
/// also for blocks that are to run together and are too many.
template <typename Args>
void launch(Stream& stream, const Kernel& kernel, const LaunchShape& shape,
            const Args& args) {
  static_assert(kIsKernelArgs<Args>);
  launch_bytes(stream, kernel, shape, &args, sizeof(Args));
}

}  // namespace llamlx
