#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "cuda/kernel.h"
#include "cuda/stream.h"

struct CUgraph_st;
struct CUgraphExec_st;
struct CUgraphNode_st;

namespace llamlx {

struct DestroyCudaGraph {
  void operator()(CUgraph_st* graph) const noexcept;
  void operator()(CUgraphExec_st* graph) const noexcept;
};

/// Work of a stream that was recorded, to be put in again as one.
/// Errors: Error of the GPU.
class Graph {
 public:
  /// Records what `work` puts into `stream`; nothing of it runs. Its kernels
  /// are loaded before (run `work` once), and it neither allocates nor waits
  /// nor uploads from memory that is not pinned. What it throws is thrown.
  static Graph capture(Stream& stream, const std::function<void()>& work);

  void launch(Stream& stream);

  /// Gives the kernel that the work starts with other arguments, from the next
  /// launch on.
  /// Errors: std::invalid_argument if the work does not start with one kernel,
  /// or that has arguments of another size.
  template <typename Args>
  void set_first_args(const Args& args) {
    static_assert(kIsKernelArgs<Args>);
    set_first_bytes(&args, sizeof(Args));
  }

 private:
  Graph() = default;
  void set_first_bytes(const void* args, std::size_t args_bytes);

  std::unique_ptr<CUgraph_st, DestroyCudaGraph> graph_;
  std::unique_ptr<CUgraphExec_st, DestroyCudaGraph> executable_;
  [[maybe_unused]] CUgraphNode_st* first_kernel_ = nullptr;  // where CUDA is
};

}  // namespace llamlx
