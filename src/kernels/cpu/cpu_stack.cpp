#include <algorithm>
#include <atomic>
#include <cstring>
#include <stdexcept>

#include <mlx/backend/cpu/encoder.h>
#include <mlx/ops.h>
#include <mlx/primitives.h>
#include <mlx/utils.h>

#include "base/clock.h"
#include "base/concat.h"
#include "kernels/backend.h"
#include "kernels/cpu/cpu_pass.h"
#include "kernels/cpu/rows_of.h"
#include "kernels/held_weight.h"
#include "kernels/poison.h"

namespace llamlx {
namespace {

/// A node of the graph that a model computes on the CPU.
class CpuPrimitive : public mx::UnaryPrimitive {
 public:
  CpuPrimitive(mx::Stream stream, std::shared_ptr<CpuModel> model)
      : UnaryPrimitive(stream), model_(std::move(model)) {}

  void eval_gpu(const std::vector<mx::array>&, mx::array&) override {
    throw std::invalid_argument(concat(name(), " runs on the CPU alone"));
  }

 protected:
  const std::shared_ptr<CpuModel>& model() const { return model_; }

 private:
  std::shared_ptr<CpuModel> model_;
};

using Flag = std::shared_ptr<std::atomic<bool>>;

/// Steps 1 to 5. Inputs: ids [N], then what must be evaluated before, which is
/// the state of the caches.
class ForwardPrimitive final : public CpuPrimitive {
 public:
  ForwardPrimitive(mx::Stream stream, std::shared_ptr<CpuModel> model,
                   std::vector<CpuSegment> segments, const Rope& rope,
                   Flag is_abandoned)
      : CpuPrimitive(stream, std::move(model)),
        segments_(std::move(segments)),
        is_abandoned_(std::move(is_abandoned)),
        traditional_(rope.traditional),
        scale_(rope.scale) {}

  const char* name() const override { return "DecoderForward"; }

  void eval_cpu(const std::vector<mx::array>& inputs, mx::array& out) override {
    out.set_data(mx::allocator::malloc(out.nbytes()));
    mx::cpu::get_command_encoder(stream()).dispatch(
        [model = model(), segments = segments_, traditional = traditional_,
         scale = scale_, is_abandoned = is_abandoned_, ids = inputs[0],
         x = out.data<float>(), size = out.size()] {
          if (*is_abandoned) return poison(x, size);
          compute_or_poison(x, size, [&] {
            for (const auto& segment : segments) {
              segment.store->reserve(segment.offset + segment.length);
            }
            const auto tokens = rows_of<std::int32_t>(ids);
            const std::scoped_lock lock(model->running);
            CpuPass pass(*model, segments, traditional, scale, x);
            const auto start = Clock::now();
            run(pass, tokens.data(), *is_abandoned);
            if (pass.is_few()) {
              model->packer.go_on(*model, seconds_since(start));
            }
          });
        });
  }

  const Flag& is_abandoned() const { return is_abandoned_; }

 private:
  static void run(CpuPass& pass, const std::int32_t* tokens,
                  const std::atomic<bool>& is_abandoned) {
    const int layers = static_cast<int>(pass.model.layers.size());
    pass.model.pool->run([&](Worker& worker) {
      embed_cpu(worker, pass, tokens);
      for (int layer = 0; layer < layers && !pass.is_abandoned; ++layer) {
        qkv_cpu(worker, pass, layer);
        attention_cpu(worker, pass, layer);
        output_cpu(worker, pass, layer);
        // Written by one before a barrier and read by all after it: they end
        // together.
        if (worker.index() == 0) pass.is_abandoned = is_abandoned;
        mlp_cpu(worker, pass, layer);
      }
    });
  }

  std::vector<CpuSegment> segments_;
  Flag is_abandoned_;
  bool traditional_;
  float scale_;
};

/// Step 6. Input: x [M, D].
class LogitsPrimitive final : public CpuPrimitive {
 public:
  /// `is_abandoned`: of the pass that x comes from straight, or null.
  LogitsPrimitive(mx::Stream stream, std::shared_ptr<CpuModel> model,
                  Flag is_abandoned)
      : CpuPrimitive(stream, std::move(model)),
        is_abandoned_(std::move(is_abandoned)) {}

  const char* name() const override { return "DecoderLogits"; }

  void eval_cpu(const std::vector<mx::array>& inputs, mx::array& out) override {
    out.set_data(mx::allocator::malloc(out.nbytes()));
    mx::cpu::get_command_encoder(stream()).dispatch(
        [model = model(), is_abandoned = is_abandoned_, x = inputs[0],
         logits = out.data<float>(), size = out.size()] {
          if (is_abandoned && *is_abandoned) return poison(logits, size);
          compute_or_poison(logits, size, [&] {
            const auto rows = rows_of<float>(x);
            const std::scoped_lock lock(model->running);
            CpuPass pass(*model, x.shape(0), rows.data());
            model->pool->run(
                [&](Worker& worker) { logits_cpu(worker, pass, logits); });
          });
        });
  }

 private:
  Flag is_abandoned_;
};

class CpuStack final : public Stack {
 public:
  explicit CpuStack(std::shared_ptr<CpuModel> model)
      : model_(std::move(model)) {}

  const DecoderWeights& weights() const override { return model_->weights; }

  void warm_up() const override {
    const std::scoped_lock lock(model_->running);
    model_->packer.finish(*model_);
  }

  std::size_t spared_bytes(int rows) const override {
    if (rows > kFewRows) return 0;
    const std::scoped_lock lock(model_->running);
    return model_->packer.spared_bytes();
  }

  std::unique_ptr<KVCache> make_cache(int capacity) const override {
    const auto& heads = model_->params.heads;
    return std::make_unique<CpuKVCache>(
        CpuKVStore::Shape{model_->compute,
                          static_cast<int>(model_->layers.size()),
                          heads.num_key_value_heads, heads.head_dim},
        capacity);
  }

  mx::array forward(const mx::array& ids, const Rope& rope,
                    const Rows& rows) const override {
    std::vector<CpuSegment> segments;
    std::vector<mx::array> inputs{mx::astype(ids, mx::int32, stream())};
    const int pairs = model_->params.heads.head_dim / 2;
    const auto* periods = rope.periods.data<float>();
    for (const auto& [cache, length] : rows) {
      auto& ours = cpu_cache(*cache);
      segments.push_back(
          {ours.store(), ours.offset(), length, {periods, periods + pairs}});
      if (rope.periods.ndim() == 2) periods += pairs;
      const auto before = ours.state();
      inputs.insert(inputs.end(), before.begin(), before.end());
    }
    const auto is_abandoned = std::make_shared<std::atomic<bool>>(false);
    const mx::array x(
        {ids.shape(0), model_->hidden_size()}, mx::float32,
        std::make_shared<ForwardPrimitive>(
            stream(), model_, std::move(segments), rope, is_abandoned),
        std::move(inputs));
    for (const auto& segment : rows)
      cpu_cache(*segment.cache).set_last(x, is_abandoned);
    return x;
  }

  mx::array logits(const mx::array& x) const override {
    Flag is_abandoned;
    if (x.has_primitive()) {
      const auto* pass = dynamic_cast<ForwardPrimitive*>(&x.primitive());
      if (pass != nullptr) is_abandoned = pass->is_abandoned();
    }
    return {mx::Shape{x.shape(0), model_->lm_head.weight.rows},
            mx::float32,
            std::make_shared<LogitsPrimitive>(stream(), model_,
                                              std::move(is_abandoned)),
            {mx::astype(x, mx::float32, stream())}};
  }

 private:
  static mx::Stream stream() { return mx::default_stream(mx::Device::cpu); }

  std::shared_ptr<CpuModel> model_;
};

}  // namespace

Backend cpu_backend(mx::Dtype compute, int threads) {
  return {std::string(to_string(active_isa())), held_by_kernels,
          [type = value_type(compute), threads](DecoderWeights weights,
                                                StackParams params) {
            return std::make_shared<const CpuStack>(std::make_shared<CpuModel>(
                std::move(weights), std::move(params), type, threads));
          }};
}

}  // namespace llamlx
