#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "cpu/packed_bf16/packed_bf16.h"

namespace llamlx {

struct CpuLinear;
struct CpuModel;

/// Makes shorter copies (PackedBf16) of a decoder's weights for passes of few
/// rows, one layer after another while it answers. Making a copy takes as long
/// as it spares in 20 passes, or in 100 where the system has to find memory for
/// it first: so an eighth of the time is spent on it and no more, and a short
/// answer hardly waits for what long ones are quicker by. The results are the
/// same bits before and after.
///
/// The weights it copies stay for passes of many rows, but their pages are let
/// go, to come back from the file when they are needed. Nothing is packed where
/// weights and copies would not both fit what memory is available.
///
/// Threads: the caller is the only one who uses the model.
class WeightPacker {
 public:
  WeightPacker() = default;
  WeightPacker(const WeightPacker&) = delete;
  WeightPacker& operator=(const WeightPacker&) = delete;

  /// After a pass of few rows that took so long: packs one more layer of
  /// `model`, the same model each time, if it is time for one.
  void go_on(CpuModel& model, double pass_seconds);

  /// Packs all that is left.
  void finish(CpuModel& model);

  /// Bytes that passes of few rows read less, of what was packed so far.
  std::size_t spared_bytes() const { return spared_; }

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  using Memory = std::unique_ptr<std::byte, Free>;

  void pack_next(CpuModel& model);
  /// Whether there is memory for all; asked before the first layer.
  bool fits(CpuModel& model) const;
  void pack(CpuModel& model, const std::vector<CpuLinear*>& linears);
  static Memory large_pages(std::size_t bytes);

  bool is_done_ = false;
  std::size_t next_ = 0;  // of the layers; past the last comes the head
  std::vector<Memory> memory_;
  std::vector<std::unique_ptr<const PackedBf16>> packed_;
  std::size_t spared_ = 0;
  double credit_ = 0;  // seconds that may be spent
  double price_ = 0;   // what the last layer took of them
};

}  // namespace llamlx
