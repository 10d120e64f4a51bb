#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include <mlx/stream.h>

#include "checkpoint/checkpoint.h"
#include "convert/conversion_plan.h"
#include "formats/tensor_writer.h"

namespace llamlx {

/// Reads the weights of a checkpoint one at a time, makes of each what a plan
/// says, and hands it to a writer.
///
/// Dense weights are quantised where they lie, by all threads. Else a weight is
/// computed in blocks of rows, several at once. So memory holds what was read
/// of one weight, or of one expert where they are stored one by one, its packed
/// result, and a few blocks.
///
/// Errors: those of Checkpoint::load() and TensorWriter; Error naming the
/// tensor: corrupt_file for values that are infinite or not a number,
/// unsupported for values too large for the type they should become.
class WeightConverter {
 public:
  /// The plan must be one of `checkpoint`; the writer must expect its tensors
  /// (planned_tensors()).
  WeightConverter(const Checkpoint& checkpoint, const ConversionPlan& plan,
                  TensorWriter& writer);

  /// Told how many more bytes have been made.
  using OnBytes = std::function<void(std::uint64_t)>;

  /// Writes the next weight of the plan.
  void write(const PlannedWeight& planned, const OnBytes& on_bytes) const;

 private:
  /// Writes a weight, or one of its pieces, or adds it to what is `packed`.
  void write_piece(const Weight& weight, const PlannedWeight& planned,
                   std::span<const std::int32_t> order,
                   std::vector<Weight>& packed, const OnBytes& on_bytes) const;
  Weight quantized(const mx::array& values, std::span<const std::int32_t> order,
                   const PlannedWeight& planned) const;
  void write_packed(const PlannedWeight& planned,
                    const std::vector<Weight>& blocks) const;
  /// The values of a block, or the block that is kept. Lazy.
  Weight compute(const Weight& block, const PlannedWeight& planned,
                 mx::Stream stream) const;
  void check_source(const Weight& block, const PlannedWeight& planned) const;
  void check_result(const Weight& block, const PlannedWeight& planned) const;
  [[noreturn]] void refuse_source(const PlannedWeight& planned) const;
  [[noreturn]] void refuse_result(const PlannedWeight& planned) const;

  const Checkpoint& checkpoint_;
  TensorWriter& writer_;
  int head_dim_;
};

}  // namespace llamlx
