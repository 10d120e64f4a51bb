#include "generate/compare.h"

#include <algorithm>
#include <cmath>

#include "base/concat.h"
#include "base/error.h"
#include "generate/finite.h"
#include "generate/text_logits.h"

namespace llamlx {
namespace {

[[noreturn]] void fail_vocabulary(const std::string& cause) {
  fail(ErrorCode::mismatch, "the two models", cause,
       "compare models that share one tokenizer");
}

std::size_t likeliest(std::span<const float> logits) {
  return static_cast<std::size_t>(std::ranges::max_element(logits) -
                                  logits.begin());
}

/// Sums over the positions of a text.
class Differences {
 public:
  void add(std::span<const float> a, std::span<const float> b,
           std::int32_t target) {
    const double log_sum_a = log_sum_exp(a), log_sum_b = log_sum_exp(b);
    const auto id = static_cast<std::size_t>(target);
    nll_a_ += log_sum_a - a[id];
    nll_b_ += log_sum_b - b[id];
    double kl = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      const double log_a = a[i] - log_sum_a;
      kl += std::exp(log_a) * (log_a - (b[i] - log_sum_b));
    }
    // Never negative but for rounding.
    kl = std::max(kl, 0.0);
    sum_kl_ += kl;
    max_kl_ = std::max(max_kl_, kl);
    if (likeliest(a) == likeliest(b)) ++agreed_;
    ++tokens_;
  }

  double nll_a() const { return nll_a_; }
  double nll_b() const { return nll_b_; }
  double sum_kl() const { return sum_kl_; }

  Comparison result() const {
    const auto tokens = static_cast<double>(tokens_);
    Comparison result;
    result.a = make_score(nll_a_, tokens_);
    result.b = make_score(nll_b_, tokens_);
    result.mean_kl = sum_kl_ / tokens;
    result.max_kl = max_kl_;
    result.top1_agreement = static_cast<double>(agreed_) / tokens;
    return result;
  }

 private:
  double nll_a_ = 0, nll_b_ = 0;
  double sum_kl_ = 0, max_kl_ = 0;
  std::int64_t agreed_ = 0, tokens_ = 0;
};

}  // namespace

Comparison compare(const Decoder& a, const Decoder& b,
                   std::span<const std::int32_t> ids) {
  // Two models' logits are in memory at once.
  constexpr std::size_t kRowsAtOnce = 64;
  check_same_vocabulary_size(a.config().vocab_size, b.config().vocab_size);
  const auto vocab_size = static_cast<std::size_t>(a.config().vocab_size);
  const auto context = std::min(window_size(a), window_size(b));
  TextLogits text_a(a, ids), text_b(b, ids);
  Differences differences;
  for (const auto& chunk : cut_text(ids.size(), context, kRowsAtOnce)) {
    const auto logits_a = text_a.read(chunk), logits_b = text_b.read(chunk);
    std::size_t at = 0;
    for (const auto target : text_a.targets(chunk)) {
      differences.add(logits_a.subspan(at, vocab_size),
                      logits_b.subspan(at, vocab_size), target);
      at += vocab_size;
    }
    if (!std::isfinite(differences.nll_a())) fail_not_finite(a);
    const bool is_finite = std::isfinite(differences.nll_b()) &&
                           std::isfinite(differences.sum_kl());
    if (!is_finite) fail_not_finite(b);
  }
  return differences.result();
}

void check_same_vocabulary_size(int a, int b) {
  if (a == b) return;
  fail_vocabulary(concat("have vocabularies of ", a, " and ", b, " tokens"));
}

void check_same_vocabulary(const Tokenizer& a, const Tokenizer& b) {
  if (a.vocab_size() != b.vocab_size()) {
    fail_vocabulary(concat("have tokenizers of ", a.vocab_size(), " and ",
                           b.vocab_size(), " tokens"));
  }
  for (std::int32_t id = 0; id < a.vocab_size(); ++id) {
    if (a.is_special(id) != b.is_special(id) ||
        a.decode({&id, 1}) != b.decode({&id, 1})) {
      fail_vocabulary(concat("have different tokens for the id ", id));
    }
  }
}

}  // namespace llamlx
