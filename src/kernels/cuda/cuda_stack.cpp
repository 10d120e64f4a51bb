#include <algorithm>
#include <stdexcept>

#include <mlx/backend/cpu/encoder.h>
#include <mlx/ops.h>
#include <mlx/primitives.h>
#include <mlx/stream.h>
#include <mlx/utils.h>

#include "base/concat.h"
#include "cuda/token/argmax.h"
#include "kernels/argmax/argmax.h"
#include "kernels/backend.h"
#include "kernels/cpu/rows_of.h"
#include "kernels/cuda/choose.h"
#include "kernels/cuda/cuda_pass.h"
#include "kernels/held_weight.h"
#include "kernels/poison.h"

namespace llamlx {
namespace {

using Flag = std::shared_ptr<std::atomic<bool>>;

/// Passes are put into the GPU's stream by MLX's stream of the CPU; who waits
/// for what they give does so in another, so that the next can be put in. Both
/// are the calling thread's: MLX lets it use no others.
mx::Stream launching_stream() { return mx::default_stream(mx::Device::cpu); }
mx::Stream waiting_stream() {
  thread_local const auto stream = mx::new_stream(mx::Device::cpu);
  return stream;
}

/// What a pass that chooses leaves, when it is put in, for who waits for its
/// tokens and for the pass that reads them where they lie.
struct ChoiceTicket {
  Event done;
  long long pass = -1;  // -1: it was not run
};

/// The tokens that a model chose last, before anyone has seen them.
struct ChosenTokens {
  mx::array tokens;
  mx::array launched;  // is evaluated once their pass is put in
  std::shared_ptr<const ChoiceTicket> ticket;
};

/// Of each model, by the thread that builds its graph.
class ChosenTokensOf {
 public:
  std::optional<ChosenTokens> get() const {
    const std::scoped_lock lock(mutex_);
    return chosen_;
  }
  void set(ChosenTokens chosen) {
    const std::scoped_lock lock(mutex_);
    chosen_ = std::move(chosen);
  }

 private:
  mutable std::mutex mutex_;
  std::optional<ChosenTokens> chosen_;
};

/// A pass that somebody may want.
struct PassPlan {
  std::shared_ptr<CudaModel> model;
  std::vector<CudaSegment> segments;
  std::shared_ptr<ChosenTokensOf> chosen;  // by the last pass that did
  CudaRope rope;
  Flag is_abandoned;
  std::weak_ptr<CudaPassState> state;  // of the caches
  CudaWanted wanted;
};

class CudaPrimitive : public mx::UnaryPrimitive {
 public:
  using UnaryPrimitive::UnaryPrimitive;
  void eval_gpu(const std::vector<mx::array>&, mx::array&) override {
    throw std::invalid_argument(
        concat(name(), " is put into its stream by the CPU"));
  }
};

/// Steps 1 to 5. Inputs: ids [N], then what must be evaluated before, which is
/// the state of the caches.
class CudaForward final : public CudaPrimitive {
 public:
  CudaForward(mx::Stream stream, PassPlan plan)
      : CudaPrimitive(stream), plan_(std::move(plan)) {}

  const char* name() const override { return "CudaForward"; }

  void eval_cpu(const std::vector<mx::array>& inputs, mx::array& out) override {
    out.set_data(mx::allocator::malloc(out.nbytes()));
    mx::cpu::get_command_encoder(stream()).dispatch(
        [plan = plan_, ids = inputs[0], x = out.data<float>(),
         size = out.size()] {
          if (*plan.is_abandoned) return poison(x, size);
          compute_or_poison(x, size, [&] {
            auto& model = *plan.model;
            const auto tokens = rows_of<std::int32_t>(ids);
            const std::scoped_lock lock(model.running);
            cuda_device();
            run_layers(model, plan.segments, plan.rope, tokens.data(),
                       plan.wanted, x);
          });
        });
  }

  const PassPlan& plan() const { return plan_; }

 private:
  PassPlan plan_;
};

/// Hidden states [M, D] on the GPU.
const float* upload_states(CudaModel& model, const mx::array& x) {
  const auto rows = rows_of<float>(x);
  cuda_device();
  auto* on_device = model.space.x.reserve<float>(x.size());
  upload(model.stream, on_device, rows.data(), x.nbytes());
  return on_device;
}

/// Step 6. Input: x [M, D].
class CudaLogits final : public CudaPrimitive {
 public:
  CudaLogits(mx::Stream stream, std::shared_ptr<CudaModel> model)
      : CudaPrimitive(stream), model_(std::move(model)) {}

  const char* name() const override { return "CudaLogits"; }
  const std::shared_ptr<CudaModel>& model() const { return model_; }

  void eval_cpu(const std::vector<mx::array>& inputs, mx::array& out) override {
    out.set_data(mx::allocator::malloc(out.nbytes()));
    mx::cpu::get_command_encoder(stream()).dispatch(
        [model = model_, x = inputs[0], logits = out.data<float>(),
         size = out.size()] {
          compute_or_poison(logits, size, [&] {
            const std::scoped_lock lock(model->running);
            run_logits(*model, upload_states(*model, x), x.shape(0));
            download(model->stream, logits,
                     model->space.logits.as<const float>(),
                     size * sizeof(float));
          });
        });
  }

 private:
  std::shared_ptr<CudaModel> model_;
};

/// All steps and the choice of tokens, which are left on the GPU. Inputs: as
/// CudaForward's, or the ticket of the pass whose tokens are read. Output: a
/// number that means nothing. What it throws the caches tell (check()).
class CudaChoose final : public CudaPrimitive {
 public:
  CudaChoose(mx::Stream stream, PassPlan plan, const cuda::Draw& draw,
             std::shared_ptr<const ChoiceTicket> before)
      : CudaPrimitive(stream),
        plan_(std::move(plan)),
        draw_(draw),
        before_(std::move(before)),
        ticket_(std::make_shared<ChoiceTicket>()) {}

  const char* name() const override { return "CudaChoose"; }

  void eval_cpu(const std::vector<mx::array>& inputs, mx::array& out) override {
    out.set_data(mx::allocator::malloc(out.nbytes()));
    out.data<std::int32_t>()[0] = 0;
    mx::cpu::get_command_encoder(stream()).dispatch(
        [plan = plan_, draw = draw_, before = before_, ticket = ticket_,
         ids = inputs[0]] {
          // Who reads tokens of a pass that failed is told of that one.
          if (*plan.is_abandoned || (before && before->pass < 0)) return;
          try {
            run(plan, draw, before.get(), *ticket, ids);
          } catch (...) {
            // MLX's stream would keep the text alone, and for anyone.
            for (const auto& segment : plan.segments) {
              segment.store->set_failure(std::current_exception());
            }
          }
        });
  }

  const std::shared_ptr<ChoiceTicket>& ticket() const { return ticket_; }

 private:
  static void run(const PassPlan& plan, const cuda::Draw& draw,
                  const ChoiceTicket* before, ChoiceTicket& ticket,
                  const mx::array& ids) {
    auto& model = *plan.model;
    const std::scoped_lock lock(model.running);
    cuda_device();
    if (before != nullptr) {
      run_and_choose(model, plan.segments, plan.rope, given(model, *before),
                     draw);
    } else {
      const auto tokens = rows_of<std::int32_t>(ids);
      run_and_choose(model, plan.segments, plan.rope, tokens.data(), draw);
    }
    ticket.done.record(model.stream);
    ticket.pass = model.passes - 1;
  }

  /// The tokens of the pass before: null, where they still lie on the GPU; the
  /// machine's copy, where another thread's pass has taken their place.
  static const std::int32_t* given(const CudaModel& model,
                                   const ChoiceTicket& before) {
    if (before.pass + 1 == model.passes) return nullptr;
    if (model.passes - before.pass >= cuda::kTokenSlots) {
      throw std::logic_error("the tokens to go on from are gone");
    }
    before.done.synchronize();
    return model.tokens_of(before.pass);
  }

  PassPlan plan_;
  cuda::Draw draw_;
  std::shared_ptr<const ChoiceTicket> before_;
  std::shared_ptr<ChoiceTicket> ticket_;
};

/// The tokens of such a pass [rows]. Input: its output.
class CudaTokensOf final : public CudaPrimitive {
 public:
  CudaTokensOf(mx::Stream stream, std::shared_ptr<CudaModel> model,
               std::shared_ptr<ChoiceTicket> ticket)
      : CudaPrimitive(stream),
        model_(std::move(model)),
        ticket_(std::move(ticket)) {}

  const char* name() const override { return "CudaTokens"; }

  void eval_cpu(const std::vector<mx::array>&, mx::array& out) override {
    out.set_data(mx::allocator::malloc(out.nbytes()));
    mx::cpu::get_command_encoder(stream()).dispatch(
        [model = model_, ticket = ticket_, tokens = out.data<std::int32_t>(),
         rows = out.size()] {
          std::fill_n(tokens, rows, kNotFinite);
          if (ticket->pass < 0) return;
          cuda_device();
          ticket->done.synchronize();
          std::copy_n(model->tokens_of(ticket->pass), rows, tokens);
        });
  }

 private:
  std::shared_ptr<CudaModel> model_;
  std::shared_ptr<ChoiceTicket> ticket_;
};

/// Step 6 and the choice of tokens [M], of hidden states that are there
/// already: a prompt's. Input: x [M, D].
class CudaChooseAfter final : public CudaPrimitive {
 public:
  CudaChooseAfter(mx::Stream stream, std::shared_ptr<CudaModel> model,
                  const cuda::Draw& draw)
      : CudaPrimitive(stream), model_(std::move(model)), draw_(draw) {}

  const char* name() const override { return "CudaChooseAfter"; }

  void eval_cpu(const std::vector<mx::array>& inputs, mx::array& out) override {
    out.set_data(mx::allocator::malloc(out.nbytes()));
    mx::cpu::get_command_encoder(stream()).dispatch(
        [model = model_, draw = draw_, x = inputs[0],
         tokens = out.data<std::int32_t>(), size = out.size()] {
          std::fill_n(tokens, size, kNotFinite);
          const std::scoped_lock lock(model->running);
          choose_after(*model, upload_states(*model, x), x.shape(0), draw);
          model->stream.synchronize();
          std::copy_n(model->tokens_of(model->passes - 1), size, tokens);
        });
  }

 private:
  std::shared_ptr<CudaModel> model_;
  cuda::Draw draw_;
};

/// The primitive of an array that has not been evaluated, if it is a P.
template <typename P>
const P* unevaluated(const mx::array& x) {
  if (x.status() != mx::array::Status::unscheduled || !x.has_primitive()) {
    return nullptr;
  }
  return dynamic_cast<const P*>(&x.primitive());
}

class CudaStack final : public Stack {
 public:
  explicit CudaStack(std::shared_ptr<CudaModel> model)
      : model_(std::move(model)) {}

  const DecoderWeights& weights() const override { return model_->weights; }

  std::unique_ptr<KVCache> make_cache(int capacity) const override {
    cuda_device();
    return std::make_unique<CudaKVCache>(
        kv_shape(model_->params, model_->cached), capacity);
  }

  mx::array forward(const mx::array& ids, const Rope& rope,
                    const Rows& rows) const override {
    return forward(ids, rope, rows, CudaWanted::all, ids.shape(0));
  }
  mx::array forward_last(const mx::array& ids, const Rope& rope,
                         const Rows& rows) const override {
    return forward(ids, rope, rows, CudaWanted::last,
                   static_cast<int>(rows.size()));
  }

  int prefill_rows() const override { return kCudaPrefillRows; }

  std::size_t spared_bytes(int rows) const override {
    return rows == 1 && model_->decode ? model_->decode->spared_bytes() : 0;
  }

  mx::array logits(const mx::array& x) const override {
    return {mx::Shape{x.shape(0), model_->vocab_size()},
            mx::float32,
            std::make_shared<CudaLogits>(stream(), model_),
            {mx::astype(x, mx::float32, stream())}};
  }

 private:
  static mx::Stream stream() { return launching_stream(); }

  /// `count` hidden states.
  mx::array forward(const mx::array& ids, const Rope& rope, const Rows& rows,
                    CudaWanted wanted, int count) const {
    std::vector<mx::array> inputs{mx::astype(ids, mx::int32, stream())};
    auto state = std::make_shared<CudaPassState>();
    PassPlan plan{model_,
                  {},
                  chosen_,
                  {rope.traditional, rope.scale, {}},
                  state->is_abandoned,
                  state,
                  wanted};
    const auto* periods = rope.periods.data<float>();
    plan.rope.periods.assign(periods, periods + rope.periods.size());
    for (const auto& [cache, length] : rows) {
      auto& ours = cuda_cache(*cache);
      plan.segments.push_back({ours.store(), ours.offset(), length});
      const auto before = ours.state();
      inputs.insert(inputs.end(), before.begin(), before.end());
    }
    const mx::array x({count, model_->hidden_size()}, mx::float32,
                      std::make_shared<CudaForward>(stream(), std::move(plan)),
                      std::move(inputs));
    state->done = x;
    for (const auto& [cache, length] : rows) {
      cuda_cache(*cache).set_last(state, length);
    }
    return x;
  }

  std::shared_ptr<CudaModel> model_;
  std::shared_ptr<ChosenTokensOf> chosen_ = std::make_shared<ChosenTokensOf>();
};

}  // namespace

std::optional<mx::array> choose_on_gpu(const mx::array& logits,
                                       float temperature, std::uint64_t key) {
  const auto* step = unevaluated<CudaLogits>(logits);
  if (step == nullptr || logits.shape(0) > kMostChoices) return {};
  const cuda::Draw draw{
      std::min(temperature, cuda::kHighestTemperature),
      {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)}};
  const auto& x = logits.inputs().front();
  const int rows = x.shape(0);
  const auto* forward = unevaluated<CudaForward>(x);
  const auto state =
      forward == nullptr ? nullptr : forward->plan().state.lock();
  const bool is_of_single_tokens =
      state && x.inputs().front().shape(0) == rows &&
      rows == static_cast<int>(forward->plan().segments.size());
  if (!is_of_single_tokens) {
    return mx::array(mx::Shape{rows}, mx::int32,
                     std::make_shared<CudaChooseAfter>(launching_stream(),
                                                       step->model(), draw),
                     {x});
  }
  const auto& plan = forward->plan();
  auto inputs = x.inputs();
  std::shared_ptr<const ChoiceTicket> before;
  const auto chosen = plan.chosen->get();
  if (chosen && chosen->tokens.id() == inputs.front().id()) {
    before = chosen->ticket;
    inputs.front() = chosen->launched;
  }
  auto chooses = std::make_shared<CudaChoose>(launching_stream(), plan, draw,
                                              std::move(before));
  const auto ticket = chooses->ticket();
  const mx::array launched(mx::Shape{1}, mx::int32, std::move(chooses),
                           std::move(inputs));
  const mx::array tokens(
      mx::Shape{rows}, mx::int32,
      std::make_shared<CudaTokensOf>(waiting_stream(), plan.model, ticket),
      {launched});
  state->done = launched;
  plan.chosen->set({tokens, launched, ticket});
  return tokens;
}

Backend cuda_backend(mx::Dtype compute, int kv_bits) {
  return {
      concat("cuda, sm_", cuda_device().compute_capability),
      held_by_cuda_kernels,
      [=](DecoderWeights weights, StackParams params) {
        return std::make_shared<const CudaStack>(std::make_shared<CudaModel>(
            std::move(weights), std::move(params), compute, kv_bits));
      },
      is_read_by_cuda_kernels};
}

}  // namespace llamlx
