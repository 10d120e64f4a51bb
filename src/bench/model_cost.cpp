#include "bench/model_cost.h"

#include <algorithm>
#include <cmath>

#include "models/tensor_spec.h"

namespace llamlx {
namespace {

/// How many positions a layer of this window has before `row` to look at.
double past_of(int row, int window) {
  return window == 0 ? row : std::min(row, window - 1);
}

/// Attention of rows [begin, end) of one sequence that go through together.
Work attention_work(const ModelCost& cost, int begin, int end) {
  Work work;
  for (const int window : cost.windows) {
    work.bytes += cost.cache_bytes * (past_of(begin, window) + end - begin);
    for (int row = begin; row < end; ++row) {
      work.flops += cost.attention_flops * (past_of(row, window) + 1);
    }
  }
  return work;
}

/// Those that a token is multiplied with.
double parameters_of(const ModelConfig& config) {
  double parameters = 0;
  for (const auto& spec : tensor_specs(config)) {
    const bool is_layer = spec.name.starts_with("model.layers.");
    if (!is_layer || spec.shape.size() == 1) continue;
    auto count = static_cast<double>(element_count(spec.shape));
    if (is_of_experts(spec)) {
      count *= double(config.moe.num_experts_per_tok) / spec.shape.front();
    }
    parameters += count;
  }
  return parameters;
}

/// The bytes of all experts.
double expert_bytes(const DecoderWeights& weights) {
  std::size_t bytes = 0;
  for (const auto& [qkv, o_proj, mlp] : weights.layers) {
    if (!mlp.router) continue;
    for (const auto* linear : {&mlp.gate_proj, &mlp.up_proj, &mlp.down_proj}) {
      bytes += linear->weight.nbytes();
    }
  }
  return static_cast<double>(bytes);
}

/// The weights of layers that a pass of so many rows reads. An expert is left
/// out by a row as often as it is not one of its own.
double layer_bytes(const ModelCost& cost, int rows) {
  if (cost.experts == 0) return cost.layer_bytes;
  const double left_out = 1 - double(cost.experts_per_row) / cost.experts;
  const double read = cost.experts * (1 - std::pow(left_out, rows));
  return cost.layer_bytes + read * cost.expert_bytes;
}

}  // namespace

Work& Work::operator+=(const Work& other) {
  bytes += other.bytes;
  flops += other.flops;
  return *this;
}

Work operator/(const Work& work, double parts) {
  return {work.bytes / parts, work.flops / parts};
}

ModelCost cost_of(const ModelConfig& config, const DecoderWeights& weights,
                  std::size_t cached_bytes) {
  const auto embedding = static_cast<double>(weights.embed_tokens.nbytes());
  const auto head = static_cast<double>(weights.lm_head.weight.nbytes());
  const double vocabulary = config.vocab_size;
  ModelCost cost;
  const double experts = expert_bytes(weights);
  cost.layer_bytes = static_cast<double>(weights.nbytes) - embedding - experts -
                     (config.tie_word_embeddings ? 0 : head);
  cost.head_bytes = head;
  cost.embedding_bytes = embedding / vocabulary;
  cost.layer_flops = 2 * parameters_of(config);
  cost.head_flops = 2 * vocabulary * config.hidden_size;
  cost.cache_bytes =
      2.0 * config.num_key_value_heads * static_cast<double>(cached_bytes);
  // Queries times keys, and weights times values.
  cost.attention_flops = 2 * 2.0 * config.num_attention_heads * config.head_dim;
  cost.windows = config.layer_windows;
  cost.experts = config.moe.num_experts;
  cost.experts_per_row = config.moe.num_experts_per_tok;
  cost.expert_bytes = experts / std::max(cost.experts, 1);
  return cost;
}

Work prompt_work(const ModelCost& cost, int depth, int prompt, int chunk) {
  Work work{cost.head_bytes + cost.embedding_bytes * prompt,
            cost.head_flops + cost.layer_flops * prompt};
  for (int done = 0; done < prompt; done += chunk) {
    const int end = std::min(done + chunk, prompt);
    work.bytes += layer_bytes(cost, end - done);
    work += attention_work(cost, depth + done, depth + end);
  }
  return work;
}

Work generate_work(const ModelCost& cost, int depth, int steps, int batch) {
  Work work;
  for (int step = 0; step < steps; ++step) {
    const auto one = attention_work(cost, depth + step, depth + step + 1);
    work.bytes += layer_bytes(cost, batch) + cost.head_bytes +
                  batch * (one.bytes + cost.embedding_bytes);
    work.flops += batch * (cost.layer_flops + cost.head_flops + one.flops);
  }
  return work;
}

}  // namespace llamlx
