#include "generate/token_loop.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include <mlx/stream.h>
#include <mlx/transforms.h>

#include "generate/finite.h"
#include "kernels/argmax/argmax.h"

namespace llamlx {

TokenLoop::TokenLoop(const Decoder& decoder, Sampler& sample, Rows rows,
                     const mx::array& x)
    : decoder_(decoder), sample_(sample), rows_(std::move(rows)) {
  choose(x);
}

TokenLoop::~TokenLoop() {
  if (!is_ahead_) return;
  for (const auto& segment : rows_) segment.cache->abandon();
  for (const auto& [cache, length] : rows_) {
    cache->rewind(cache->offset() - length);
  }
}

void TokenLoop::choose(const mx::array& x) {
  tokens_ = sample_(decoder_.logits(x));
  mx::async_eval(*tokens_);
}

void TokenLoop::read(const mx::array& tokens) {
  try {
    const auto x = decoder_.forward(tokens, rows_);
    is_ahead_ = true;
    choose(x);
  } catch (...) {
    error_ = std::current_exception();
  }
}

std::vector<std::int32_t> TokenLoop::next(bool goes_on) {
  if (error_) std::rethrow_exception(error_);
  if (!tokens_) {
    throw std::invalid_argument("the last step was said to be the last");
  }
  auto tokens = *std::exchange(tokens_, std::nullopt);
  is_ahead_ = false;
  if (goes_on) read(tokens);
  try {
    tokens.wait();
    const auto* first = tokens.data<std::int32_t>();
    const auto* last = first + tokens.size();
    if (std::count(first, last, kNotFinite) == 0) return {first, last};
    // Values that could not be computed look like this, too.
    if (error_) std::rethrow_exception(error_);
    mx::synchronize();
  } catch (...) {
    for (const auto& segment : rows_) segment.cache->check();
    throw;
  }
  fail_not_finite(decoder_);
}

}  // namespace llamlx
