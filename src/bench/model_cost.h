#pragma once

#include "models/decoder.h"

namespace llamlx {

/// What has to be done at least, whoever does it.
struct Work {
  double bytes = 0;  ///< moved between memory and the processor
  double flops = 0;  ///< multiplications and additions

  Work& operator+=(const Work& other);
};
Work operator/(const Work& work, double parts);

/// What the passes of a model cost. Counted are: weights, read once in a pass,
/// of experts as many as rows go to that are spread evenly over them;
/// keys and values, those of the past read and those of the new rows written;
/// the rows of the embedding; the arithmetic of linear layers and of attention.
/// Norms, activations and what goes from step to step are left out: they fit
/// the caches, and are a few per cent of the arithmetic at most.
struct ModelCost {
  /// All weights but the embedding, the head, and experts.
  double layer_bytes = 0;
  double head_bytes = 0;          ///< of the weight that makes logits
  double embedding_bytes = 0;     ///< of one row
  double layer_flops = 0;         ///< linear layers, a token
  double head_flops = 0;          ///< a row of logits
  double cache_bytes = 0;         ///< one row of keys and values, a layer
  double attention_flops = 0;     ///< one query of one key, all heads, a layer
  std::vector<int> windows = {};  ///< as ModelConfig::layer_windows
  int experts = 0;                ///< of a layer that has some
  int experts_per_row = 0;
  double expert_bytes = 0;  ///< one expert of every layer that has some
};

/// `cached_bytes` is what a head's keys of a position take in the cache.
ModelCost cost_of(const ModelConfig& config, const DecoderWeights& weights,
                  std::size_t cached_bytes);

/// Of `prompt` tokens after `depth` others, `chunk` tokens a pass, and the
/// logits of the last one.
Work prompt_work(const ModelCost& cost, int depth, int prompt, int chunk);

/// Of `steps` passes that each add a token to `batch` sequences, which have
/// `depth` tokens before.
Work generate_work(const ModelCost& cost, int depth, int steps, int batch);

}  // namespace llamlx
