// Decoders whose caches have 8 bits, against MLX's ops over caches that are
// rounded alike.
#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <mlx/ops.h>

#include "cuda/cached_rows.h"
#include "models/backend_choice.h"
#include "models/decoder_testing.h"

namespace llamlx {
namespace {

using testing::to_array;
using testing::Variant;

/// Numbers [..., Dh] as a cache of 8 bits holds them.
mx::array rounded(const mx::array& numbers) {
  const auto x = mx::astype(numbers, mx::float32);
  std::vector<mx::array> groups;
  for (int first = 0; first < x.shape(-1); first += cuda::kCacheGroup) {
    auto start = mx::Shape(x.ndim(), 0);
    auto stop = x.shape();
    start.back() = first;
    stop.back() = std::min(x.shape(-1), first + cuda::kCacheGroup);
    const auto group = mx::slice(x, start, stop);
    const auto scale =
        mx::divide(mx::max(mx::abs(group), -1, true), mx::array(127.0F));
    groups.push_back(mx::multiply(mx::round(mx::divide(group, scale)), scale));
  }
  return mx::concatenate(groups, -1);
}

class RoundedKVCache final : public ArrayKVCache {
 public:
  explicit RoundedKVCache(int num_layers) : layers_(num_layers) {}

  void append(int layer, const mx::array& k, const mx::array& v) override {
    auto& rows = layers_.at(layer);
    const std::vector<mx::array> more = {mx::astype(rounded(k), k.dtype()),
                                         mx::astype(rounded(v), v.dtype())};
    if (rows.empty()) {
      rows = more;
      return;
    }
    for (std::size_t i = 0; i < 2; ++i) {
      rows[i] = mx::concatenate({rows[i], more[i]}, 2);
    }
  }
  std::pair<mx::array, mx::array> fetch(int layer) const override {
    const auto& rows = layers_.at(layer);
    return {rows.at(0), rows.at(1)};
  }
  std::vector<mx::array> state() const override { return {}; }

 protected:
  void drop_after(int rows) override {
    for (auto& layer : layers_) {
      for (auto& kept : layer) {
        auto stop = kept.shape();
        stop[2] = rows;
        kept = mx::slice(kept, mx::Shape(4, 0), stop);
      }
    }
  }

 private:
  std::vector<std::vector<mx::array>> layers_;
};

/// MLX's ops over such caches.
class RoundedStack final : public Stack {
 public:
  explicit RoundedStack(std::shared_ptr<const Stack> ops)
      : ops_(std::move(ops)) {}

  const DecoderWeights& weights() const override { return ops_->weights(); }
  std::unique_ptr<KVCache> make_cache(int) const override {
    return std::make_unique<RoundedKVCache>(
        static_cast<int>(weights().layers.size()));
  }
  mx::array forward(const mx::array& ids, const Rope& rope,
                    const Rows& rows) const override {
    return ops_->forward(ids, rope, rows);
  }
  mx::array logits(const mx::array& x) const override {
    return ops_->logits(x);
  }

 private:
  std::shared_ptr<const Stack> ops_;
};

Backend rounded_backend() {
  auto backend = mlx_backend();
  backend.make = [make = backend.make](DecoderWeights weights,
                                       StackParams params) {
    return std::make_shared<const RoundedStack>(
        make(std::move(weights), std::move(params)));
  };
  return backend;
}

double root_mean_square(const mx::array& x) {
  return mx::sqrt(mx::mean(mx::square(x))).item<float>();
}

std::vector<std::int32_t> some_ids(int count) {
  std::vector<std::int32_t> ids;
  for (int i = 0; i < count; ++i) ids.push_back(i * 7 % 32);
  return ids;
}

/// Logits of one sequence whose tokens come so many at a time.
mx::array logits_in_steps(const Decoder& decoder, KVCache& cache,
                          std::span<const std::int32_t> ids,
                          std::span<const int> steps) {
  std::vector<mx::array> logits;
  std::size_t at = 0;
  for (const int count : steps) {
    const auto next = ids.subspan(at, static_cast<std::size_t>(count));
    logits.push_back(
        decoder.logits(decoder.forward(to_array(next), {{&cache, count}})));
    logits.back().eval();
    at += next.size();
  }
  return mx::concatenate(logits, 0);
}

/// Logits that one way of computing gives.
using LogitsOf = std::function<mx::array(const Decoder&)>;

/// Whether ours over caches of 8 bits are about as near to those in float32 as
/// those of MLX's ops are. What comes to be rounded differs a little, so that
/// some of it becomes another whole number: all of the rounding makes 0.015 of
/// logits.
void expect_near(const Variant& variant, mx::Dtype compute,
                 const LogitsOf& logits_of) {
  RandomCheckpoint model(testing::tiny_config(variant.changes));
  model.store_as(compute);
  const auto logits = [&](mx::Dtype dtype, const Backend& backend) {
    return logits_of(Decoder::load(model, dtype, backend));
  };
  const auto exact = logits(mx::float32, rounded_backend());
  const auto error = [&](const Backend& backend) {
    return root_mean_square(mx::subtract(logits(compute, backend), exact));
  };
  EXPECT_LE(
      error(cuda_backend(compute, 8)),
      std::max(1.5 * error(rounded_backend()), 5e-3 * root_mean_square(exact)))
      << variant.name << " in " << to_string(compute);
}

const mx::Dtype kTypes[] = {mx::float32, mx::float16, mx::bfloat16};

class CudaRoundedCacheTest : public ::testing::TestWithParam<Variant> {
 protected:
  void SetUp() override { testing::skip_unless_here(testing::By::cuda); }

  static void expect_all_near(const LogitsOf& logits_of) {
    for (const auto compute : kTypes) {
      expect_near(GetParam(), compute, logits_of);
    }
  }
};

/// In a pass, and in some of many rows, of few and of one.
TEST_P(CudaRoundedCacheTest, IsAsNearToFloat32AsMlxsOpsAre) {
  const auto ids = some_ids(40);
  for (const std::vector<int>& steps :
       {std::vector{40}, {20, 1, 5, 9, 1, 1, 3}}) {
    expect_all_near([&](const Decoder& decoder) {
      const auto cache = decoder.make_cache(1);
      return logits_in_steps(decoder, *cache, ids, steps);
    });
  }
}

/// Of two sequences in one pass: prompts, and a few rows and many.
TEST_P(CudaRoundedCacheTest, SequencesDoNotMix) {
  const auto ids = some_ids(44);
  expect_all_near([&](const Decoder& decoder) {
    const auto first = decoder.make_cache(1), second = decoder.make_cache(1);
    std::vector<mx::array> logits;
    std::size_t at = 0;
    for (const auto& [a, b] : {std::pair(3, 14), {11, 2}, {1, 1}, {4, 8}}) {
      const auto next =
          std::span(ids).subspan(at, static_cast<std::size_t>(a + b));
      const Rows rows = {{first.get(), a}, {second.get(), b}};
      logits.push_back(decoder.logits(decoder.forward(to_array(next), rows)));
      logits.back().eval();
      at += next.size();
    }
    return mx::concatenate(logits, 0);
  });
}

/// To more rows than it had room for; and back to some of them.
TEST(CudaRoundedCacheOfManyRowsTest, GrowsAndGoesBack) {
  testing::skip_unless_here(testing::By::cuda);
  if (::testing::Test::IsSkipped()) return;
  const auto ids = some_ids(285);
  for (const auto compute : kTypes) {
    expect_near({"Grouped", Json::object()}, compute,
                [&](const Decoder& decoder) {
                  const auto cache = decoder.make_cache(1);
                  const int before[] = {250, 3, 8, 20};
                  logits_in_steps(decoder, *cache, ids, before);
                  cache->rewind(260);
                  const int after[] = {2, 12, 1};
                  return logits_in_steps(decoder, *cache,
                                         std::span(ids).subspan(270), after);
                });
  }
}

TEST(CudaKVBitsTest, AreEightOrThoseComputedIn) {
  testing::skip_unless_here(testing::By::cuda);
  if (::testing::Test::IsSkipped()) return;
  const RandomCheckpoint model(RandomCheckpoint::tiny_config());
  EXPECT_THROW(Decoder::load(model, mx::float32, cuda_backend(mx::float32, 4)),
               std::invalid_argument);
}

// Of each what attention differs by; and two groups of a head, one of them
// short.
std::vector<Variant> variants() {
  std::vector<Variant> variants = {{"WideHeads", {{"head_dim", 72}}}};
  for (const auto& variant : testing::kVariants) {
    for (const std::string name : {"Grouped", "SevenHeads", "Traditional",
                                   "Mistral", "Qwen2", "Qwen3"}) {
      if (variant.name == name) variants.push_back(variant);
    }
  }
  return variants;
}

INSTANTIATE_TEST_SUITE_P(Variants, CudaRoundedCacheTest,
                         ::testing::ValuesIn(variants()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace llamlx
