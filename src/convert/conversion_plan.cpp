#include "convert/conversion_plan.h"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "checkpoint/meta_names.h"
#include "convert/converted_config.h"
#include "convert/seed_config.h"
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
  return shape.size() >= 2 && shape.back() % quantization.group_size == 0;
}

/// Collects the names of weights that stay dense, by the last axis that is to
/// blame, and tells of them in one line each.
class LeftDense {
 public:
  void add(const WeightInfo& info) {
    names_[info.shape.back()].push_back(info.name);
  }

  void tell(int group_size, mx::Dtype dtype,
            std::vector<std::string>& notices) const {
    for (const auto& [axis, names] : names_) {
      const auto more = names.size() - 1;
      notices.push_back(concat(
          names.front(),
          more == 0 ? "" : concat(" and ", more, " more weights"),
          more == 0 ? " stays " : " stay ", to_string(dtype), ": groups of ",
          group_size, " do not divide a last axis of ", axis));
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

/// Whether the rows of `name` are turned by positions.
bool is_turned(std::string_view name) {
  return name.find(".self_attn.q_proj.") != std::string_view::npos ||
         name.find(".self_attn.k_proj.") != std::string_view::npos;
}

constexpr std::string_view kEmbeddings = "model.embed_tokens.weight";

class Planner {
 public:
  Planner(const Checkpoint& checkpoint, const ModelConfig& model,
          const ConvertOptions& options)
      : checkpoint_(checkpoint),
        model_(model),
        options_(options),
        for_seed_(options.layout == ModelLayout::seed),
        quantizes_embeddings_(options.quantize_embeddings.value_or(!for_seed_)),
        wanted_(wanted_quantization(options)),
        target_(target_dtype(checkpoint, options)) {
    for (auto& spec : tensor_specs(model)) {
      quantizable_.emplace(std::move(spec.name), spec.quantizable);
    }
  }

  ConversionPlan plan() {
    if (for_seed_ && model_.has_experts()) refuse_experts();
    ConversionPlan plan;
    plan.layout = options_.layout;
    plan.head_dim = model_.head_dim;
    for (const auto& info : checkpoint_.weights()) {
      check_dtype(checkpoint_, info);
      const auto spec = quantizable_.find(info.name);
      if (spec == quantizable_.end()) {
        plan.notices.push_back(
            concat(info.name, " is left out: the model does not use it"));
        continue;
      }
      plan.weights.push_back(
          decide(info, spec->second && is_wanted(info.name)));
      plan.parameters += element_count(info.shape);
    }
    if (for_seed_) {
      name_for_seed(plan.weights);
      note_for_seed(plan.notices);
    }
    std::ranges::sort(plan.weights, {}, &PlannedWeight::name);
    for (const auto& weight : plan.weights) {
      for (const auto& tensor : planned_tensors(weight)) {
        plan.weight_bytes += tensor.nbytes();
      }
    }
    left_dense_.tell(wanted_.group_size, target_, plan.notices);
    return plan;
  }

 private:
  bool is_wanted(const std::string& name) const {
    return quantizes_embeddings_ || name != kEmbeddings;
  }

  PlannedWeight decide(const WeightInfo& info, bool quantizable) {
    PlannedWeight weight{info, target_};
    if (model_.qk_norm && model_.rope.traditional) refuse_turned_norms();
    weight.is_reordered = !for_seed_ && checkpoint_.params() &&
                          model_.rope.traditional && is_turned(info.name);
    if (!options_.quantize && options_.dtype.empty()) {
      weight.dtype = info.dtype;
      weight.quantization = info.quantization;
      weight.is_kept = true;
      return weight;
    }
    if (options_.quantize && quantizable) {
      if (divides(wanted_, info.shape)) {
        weight.quantization = wanted_;
        return weight;
      }
      if (for_seed_) refuse_groups(info);
      left_dense_.add(info);
    }
    weight.is_kept = !info.quantization && info.dtype == target_;
    return weight;
  }

  /// llama.py expects every linear layer to be quantised, and an output layer
  /// of its own.
  void name_for_seed(std::vector<PlannedWeight>& weights) {
    if (model_.tie_word_embeddings) {
      auto output = decide(*checkpoint_.find(kEmbeddings), true);
      output.name = "lm_head.weight";
      weights.push_back(std::move(output));
    }
    for (auto& weight : weights) {
      const auto name = meta_name(weight.name);
      if (!name) refuse_name(weight.name);
      weight.name = *name;
    }
  }

  void note_for_seed(std::vector<std::string>& notices) const {
    if (is_known_to_llama_py(model_)) return;
    notices.push_back(
        "llama.py cannot run such a model (biases, norms of queries, windows "
        "or "
        "scaled positions): this folder is llamlx's alone");
  }

  [[noreturn]] void refuse_experts() const {
    fail(ErrorCode::unsupported, checkpoint_.path().string(),
         "is a mixture of experts, which have no names in the format npz",
         "choose the format safetensors");
  }

  [[noreturn]] void refuse_groups(const WeightInfo& info) const {
    fail(ErrorCode::unsupported, checkpoint_.path().string(),
         concat("groups of ", wanted_.group_size, " do not divide the ",
                info.shape.back(), " columns of ", info.name,
                ", and llama.py takes no linear layer that is not quantised"),
         "choose a smaller group size or the format safetensors");
  }

  [[noreturn]] void refuse_turned_norms() const {
    fail(ErrorCode::unsupported, checkpoint_.path().string(),
         "has norms of queries and keys, and rope_traditional",
         "no model is known that has both; correct the config");
  }

  [[noreturn]] void refuse_name(const std::string& name) const {
    fail(ErrorCode::unsupported, checkpoint_.path().string(),
         concat("tensor ", name, " has no name in the format npz"),
         "choose the format safetensors");
  }

  const Checkpoint& checkpoint_;
  const ModelConfig& model_;
  const ConvertOptions& options_;
  bool for_seed_;
  bool quantizes_embeddings_;
  Quantization wanted_;
  mx::Dtype target_;
  std::map<std::string, bool> quantizable_;
  LeftDense left_dense_;
};

}  // namespace

std::vector<PlannedTensor> planned_tensors(const PlannedWeight& weight) {
  const auto& name = weight.name;
  const auto& shape = weight.source.shape;
  if (!weight.quantization) return {{name, weight.dtype, shape}};
  const auto& q = *weight.quantization;
  auto packed = shape;
  auto groups = shape;
  groups.back() = shape.back() / q.group_size;
  // Whole: a group fills words.
  packed.back() = groups.back() * (q.group_size * q.bits / 32);
  const auto module = name.substr(0, name.rfind('.'));
  const PlannedTensor data = {name, mx::uint32, packed};
  if (!q.is_affine()) return {{module + ".scales", mx::uint8, groups}, data};
  return {{module + ".biases", weight.dtype, groups},
          {module + ".scales", weight.dtype, groups},
          data};
}

void check_options(const ConvertOptions& options) {
  if (!options.dtype.empty() && !float_dtype(options.dtype)) {
    throw std::invalid_argument(
        concat("dtype \"", options.dtype,
               "\" is not one of float16, bfloat16, float32"));
  }
  if (!options.quantize) return;
  const auto wanted = wanted_quantization(options);
  if (is_supported(wanted)) return;
  throw std::invalid_argument(concat(what_is_supported(wanted.mode), ", not ",
                                     wanted.bits, " bits in groups of ",
                                     wanted.group_size));
}

Quantization wanted_quantization(const ConvertOptions& options) {
  const auto mode = quantization_mode(options.mode);
  if (!mode) {
    throw std::invalid_argument(
        concat("mode \"", options.mode,
               "\" is not one of affine, mxfp4, mxfp8, nvfp4"));
  }
  auto wanted = default_quantization(*mode);
  wanted.bits = options.bits.value_or(wanted.bits);
  wanted.group_size = options.group_size.value_or(wanted.group_size);
  return wanted;
}

ConversionPlan plan_conversion(const Checkpoint& checkpoint,
                               const ModelConfig& model,
                               const ConvertOptions& options) {
  check_options(options);
  verify_tensors(model, checkpoint);
  auto plan = Planner(checkpoint, model, options).plan();
  plan.config = plan.layout == ModelLayout::seed
                    ? seed_config(checkpoint, model, plan.weights)
                    : OrderedJson(converted_config(checkpoint.config(), model,
                                                   plan.weights));
  return plan;
}

}  // namespace llamlx
