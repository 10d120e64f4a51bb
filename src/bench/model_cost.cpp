#include "bench/model_cost.h"

#include <algorithm>

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

double parameters_of(const ModelConfig& config) {
  double parameters = 0;
  for (const auto& spec : tensor_specs(config)) {
    const bool is_layer = spec.name.starts_with("model.layers.");
    if (spec.quantizable && is_layer) {
      parameters += static_cast<double>(element_count(spec.shape));
    }
  }
  return parameters;
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
                  std::size_t cache_value_bytes) {
  const auto embedding = static_cast<double>(weights.embed_tokens.nbytes());
  const auto head = static_cast<double>(weights.lm_head.weight.nbytes());
  const double vocabulary = config.vocab_size;
  ModelCost cost;
  cost.layer_bytes = static_cast<double>(weights.nbytes) - embedding -
                     (config.tie_word_embeddings ? 0 : head);
  cost.head_bytes = head;
  cost.embedding_bytes = embedding / vocabulary;
  cost.layer_flops = 2 * parameters_of(config);
  cost.head_flops = 2 * vocabulary * config.hidden_size;
  cost.cache_bytes = 2.0 * config.num_key_value_heads * config.head_dim *
                     static_cast<double>(cache_value_bytes);
  // Queries times keys, and weights times values.
  cost.attention_flops = 2 * 2.0 * config.num_attention_heads * config.head_dim;
  cost.windows = config.layer_windows;
  return cost;
}

Work prompt_work(const ModelCost& cost, int depth, int prompt, int chunk) {
  Work work{cost.head_bytes + cost.embedding_bytes * prompt,
            cost.head_flops + cost.layer_flops * prompt};
  for (int done = 0; done < prompt; done += chunk) {
    const int end = std::min(done + chunk, prompt);
    work.bytes += cost.layer_bytes;
    work += attention_work(cost, depth + done, depth + end);
  }
  return work;
}

Work generate_work(const ModelCost& cost, int depth, int steps, int batch) {
  Work work;
  for (int step = 0; step < steps; ++step) {
    const auto one = attention_work(cost, depth + step, depth + step + 1);
    work.bytes += cost.layer_bytes + cost.head_bytes +
                  batch * (one.bytes + cost.embedding_bytes);
    work.flops += batch * (cost.layer_flops + cost.head_flops + one.flops);
  }
  return work;
}

}  // namespace llamlx
