#include "kernels/attention/attention.h"
#include "kernels/backend.h"
#include "kernels/embed/embed.h"
#include "kernels/held_weight.h"
#include "kernels/logits/logits.h"
#include "kernels/output/output.h"

namespace llamlx {
namespace {

class MlxStack final : public Stack {
 public:
  MlxStack(DecoderWeights weights, StackParams params)
      : weights_(std::move(weights)), params_(std::move(params)) {}

  const DecoderWeights& weights() const override { return weights_; }

  std::unique_ptr<KVCache> make_cache(int capacity) const override {
    return std::make_unique<ContiguousKVCache>(
        static_cast<int>(weights_.layers.size()), capacity);
  }

  mx::array forward(const mx::array& ids, const Rope& rope,
                    const Rows& rows) const override {
    const QkvParams qkv{params_.heads, rope, params_.rms_norm_eps};
    // What is not packed is of the type that is computed in.
    auto x = embed_mlx(ids, weights_.embed_tokens, weights_.norm.dtype());
    for (std::size_t i = 0; i < weights_.layers.size(); ++i) {
      const auto& layer = weights_.layers[i];
      const int index = static_cast<int>(i);
      const auto q = qkv_mlx(x, layer.qkv, qkv, index, rows);
      const auto heads = attention_mlx(q, index, params_.windows[i], rows);
      x = output_mlx(heads, layer.o_proj, x);
      x = layer.mlp.router
              ? experts_mlx(x, layer.mlp, params_.experts, params_.rms_norm_eps)
              : mlp_mlx(x, layer.mlp, params_.rms_norm_eps);
    }
    return x;
  }

  mx::array logits(const mx::array& x) const override {
    return logits_mlx(x, weights_.norm, weights_.lm_head, params_.rms_norm_eps);
  }

 private:
  DecoderWeights weights_;
  StackParams params_;
};

}  // namespace

Backend mlx_backend() {
  return {"mlx", held_by_ops, [](DecoderWeights weights, StackParams params) {
            return std::make_shared<const MlxStack>(std::move(weights),
                                                    std::move(params));
          }};
}

}  // namespace llamlx
