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

void TokenLoop::fail() {
  // What else was begun fails, too, and MLX would tell whoever evaluates next.
  try {
    mx::synchronize();
  } catch (...) {
    if (!error_) error_ = std::current_exception();
  }
  for (const auto& segment : rows_) segment.cache->check();
  if (error_) std::rethrow_exception(error_);
  fail_not_finite(decoder_);
}

std::vector<std::int32_t> TokenLoop::next(bool goes_on) {
  if (error_) fail();
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
    // Values that could not be computed look like those that are not finite.
    if (std::count(first, last, kNotFinite) == 0) return {first, last};
  } catch (...) {
    error_ = std::current_exception();
  }
  fail();
}

}  // namespace llamlx
