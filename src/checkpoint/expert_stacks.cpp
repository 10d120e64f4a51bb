#include "checkpoint/expert_stacks.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <map>
#include <stdexcept>
#include <utility>

#include <mlx/transforms.h>

#include "base/concat.h"
#include "base/error.h"
#include "checkpoint/parameter_name.h"

namespace llamlx {
namespace {

/// A projection of a layer's mlp, by the names of both.
struct Projection {
  std::string_view block;
  std::string_view apart;
  std::string_view stacked;
};

constexpr Projection kProjections[] = {
    {"block_sparse_moe", "w1", "gate_proj"},
    {"block_sparse_moe", "w2", "down_proj"},
    {"block_sparse_moe", "w3", "up_proj"},
    {"mlp", "down_proj", "down_proj"},
    {"mlp", "gate_proj", "gate_proj"},
    {"mlp", "up_proj", "up_proj"},
};

constexpr std::string_view kApart = ".experts.";
constexpr std::string_view kStacked = ".switch_mlp.";
constexpr std::string_view kWeight = ".weight";

/// "mlp" of "model.layers.0.mlp".
std::string_view last_part(std::string_view module) {
  return module.substr(module.rfind('.') + 1);
}

/// The experts of one stack: their numbers, and what is said of each.
using Experts = std::map<int, WeightInfo>;

[[noreturn]] void refuse(const std::filesystem::path& file,
                         std::string_view tensor, std::string_view cause) {
  fail(ErrorCode::mismatch, file.string(),
       concat("tensor ", tensor, " ", cause),
       "take all files of the model from one source");
}

/// What is said of all of them together.
WeightInfo join(const std::string& stack, const Experts& experts,
                const TensorSet& tensors) {
  auto joined = experts.begin()->second;
  const auto& file = find(tensors, joined.name)->file->path();
  int next = 0;
  for (const auto& [expert, info] : experts) {
    if (expert != next) {
      refuse(file, expert_name(stack, next), "is missing");
    }
    if (info.shape != joined.shape || info.dtype != joined.dtype ||
        info.quantization != joined.quantization) {
      refuse(find(tensors, info.name)->file->path(), info.name,
             "differs from those of other experts in shape or type");
    }
    ++next;
  }
  joined.name = stack;
  joined.shape.insert(joined.shape.begin(), next);
  return joined;
}

}  // namespace

std::optional<ExpertName> parse_expert_name(std::string_view name) {
  const auto at = name.find(kApart);
  if (at == std::string_view::npos) return {};
  const auto parsed =
      parse_parameter_name(name, name.substr(0, at + kApart.size()));
  if (!parsed || !parsed->layer || parsed->part != kWeight) return {};
  const auto module = name.substr(0, at);
  const auto found =
      std::ranges::find_if(kProjections, [&](const Projection& row) {
        return row.block == last_part(module) && row.apart == parsed->module;
      });
  if (found == std::end(kProjections)) return {};
  return ExpertName{concat(module, kStacked, found->stacked, kWeight),
                    *parsed->layer};
}

std::string expert_name(std::string_view stack, int expert) {
  const auto at = stack.find(kStacked);
  const auto found =
      std::ranges::find_if(kProjections, [&](const Projection& row) {
        return at != std::string_view::npos &&
               row.block == last_part(stack.substr(0, at)) &&
               stack.substr(at) == concat(kStacked, row.stacked, kWeight);
      });
  if (found == std::end(kProjections)) {
    throw std::invalid_argument(
        concat("[expert_name] expected the weight of experts, got ", stack));
  }
  return concat(stack.substr(0, at), kApart, expert, ".", found->apart,
                kWeight);
}

std::vector<WeightInfo> join_experts(std::vector<WeightInfo> weights,
                                     const TensorSet& tensors) {
  std::map<std::string, Experts> stacks;
  std::vector<WeightInfo> joined;
  for (auto& info : weights) {
    if (const auto name = parse_expert_name(info.name)) {
      stacks[name->stack].emplace(name->expert, std::move(info));
    } else {
      joined.push_back(std::move(info));
    }
  }
  for (const auto& [stack, experts] : stacks) {
    if (const auto* whole = find(tensors, stack)) {
      refuse(whole->file->path(), stack,
             "holds experts that are stored one by one as well");
    }
    joined.push_back(join(stack, experts, tensors));
  }
  std::ranges::sort(joined, {}, &WeightInfo::name);
  return joined;
}

bool is_stack(const TensorSet& tensors, const WeightInfo& info) {
  return find(tensors, info.name) == nullptr;
}

Weight load_expert(const TensorSet& tensors, const WeightInfo& info,
                   int expert) {
  auto one = info;
  one.name = expert_name(info.name, expert);
  one.shape.erase(one.shape.begin());
  auto weight = as_one_of_many(load_weight(tensors, one));
  mx::eval(parts_of(weight));
  return weight;
}

Weight load_stack(const TensorSet& tensors, const WeightInfo& info) {
  const int count = info.shape.at(0);
  std::vector<mx::array> stacked;
  for (int expert = 0; expert < count; ++expert) {
    const auto parts = parts_of(load_expert(tensors, info, expert));
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (expert == 0) {
        auto shape = parts[i].shape();
        shape.front() = count;
        stacked.push_back(new_array(shape, parts[i].dtype()));
      }
      const auto bytes = parts[i].nbytes();
      std::memcpy(stacked[i].data<std::byte>() +
                      static_cast<std::size_t>(expert) * bytes,
                  parts[i].data<std::byte>(), bytes);
    }
  }
  Weight result{std::move(stacked.back()), {}, {}, info.quantization};
  stacked.pop_back();
  if (!stacked.empty()) {
    result.scales = std::move(stacked.back());
    stacked.pop_back();
  }
  if (!stacked.empty()) result.biases = std::move(stacked.back());
  return result;
}

}  // namespace llamlx
