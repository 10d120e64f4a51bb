#include "checkpoint/tensor_set.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include <mlx/ops.h>

#include "base/concat.h"
#include "base/error.h"
#include "checkpoint/expert_stacks.h"

namespace llamlx {
namespace {

/// The type a weight stored as `dtype` is read in: MLX computes with float64 on
/// the CPU alone, and no model needs it.
std::optional<mx::Dtype> weight_dtype(const std::optional<mx::Dtype>& dtype) {
  if (dtype == mx::float64) return mx::float32;
  const bool is_weight =
      dtype == mx::float16 || dtype == mx::bfloat16 || dtype == mx::float32;
  return is_weight ? dtype : std::nullopt;
}

/// Finds the weights among a folder's tensors and checks them.
class WeightLister {
 public:
  WeightLister(const TensorSet& tensors, const QuantizationConfig& quantization)
      : tensors_(tensors), quantization_(quantization) {}

  std::vector<WeightInfo> list() const {
    std::vector<WeightInfo> weights;
    for (const auto& [name, found] : tensors_) {
      if (name.ends_with(".rotary_emb.inv_freq")) continue;
      const auto module = module_of(name);
      if (module.empty() || !is_quantised(module)) {
        weights.push_back(dense(name, found));
      } else if (name.ends_with(".weight")) {
        weights.push_back(quantised(name, module, found));
      }
    }
    return weights;
  }

 private:
  /// The module that `name` is a part of, if that part may be of a quantised
  /// weight.
  static std::string module_of(const std::string& name) {
    for (const std::string_view part : {".weight", ".scales", ".biases"}) {
      if (!name.ends_with(part)) continue;
      return name.substr(0, name.size() - part.size());
    }
    return {};
  }

  bool is_quantised(const std::string& module) const {
    return find(tensors_, module + ".scales") != nullptr &&
           find(tensors_, module + ".weight") != nullptr;
  }

  static WeightInfo dense(const std::string& name, const StoredTensor& found) {
    const auto& tensor = *found.tensor;
    const auto dtype = weight_dtype(tensor.dtype);
    if (!dtype) {
      const bool packed = tensor.dtype == mx::uint32;
      fail(ErrorCode::unsupported, found.file->path().string(),
           concat("tensor ", tensor.name, " has the type ", tensor.dtype_name,
                  packed ? " of packed weights, but no scales" : ""),
           "give weights in F16, BF16 or F32, or quantised by MLX");
    }
    return {name, tensor.shape, *dtype};
  }

  WeightInfo quantised(const std::string& name, const std::string& module,
                       const StoredTensor& weight) const {
    const auto& scales = *find(tensors_, module + ".scales");
    const auto* biases = find(tensors_, module + ".biases");
    const auto settings = quantization_.of(module);
    if (weight.tensor->dtype != mx::uint32) {
      refuse(weight, concat("has scales, but the type ",
                            weight.tensor->dtype_name, " and not U32"));
    }
    if (!settings.is_affine()) {
      check_bytes(weight, scales, biases, to_string(settings.mode));
      return {name, check_shapes(weight, scales, settings), mx::bfloat16,
              settings};
    }
    check_types(weight, scales, biases);
    auto shape = check_shapes(weight, scales, settings);
    if (biases->tensor->shape != scales.tensor->shape) {
      refuse(weight,
             concat("has scales of shape ", to_string(scales.tensor->shape),
                    " and biases of shape ", to_string(biases->tensor->shape)));
    }
    return {name, std::move(shape), *scales.tensor->dtype, settings};
  }

  /// Of affine mode.
  static void check_types(const StoredTensor& weight,
                          const StoredTensor& scales,
                          const StoredTensor* biases) {
    if (biases == nullptr) {
      refuse(weight, "is quantised, but has scales and no biases");
    }
    if (weight_dtype(scales.tensor->dtype) != scales.tensor->dtype ||
        scales.tensor->dtype != biases->tensor->dtype) {
      refuse(weight,
             concat("has scales of type ", scales.tensor->dtype_name,
                    " and biases of type ", biases->tensor->dtype_name));
    }
  }

  /// Of the modes whose scales are bytes.
  static void check_bytes(const StoredTensor& weight,
                          const StoredTensor& scales,
                          const StoredTensor* biases, const std::string& mode) {
    if (biases != nullptr) {
      refuse(weight, concat("has biases, which the mode ", mode, " has not"));
    }
    if (scales.tensor->dtype != mx::uint8) {
      refuse(weight, concat("has scales of type ", scales.tensor->dtype_name,
                            ", and those of the mode ", mode, " are U8"));
    }
  }

  /// Returns the logical shape.
  static mx::Shape check_shapes(const StoredTensor& weight,
                                const StoredTensor& scales,
                                const Quantization& settings) {
    auto shape = weight.tensor->shape;
    auto groups = scales.tensor->shape;
    const bool same_rank = shape.size() >= 2 && shape.size() == groups.size();
    if (!same_rank ||
        !std::equal(shape.begin(), shape.end() - 1, groups.begin())) {
      refuse(weight,
             concat("of shape ", to_string(shape),
                    " does not fit scales of shape ", to_string(groups)));
    }
    const auto columns = std::int64_t{groups.back()} * settings.group_size;
    const auto packed_bits = std::int64_t{shape.back()} * 32;
    if (packed_bits != columns * settings.bits ||
        !std::in_range<mx::ShapeElem>(columns)) {
      refuse(weight,
             concat("of shape ", to_string(shape), " with scales of shape ",
                    to_string(groups), " is not ", settings.bits,
                    " bits in groups of ", settings.group_size));
    }
    shape.back() = static_cast<mx::ShapeElem>(columns);
    return shape;
  }

  [[noreturn]] static void refuse(const StoredTensor& weight,
                                  std::string_view cause) {
    fail(ErrorCode::mismatch, weight.file->path().string(),
         concat("tensor ", weight.tensor->name, " ", cause),
         "take weights and config.json from one source");
  }

  const TensorSet& tensors_;
  const QuantizationConfig& quantization_;
};

}  // namespace

const StoredTensor* find(const TensorSet& tensors, std::string_view name) {
  const auto found = tensors.find(name);
  return found != tensors.end() ? &found->second : nullptr;
}

std::vector<WeightInfo> list_weights(const TensorSet& tensors,
                                     const QuantizationConfig& quantization) {
  return join_experts(WeightLister(tensors, quantization).list(), tensors);
}

Weight load_weight(const TensorSet& tensors, const WeightInfo& info) {
  const auto* data = find(tensors, info.name);
  if (data == nullptr) return load_stack(tensors, info);
  if (!info.quantization) {
    const auto values = data->read();
    if (values.dtype() == info.dtype) return {values};
    auto narrowed = mx::astype(values, info.dtype, mx::Device(mx::Device::cpu));
    narrowed.eval();
    return {std::move(narrowed)};
  }
  constexpr std::string_view kPart = ".weight";
  const auto module = info.name.substr(0, info.name.size() - kPart.size());
  Weight weight{data->read(),
                find(tensors, module + ".scales")->read(),
                {},
                info.quantization};
  if (const auto* biases = find(tensors, module + ".biases")) {
    weight.biases = biases->read();
  }
  return weight;
}

}  // namespace llamlx
