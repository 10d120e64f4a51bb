#include "generate/generator.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>

#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "base/clock.h"
#include "base/concat.h"
#include "base/error.h"
#include "base/system_memory.h"
#include "generate/stop_matcher.h"
#include "generate/token_loop.h"

namespace llamlx {
namespace {

mx::array to_array(std::span<const std::int32_t> ids) {
  return mx::array(ids.begin(), {static_cast<int>(ids.size())}, mx::int32);
}

/// Hands out the text of the tokens of one generation.
class TextStream {
 public:
  TextStream(const Tokenizer* tokenizer, const std::vector<std::string>& stop,
             const StreamFn& on_delta)
      : stop_(stop), on_delta_(on_delta) {
    if (tokenizer != nullptr) stream_ = tokenizer->decode_stream();
  }

  /// False: the caller wants no more.
  bool add(std::int32_t token, Result& result) {
    return emit(stop_.add(stream_ ? stream_->add(token) : ""), token, result);
  }

  /// A stop string was found: the text has ended.
  bool stopped() const { return stop_.stopped(); }

  void finish(Result& result) {
    auto rest = stop_.add(stream_ ? stream_->finish() : "");
    rest += stop_.finish();
    // Who cancelled is not called again.
    if (result.finish_reason == FinishReason::cancelled) {
      result.text += rest;
      return;
    }
    if (!rest.empty()) emit(rest, {}, result);
    if (stopped()) result.finish_reason = FinishReason::stop;
    result.stop_text = stop_.found();
  }

 private:
  bool emit(const std::string& text, std::optional<std::int32_t> token,
            Result& result) {
    result.text += text;
    return !on_delta_ || on_delta_({text, token});
  }

  StopMatcher stop_;
  const StreamFn& on_delta_;
  std::unique_ptr<DecodeStream> stream_;
};

/// The number of tokens there is room for after the prompt.
int room_for(const Decoder& decoder, std::size_t prompt_length,
             const GenerateOptions& options) {
  const auto context =
      static_cast<std::size_t>(decoder.config().context_length());
  if (context == 0) return options.max_tokens;
  if (prompt_length > context) {
    fail(ErrorCode::context_overflow, "the prompt",
         concat("has ", prompt_length, " tokens, and the model's context is ",
                context),
         "shorten the prompt");
  }
  // The token after a full context can still be predicted, but not read.
  const auto room = context - prompt_length + 1;
  return static_cast<int>(
      std::min(room, static_cast<std::size_t>(options.max_tokens)));
}

void check_arguments(const GeneratorModel& model,
                     std::span<const std::int32_t> prompt_ids,
                     const GenerateOptions& options) {
  if (prompt_ids.empty()) {
    throw std::invalid_argument("the prompt holds no tokens");
  }
  if (options.max_tokens < 0) {
    throw std::invalid_argument(
        concat("max_tokens must be 0 or more, got ", options.max_tokens));
  }
  check_ids(model.decoder, prompt_ids);
  if (!options.stop.empty() && model.tokenizer == nullptr) {
    fail(ErrorCode::not_found, "the model",
         "has no tokenizer, so there is no text for a stop string to end",
         "put tokenizer.json or tokenizer.model beside its weights");
  }
}

}  // namespace

void check_ids(const Decoder& decoder, std::span<const std::int32_t> ids) {
  const int vocab_size = decoder.config().vocab_size;
  for (const auto id : ids) {
    if (id >= 0 && id < vocab_size) continue;
    throw std::invalid_argument(concat("token id ", id,
                                       " is outside the vocabulary of ",
                                       vocab_size, " tokens"));
  }
}

mx::array prefill(const Decoder& decoder, KVCache& cache,
                  std::span<const std::int32_t> ids) try {
  cache.expect(cache.offset() + static_cast<int>(ids.size()));
  const int rows = decoder.prefill_rows();
  const auto chunk = static_cast<std::size_t>(rows);
  while (ids.size() > chunk) {
    decoder.forward_last(to_array(ids.first(chunk)), {{&cache, rows}});
    mx::eval(cache.state());
    ids = ids.subspan(chunk);
  }
  const int length = static_cast<int>(ids.size());
  auto last = decoder.forward_last(to_array(ids), {{&cache, length}});
  mx::eval(last);
  return last;
} catch (...) {
  // The stream keeps what a pass threw for whoever evaluates next.
  cache.abandon();
  cache.check();
  throw;
}

Result generate(const GeneratorModel& model,
                std::span<const std::int32_t> prompt_ids,
                const GenerateOptions& options, const StreamFn& on_delta) {
  check_arguments(model, prompt_ids, options);
  const auto& decoder = model.decoder;
  const int room = room_for(decoder, prompt_ids.size(), options);
  Sampler sample(options.sampling);
  TextStream stream(model.tokenizer, options.stop, on_delta);
  Result result;
  result.prompt_ids.assign(prompt_ids.begin(), prompt_ids.end());
  if (room == 0) return result;

  const auto start = Clock::now();
  const auto cache = decoder.make_cache(static_cast<int>(prompt_ids.size()) +
                                        std::min(room, kRowsAhead));
  TokenLoop loop(decoder, sample, {{cache.get(), 1}},
                 prefill(decoder, *cache, prompt_ids));
  auto first_token_time = start;
  int sampled = 0;
  while (true) {
    const auto id = loop.next(sampled + 1 < room).front();
    if (++sampled == 1) first_token_time = Clock::now();
    const bool ends = std::ranges::count(model.eos_ids, id) > 0;
    if (ends && !options.ignore_eos) {
      result.finish_reason = FinishReason::stop;
      break;
    }
    result.tokens.push_back(id);
    if (!stream.add(id, result)) {
      result.finish_reason = FinishReason::cancelled;
      break;
    }
    if (stream.stopped() || sampled == room) break;
  }
  const double decode_s = seconds_since(first_token_time);
  result.total_s = seconds_since(start);
  stream.finish(result);

  result.time_to_first_token_s =
      std::chrono::duration<double>(first_token_time - start).count();
  result.prompt_tps =
      static_cast<double>(prompt_ids.size()) / result.time_to_first_token_s;
  if (sampled > 1) result.generation_tps = (sampled - 1) / decode_s;
  result.peak_memory_bytes = peak_memory_bytes();
  return result;
}

}  // namespace llamlx
