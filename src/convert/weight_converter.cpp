#include "convert/weight_converter.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <span>
#include <utility>

#include <mlx/ops.h>
#include <mlx/transforms.h>
#include <mlx/utils.h>

#include "base/concat.h"
#include "base/cpu_count.h"
#include "base/error.h"
#include "checkpoint/rope_rows.h"
#include "convert/quantize_weight.h"
#include "tensor/finite.h"

namespace llamlx {
namespace {

// Enough to keep a thread busy for some milliseconds, little enough for a few
// of them not to count.
constexpr std::int64_t kBlockValues = std::int64_t{1} << 22;
constexpr int kMostStreams = 16;

/// One stream a processor. They are the thread's, and are never given back.
const std::vector<mx::Stream>& streams() {
  thread_local const std::vector<mx::Stream> kStreams = [] {
    std::vector<mx::Stream> made;
    const int count = std::clamp(cpu_count().usable, 1, kMostStreams);
    for (int i = 0; i < count; ++i) {
      made.push_back(mx::new_stream(mx::default_device()));
    }
    return made;
  }();
  return kStreams;
}

/// The blocks of rows of a weight, in the order they are written in.
class RowBlocks {
 public:
  RowBlocks(const Weight& weight, std::span<const std::int32_t> order)
      : weight_(weight), order_(order) {
    const auto shape = weight.shape();
    rows_ = shape.empty() ? 0 : shape.front();
    const auto row_values = element_count(shape) / std::max(rows_, 1);
    const auto fitting = kBlockValues / std::max<std::int64_t>(row_values, 1);
    step_ = static_cast<int>(std::clamp<std::int64_t>(fitting, 1, 1 << 30));
  }

  /// The next block; empty at the end. A weight without axes is one block.
  std::optional<Weight> next() {
    if (at_ > 0 && at_ >= rows_) return {};
    const int begin = std::exchange(at_, std::max(at_ + step_, 1));
    if (rows_ <= step_ && order_.empty()) return weight_;
    const int end = std::min(begin + step_, rows_);
    if (order_.empty()) return slice_rows(weight_, begin, end);
    return take_rows(
        weight_, mx::array(order_.data() + begin, {end - begin}, mx::int32));
  }

 private:
  const Weight& weight_;
  std::span<const std::int32_t> order_;
  int rows_ = 0;
  int step_ = 1;
  int at_ = 0;
};

/// Dense values in memory, that is: the kernel reads them there.
bool can_quantize_whole(const Weight& weight, const PlannedWeight& planned) {
  return planned.quantization && !weight.quantization &&
         weight.data.ndim() >= 2 && is_quantizable(weight.dtype()) &&
         is_quantizable(planned.dtype);
}

void evaluate(const std::vector<Weight>& weights) {
  std::vector<mx::array> all;
  for (const auto& weight : weights) {
    std::ranges::move(parts_of(weight), std::back_inserter(all));
  }
  mx::eval(std::move(all));
}

}  // namespace

WeightConverter::WeightConverter(const Checkpoint& checkpoint,
                                 const ConversionPlan& plan,
                                 TensorWriter& writer)
    : checkpoint_(checkpoint), writer_(writer), head_dim_(plan.head_dim) {}

void WeightConverter::write(const PlannedWeight& planned,
                            const OnBytes& on_bytes) const {
  std::vector<std::int32_t> order;
  if (planned.is_reordered) {
    order = hugging_face_row_order(planned.source.shape.front(), head_dim_);
  }
  std::vector<Weight> packed;
  const int pieces = checkpoint_.pieces_of(planned.source);
  for (int piece = 0; piece < pieces; ++piece) {
    const auto weight = pieces == 1
                            ? checkpoint_.load(planned.source)
                            : checkpoint_.load_piece(planned.source, piece);
    write_piece(weight, planned, order, packed, on_bytes);
  }
  if (planned.quantization) write_packed(planned, packed);
}

void WeightConverter::write_piece(const Weight& weight,
                                  const PlannedWeight& planned,
                                  std::span<const std::int32_t> order,
                                  std::vector<Weight>& packed,
                                  const OnBytes& on_bytes) const {
  if (can_quantize_whole(weight, planned)) {
    packed.push_back(quantized(weight.data, order, planned));
    return on_bytes(packed.back().nbytes());
  }
  RowBlocks source(weight, order);
  for (auto block = source.next(); block;) {
    std::vector<Weight> blocks;
    for (const auto& stream : streams()) {
      if (!block) break;
      check_source(*block, planned);
      blocks.push_back(compute(*block, planned, stream));
      block = source.next();
    }
    evaluate(blocks);
    for (auto& done : blocks) {
      if (!planned.is_kept) {
        check_result(done, planned);
        if (planned.quantization) done = quantized(done.data, {}, planned);
      }
      const auto nbytes = done.nbytes();
      if (planned.quantization) {
        packed.push_back(std::move(done));
      } else {
        writer_.append_rows(planned.name, done.data);
      }
      on_bytes(nbytes);
    }
  }
}

Weight WeightConverter::quantized(const mx::array& values,
                                  std::span<const std::int32_t> order,
                                  const PlannedWeight& planned) const {
  auto [weight, finiteness] = quantize_weight(
      row_by_row(values), order, planned.dtype, *planned.quantization);
  if (!finiteness.source) refuse_source(planned);
  if (!finiteness.result) refuse_result(planned);
  return std::move(weight);
}

void WeightConverter::write_packed(const PlannedWeight& planned,
                                   const std::vector<Weight>& blocks) const {
  const auto tensors = planned_tensors(planned);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    for (const auto& block : blocks) {
      writer_.append_rows(tensors[i].name, parts_of(block)[i]);
    }
  }
}

Weight WeightConverter::compute(const Weight& block,
                                const PlannedWeight& planned,
                                mx::Stream stream) const {
  if (planned.is_kept) return block;
  const mx::StreamContext context(stream);
  return {dequantize(block, planned.dtype)};
}

void WeightConverter::check_source(const Weight& block,
                                   const PlannedWeight& planned) const {
  if (!all_finite(block)) refuse_source(planned);
}

void WeightConverter::check_result(const Weight& block,
                                   const PlannedWeight& planned) const {
  if (!all_finite(block)) refuse_result(planned);
}

void WeightConverter::refuse_source(const PlannedWeight& planned) const {
  fail(ErrorCode::corrupt_file, checkpoint_.path().string(),
       concat("tensor ", planned.source.name,
              " has values that are infinite or not a number"),
       "take the weights from the model's source again");
}

void WeightConverter::refuse_result(const PlannedWeight& planned) const {
  fail(ErrorCode::unsupported, checkpoint_.path().string(),
       concat("tensor ", planned.source.name, " has values too large for ",
              to_string(planned.dtype)),
       planned.dtype == mx::float16 ? "use bfloat16 (--dtype bfloat16)"
                                    : "use float32 (--dtype float32)");
}

}  // namespace llamlx
