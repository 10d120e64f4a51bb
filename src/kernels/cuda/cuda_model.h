#pragma once

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "cuda/device.h"
#include "cuda/graph.h"
#include "kernels/cuda/cuda_decode.h"
#include "kernels/cuda/cuda_matrix.h"
#include "kernels/stack.h"

namespace llamlx {

/// The experts of a layer. Each matrix has those of all.
struct CudaExperts {
  int count;
  CudaVector router;                ///< [E, D], times the weights of the norm
  std::vector<CudaMatrix> gate_up;  ///< interleaved, or one for each
  CudaMatrix down_proj;
};

struct CudaLayer {
  CudaVector input_layernorm;
  std::vector<CudaMatrix> qkv;  ///< all in one, or one for each
  CudaVector q_norm, k_norm;    ///< or none
  CudaMatrix o_proj;
  CudaVector post_attention_layernorm;
  std::optional<CudaExperts> experts;  ///< or one mlp:
  std::vector<CudaMatrix> gate_up;     ///< interleaved, or one for each
  CudaMatrix down_proj;
  int window;
};

/// Memory that grows to what was asked for, and keeps nothing when it does; it
/// then counts in `growths`.
class GrowingBuffer {
 public:
  explicit GrowingBuffer(int& growths) : growths_(growths) {}

  template <typename T>
  T* reserve(std::size_t count) {
    if (buffer_.bytes() < count * sizeof(T)) {
      buffer_ = {};
      buffer_ = DeviceBuffer(count * sizeof(T));
      ++growths_;
    }
    return buffer_.as<T>();
  }
  template <typename T>
  T* as() const {
    return buffer_.as<T>();
  }
  std::size_t bytes() const { return buffer_.bytes(); }

 private:
  int& growths_;
  DeviceBuffer buffer_;
};

/// Of a pass's rows in layers with experts, or of a piece of them.
struct CudaExpertSpace {
  explicit CudaExpertSpace(int& growths)
      : logits(growths),
        norms(growths),
        chosen(growths),
        shares(growths),
        masks(growths),
        groups(growths),
        num_groups(growths),
        rows_of(growths),
        places(growths),
        gate_up(growths),
        hidden(growths),
        outputs(growths),
        stages{GrowingBuffer(growths), GrowingBuffer(growths)} {}

  GrowingBuffer logits;  // [rows, E] float
  GrowingBuffer norms;   // [rows] float
  GrowingBuffer chosen;  // [rows, k] int
  GrowingBuffer shares;  // [rows, k] float
  GrowingBuffer masks;   // [blocks of rows, E] unsigned
  GrowingBuffer groups;  // [groups] ExpertGroup
  GrowingBuffer num_groups;
  GrowingBuffer rows_of;  // [places] int
  GrowingBuffer places;   // [rows, E] int
  GrowingBuffer gate_up;  // [places, 2 F] float, where they are two products
  GrowingBuffer hidden;   // [places, F] float
  GrowingBuffer outputs;  // [places, D] float
  // Of each group: what gates read, and what down does.
  std::array<GrowingBuffer, 2> stages;
};

/// A layer's caches of 8 bits as numbers of 16 (cuda_expand.h).
struct CudaExpandedSpace {
  explicit CudaExpandedSpace(int& growths)
      : numbers(growths), segments(growths) {}

  GrowingBuffer numbers;
  GrowingBuffer segments;  // [kMostSegments] SegmentView
  int most_positions = 0;  // of a segment
};

/// Memory of a pass on the GPU, kept for the next.
struct CudaWorkspace {
  int growths = 0;                  ///< of all of it
  GrowingBuffer segments{growths};  // [kMostSegments] SegmentView
  GrowingBuffer choice{growths};    // Choice
  GrowingBuffer ids{growths};       // [rows] int, where the host gives them
  GrowingBuffer periods{growths};   // [segments or 1, pairs] float
  GrowingBuffer cos_sin{growths};   // [rows][2][pairs] float
  GrowingBuffer x{growths};         // [rows, D] float: the residual stream
  GrowingBuffer qkv{growths};       // [rows, (H + 2 Hkv) Dh] float
  GrowingBuffer attended{growths};  // [rows, H Dh] float
  GrowingBuffer gate_up{
      growths};  // [rows, 2 F] float, where they are two products
  GrowingBuffer hidden{growths};    // [rows, F] float
  GrowingBuffer logits{growths};    // [rows, V] float
  GrowingBuffer parts{growths};     // of attention
  GrowingBuffer counters{growths};  // zeros between kernels
  GrowingBuffer queries{growths};   // [H, rows, Dh] 16 bits
  GrowingBuffer operands{growths};  // [planes, rows, K] 16 bits
  GrowingBuffer handed{growths};    // the same, made by what comes before
  GrowingBuffer scales{growths};    // [rows] float
  // Of some_rows: what a product reads, stages[turn], and the other, what it
  // makes for the next.
  std::array<GrowingBuffer, 2> stages{GrowingBuffer(growths),
                                      GrowingBuffer(growths)};
  std::size_t turn = 0;
  GrowingBuffer squares{growths};  // [groups, kSomeRowsMost] float
  GrowingBuffer product_parts{growths};
  GrowingBuffer expanded{growths};  // a weight as numbers of 16 bits
  CudaExpertSpace experts{growths};
  CudaExpandedSpace expanded_caches{growths};
  GrowingBuffer argmax_parts{growths};
  GrowingBuffer tokens{
      growths};  // [rows] int: chosen by the last pass that did
};

/// A decoder's weights on the GPU, and what its passes share.
struct CudaModel {
  /// Errors: Error (out_of_memory) before anything is loaded, if it can be
  /// known; (no_device); std::invalid_argument for types kernels do not read,
  /// and `kv_bits` as of cuda_backend().
  CudaModel(DecoderWeights loaded, StackParams stack, mx::Dtype dtype,
            int kv_bits);

  const CudaDeviceInfo& device;
  DecoderWeights weights;  ///< where they were read from
  StackParams params;
  cuda::NumberType compute;
  cuda::NumberType cached;  ///< keys and values: that, or q8
  Stream stream;

  CudaMatrix embed_tokens;
  std::vector<CudaLayer> layers;
  CudaVector norm;
  std::optional<CudaMatrix> own_lm_head;  ///< none: tied

  const CudaMatrix& lm_head() const {
    return own_lm_head ? *own_lm_head : embed_tokens;
  }
  bool has_rounded_caches() const { return cached == cuda::NumberType::q8; }
  int hidden_size() const { return embed_tokens.cols; }
  int vocab_size() const { return lm_head().rows; }
  int qkv_width() const {
    const auto& h = params.heads;
    return (h.num_attention_heads + 2 * h.num_key_value_heads) * h.head_dim;
  }

  std::unique_ptr<CudaDecode> decode;  ///< or null

  /// One pass at a time puts its kernels into the stream.
  std::mutex running;
  CudaWorkspace space;
  std::vector<float> periods;  ///< those that `space` holds
  HostBuffer host_tokens;      ///< [kTokenSlots, kTokenSlotRows]
  long long passes = 0;        ///< that chose tokens

  /// The tokens that such a pass chose, when it is done; for as long as
  /// kTokenSlots passes.
  const int* tokens_of(long long pass) const;
  /// Passes of so many rows and segments that have run, and their graphs.
  std::map<std::pair<int, int>, std::optional<Graph>> graphs;
  /// Clusters of 1, 2 and more blocks of a kernel that run at a time.
  std::map<const Kernel*, std::array<int, 8>> clusters;
  int graphs_growths = 0;  ///< the workspace's when they ran: it stays in place
};

}  // namespace llamlx
