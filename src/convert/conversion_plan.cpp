#include "convert/conversion_plan.h"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "convert/converted_config.h"
#include "models/tensor_spec.h"

namespace llamlx {
namespace {

/// The type that most values of the checkpoint have; of quantised weights the
/// type of the scales counts.
mx::Dtype main_dtype(const std::vector<WeightInfo>& weights) {
  std::map<mx::Dtype::Val, std::pair<std::int64_t, mx::Dtype>> counts;
  for (const auto& info : weights) {
    const auto [row, is_new] =
        counts.try_emplace(info.dtype.val(), 0, info.dtype);
    row->second.first += element_count(info.shape);
  }
  std::pair<std::int64_t, mx::Dtype> main = {-1, mx::float32};
  for (const auto& [val, row] : counts) {
    if (row.first > main.first) main = row;
  }
  return main.second;
}

/// The one type of a conversion that computes values.
mx::Dtype target_dtype(const Checkpoint& checkpoint,
                       const ConvertOptions& options) {
  if (const auto dtype = float_dtype(options.dtype)) return *dtype;
  const bool is_packed = std::ranges::any_of(
      checkpoint.weights(),
      [](const WeightInfo& info) { return info.quantization.has_value(); });
  // The scales of a GGUF say nothing about the type its model was trained in.
  if (is_packed && checkpoint.format() == "gguf") return mx::bfloat16;
  return main_dtype(checkpoint.weights());
}

bool divides(const Quantization& quantization, const mx::Shape& shape) {
  return shape.size() == 2 && shape.back() % quantization.group_size == 0;
}

/// Collects the names of weights that stay dense, by the last axis that is to
/// blame, and tells of them in one line each.
class LeftDense {
 public:
  void add(const WeightInfo& info) {
    names_[info.shape.back()].push_back(info.name);
  }

  void tell(const ConvertOptions& options, mx::Dtype dtype,
            std::vector<std::string>& notices) const {
    for (const auto& [axis, names] : names_) {
      const auto more = names.size() - 1;
      notices.push_back(concat(
          names.front(),
          more == 0 ? "" : concat(" and ", more, " more weights"),
          more == 0 ? " stays " : " stay ", to_string(dtype), ": groups of ",
          options.group_size, " do not divide a last axis of ", axis));
    }
  }

 private:
  std::map<int, std::vector<std::string>> names_;
};

void check_dtype(const Checkpoint& checkpoint, const WeightInfo& info) {
  if (float_dtype(to_string(info.dtype))) return;
  fail(ErrorCode::unsupported, checkpoint.path().string(),
       concat("tensor ", info.name, " is of type ", to_string(info.dtype)),
       "float16, bfloat16 and float32 can be converted");
}

class Planner {
 public:
  Planner(const Checkpoint& checkpoint, const ModelConfig& model,
          const ConvertOptions& options)
      : checkpoint_(checkpoint),
        options_(options),
        target_(target_dtype(checkpoint, options)) {
    for (auto& spec : tensor_specs(model)) {
      quantizable_.emplace(std::move(spec.name), spec.quantizable);
    }
  }

  ConversionPlan plan() {
    ConversionPlan plan;
    for (const auto& info : checkpoint_.weights()) {
      check_dtype(checkpoint_, info);
      const auto spec = quantizable_.find(info.name);
      if (spec == quantizable_.end()) {
        plan.notices.push_back(
            concat(info.name, " is left out: the model does not use it"));
        continue;
      }
      plan.weights.push_back(decide(info, spec->second));
      plan.parameters += element_count(info.shape);
      for (const auto& tensor : planned_tensors(plan.weights.back())) {
        plan.weight_bytes += tensor.nbytes();
      }
    }
    left_dense_.tell(options_, target_, plan.notices);
    return plan;
  }

 private:
  PlannedWeight decide(const WeightInfo& info, bool quantizable) {
    if (!options_.quantize && options_.dtype.empty()) {
      return {info, info.dtype, info.quantization, true};
    }
    const Quantization wanted = {options_.bits, options_.group_size};
    if (options_.quantize && quantizable) {
      if (divides(wanted, info.shape)) return {info, target_, wanted};
      left_dense_.add(info);
    }
    const bool is_kept = !info.quantization && info.dtype == target_;
    return {info, target_, {}, is_kept};
  }

  const Checkpoint& checkpoint_;
  const ConvertOptions& options_;
  mx::Dtype target_;
  std::map<std::string, bool> quantizable_;
  LeftDense left_dense_;
};

}  // namespace

std::vector<PlannedTensor> planned_tensors(const PlannedWeight& weight) {
  const auto& [name, shape, dtype, stored] = weight.source;
  if (!weight.quantization) return {{name, weight.dtype, shape}};
  const auto [bits, group_size] = *weight.quantization;
  auto packed = shape;
  // Whole: a group of at least 32 values fills `bits` words.
  packed.back() = shape.back() / 32 * bits;
  auto groups = shape;
  groups.back() = shape.back() / group_size;
  const auto module = name.substr(0, name.rfind('.'));
  return {{module + ".biases", weight.dtype, groups},
          {module + ".scales", weight.dtype, groups},
          {name, mx::uint32, packed}};
}

void check_options(const ConvertOptions& options) {
  if (!options.dtype.empty() && !float_dtype(options.dtype)) {
    throw std::invalid_argument(
        concat("dtype \"", options.dtype,
               "\" is not one of float16, bfloat16, float32"));
  }
  if (!options.quantize) return;
  // Asked one at a time, to name the one that is wrong.
  if (!is_supported({options.bits, 64})) {
    throw std::invalid_argument(
        concat(options.bits, " bits are not one of 2, 3, 4, 5, 6, 8"));
  }
  if (!is_supported({4, options.group_size})) {
    throw std::invalid_argument(concat("group size ", options.group_size,
                                       " is not one of 32, 64, 128"));
  }
}

ConversionPlan plan_conversion(const Checkpoint& checkpoint,
                               const ModelConfig& model,
                               const ConvertOptions& options) {
  check_options(options);
  verify_tensors(model, checkpoint);
  auto plan = Planner(checkpoint, model, options).plan();
  plan.config = converted_config(checkpoint.config(), model, plan.weights);
  return plan;
}

}  // namespace llamlx
