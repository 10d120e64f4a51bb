#include "checkpoint/meta_checkpoint.h"

#include <filesystem>
#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/ops.h>

#include "base/concat.h"
#include "base/json.h"
#include "base/testing.h"
#include "formats/safetensors_testing.h"

namespace llamlx {
namespace {

namespace fs = std::filesystem;
using testing::error_of;
using ::testing::HasSubstr;

using Tensors = std::map<std::string, mx::array>;

constexpr const char* kGate = "layers.0.feed_forward.w1.weight";
constexpr const char* kDown = "layers.0.feed_forward.w2.weight";

bool same(const mx::array& a, const mx::array& b) {
  return a.dtype() == b.dtype() && mx::array_equal(a, b).item<bool>();
}

/// 0, 1, 2, ... as [rows, columns].
mx::array counting(int rows, int columns) {
  return mx::reshape(mx::arange(rows * columns, mx::float32), {rows, columns});
}

/// The part of shard `index` of `count`, cut along `axis`.
mx::array cut(const mx::array& whole, int axis, int index, int count) {
  return mx::split(whole, count, axis)[static_cast<std::size_t>(index)];
}

class MetaCheckpointTest : public ::testing::Test {
 protected:
  MetaCheckpointTest() { write_params(Json::object()); }

  void write_params(const Json& changes) const {
    Json params = {{"dim", 8},        {"n_layers", 1},    {"n_heads", 2},
                   {"norm_eps", 0.5}, {"vocab_size", -1}, {"multiple_of", 256}};
    params.update(changes);
    folder_.write("params.json", params.dump());
  }

  fs::path file(const std::string& name) const { return folder_.path() / name; }

  /// Writes a model in `count` shards and no others.
  void write_shards(int count, int embeddings_axis) const {
    for (int i = 0; i < 9; ++i) {
      fs::remove(file(concat("consolidated.0", i, ".safetensors")));
    }
    for (int i = 0; i < count; ++i) {
      testing::write_safetensors(
          file(concat("consolidated.0", i, ".safetensors")),
          {{"tok_embeddings.weight",
            cut(embeddings_, embeddings_axis, i, count)},
           {"norm.weight", mx::full({8}, static_cast<float>(i))},
           {"rope.freqs", mx::zeros({2})},
           {kGate, cut(gate_, 0, i, count)},
           {kDown, cut(down_, 1, i, count)}});
    }
  }

  std::unique_ptr<Checkpoint> open() const {
    return open_meta_checkpoint(folder_.path());
  }

  mx::array read(const Checkpoint& checkpoint, const char* name) const {
    const auto* info = checkpoint.find(name);
    EXPECT_NE(info, nullptr) << name;
    const auto weight = checkpoint.load(*info);
    EXPECT_EQ(weight.data.shape(), info->shape);
    return weight.data;
  }

  testing::TemporaryFolder folder_;
  mx::array embeddings_ = counting(16, 8);
  mx::array gate_ = counting(24, 8);
  mx::array down_ = counting(8, 24);
};

TEST_F(MetaCheckpointTest, JoinsShardsAlongTheAxisTheyWereCut) {
  for (const int embeddings_axis : {0, 1}) {
    for (const int count : {1, 2, 4, 8}) {
      write_shards(count, embeddings_axis);
      const auto checkpoint = open();
      EXPECT_TRUE(
          same(read(*checkpoint, "model.embed_tokens.weight"), embeddings_));
      EXPECT_TRUE(same(read(*checkpoint, "model.layers.0.mlp.gate_proj.weight"),
                       gate_));
      EXPECT_TRUE(same(read(*checkpoint, "model.layers.0.mlp.down_proj.weight"),
                       down_));
      EXPECT_EQ(checkpoint->weights().size(), 4U);
    }
  }
}

TEST_F(MetaCheckpointTest, OfWhatIsInEveryShardTheLastCounts) {
  write_shards(2, 1);
  EXPECT_TRUE(same(read(*open(), "model.norm.weight"), mx::full({8}, 1.0f)));
}

TEST_F(MetaCheckpointTest, TakesShardsByTheirNumbers) {
  for (int i = 0; i < 12; ++i) {
    testing::write_safetensors(
        file(concat("consolidated.", i, ".safetensors")),
        {{"tok_embeddings.weight", mx::full({2, 8}, static_cast<float>(i))},
         {kGate, mx::full({2, 8}, static_cast<float>(i))}});
  }
  const auto gate = read(*open(), "model.layers.0.mlp.gate_proj.weight");
  EXPECT_TRUE(same(mx::slice(gate, {0, 0}, {24, 1}, {2, 1}),
                   mx::reshape(mx::arange(12.0f), {12, 1})));
}

TEST_F(MetaCheckpointTest, TellsTheConfigInHuggingFacesWords) {
  write_shards(2, 1);
  const auto checkpoint = open();
  const auto& config = checkpoint->config();
  EXPECT_EQ(config.at("model_type"), "llama");
  EXPECT_EQ(config.at("hidden_size"), 8);
  EXPECT_EQ(config.at("intermediate_size"), 24);
  EXPECT_EQ(config.at("num_hidden_layers"), 1);
  EXPECT_EQ(config.at("num_attention_heads"), 2);
  EXPECT_FALSE(config.contains("num_key_value_heads"));
  EXPECT_EQ(config.at("vocab_size"), 16);
  EXPECT_EQ(config.at("rms_norm_eps"), 0.5);
  EXPECT_EQ(config.at("rope_theta"), 10000);
  EXPECT_EQ(config.at("rope_traditional"), true);
  EXPECT_FALSE(config.contains("multiple_of"));
  EXPECT_EQ(checkpoint->params()->at("vocab_size"), -1);
}

TEST_F(MetaCheckpointTest, KeepsWhatTheParamsSayOfPositionsAndSizes) {
  write_shards(1, 0);
  write_params({{"rope_theta", 5e5},
                {"use_scaled_rope", true},
                {"n_kv_heads", 1},
                {"head_dim", 16},
                {"hidden_dim", 24},
                {"vocab_size", 16}});
  const auto config = open()->config();
  EXPECT_EQ(config.at("rope_theta"), 5e5);
  EXPECT_EQ(config.at("num_key_value_heads"), 1);
  EXPECT_EQ(config.at("head_dim"), 16);
  const auto& scaling = config.at("rope_scaling");
  EXPECT_EQ(scaling.at("rope_type"), "llama3");
  EXPECT_EQ(scaling.at("factor"), 8);
  EXPECT_EQ(scaling.at("original_max_position_embeddings"), 8192);
  write_params({{"use_scaled_rope", true}, {"rope_scaling_factor", 16}});
  EXPECT_EQ(open()->config().at("rope_scaling").at("factor"), 16);
  write_params({{"use_scaled_rope", true}, {"dim", 2048}, {"n_layers", 16}});
  EXPECT_EQ(open()->config().at("rope_scaling").at("factor"), 32);
}

TEST_F(MetaCheckpointTest, LooksForTheTokenizerOneFolderUpToo) {
  const testing::TemporaryFolder above;
  const auto folder = above.path() / "llama-2-7b";
  above.write("llama-2-7b/params.json",
              R"({"dim": 8, "n_layers": 1, "n_heads": 2, "norm_eps": 1e-5})");
  testing::write_safetensors(
      folder / "consolidated.00.safetensors",
      {{"tok_embeddings.weight", embeddings_}, {kGate, gate_}});
  EXPECT_TRUE(open_meta_checkpoint(folder)->side_files().empty());
  above.write("tokenizer.model", "above");
  const auto found = open_meta_checkpoint(folder)->side_files();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].name, "tokenizer.model");
  EXPECT_EQ(testing::read_bytes(found[0].source), "above");
  above.write("llama-2-7b/tokenizer.model", "beside");
  const auto nearer = open_meta_checkpoint(folder / "")->side_files();
  ASSERT_EQ(nearer.size(), 1U);
  EXPECT_EQ(testing::read_bytes(nearer[0].source), "beside");
}

TEST_F(MetaCheckpointTest, NamesWhatIsMissing) {
  const auto refusal = [&](ErrorCode code) {
    return error_of(code, [&] { open(); });
  };
  write_shards(4, 0);
  fs::remove(file("consolidated.01.safetensors"));
  EXPECT_THAT(refusal(ErrorCode::not_found),
              HasSubstr("consolidated.02.safetensors, but no shard 1"));
  write_shards(2, 0);
  fs::remove(file("params.json"));
  EXPECT_THAT(refusal(ErrorCode::not_found), HasSubstr("params.json"));
  folder_.write("params.json", R"({"n_layers": 1})");
  EXPECT_THAT(refusal(ErrorCode::corrupt_file), HasSubstr("\"dim\""));
  write_params({{"moe", {{"num_experts", 8}}}});
  EXPECT_THAT(refusal(ErrorCode::unsupported), HasSubstr("mixture"));
}

TEST_F(MetaCheckpointTest, RefusesShardsThatDoNotBelongTogether) {
  const auto refusal = [&](const Tensors& last) {
    write_shards(1, 0);
    testing::write_safetensors(file("consolidated.01.safetensors"), last);
    return error_of(ErrorCode::mismatch, [&] { open(); });
  };
  Tensors last = {{"tok_embeddings.weight", embeddings_},
                  {"norm.weight", mx::zeros({8})},
                  {kGate, gate_},
                  {kDown, down_}};
  const auto with = [&](const char* name, const mx::array& value) {
    auto changed = last;
    changed.insert_or_assign(name, value);
    return refusal(changed);
  };
  EXPECT_THAT(with(kGate, counting(24, 4)), HasSubstr(kGate));
  EXPECT_THAT(with(kDown, counting(4, 24)), HasSubstr("does not join"));
  EXPECT_THAT(with("norm.weight", mx::zeros({4})), HasSubstr("norm.weight"));
  EXPECT_THAT(with(kGate, mx::astype(gate_, mx::float16)),
              HasSubstr("is of type F32, and of type F16"));
  EXPECT_THAT(with("extra.weight", gate_),
              HasSubstr("consolidated.00.safetensors: tensor extra.weight"));
  last.erase("norm.weight");
  EXPECT_THAT(refusal(last), HasSubstr("consolidated.01.safetensors: tensor "
                                       "norm.weight is missing"));
}

TEST_F(MetaCheckpointTest, TheLayoutCanBeAskedFor) {
  write_shards(1, 0);
  const auto open_as = [&](FolderLayout layout) {
    return Checkpoint::open(folder_.path(), layout);
  };
  EXPECT_TRUE(open_as(FolderLayout::any)->params());
  EXPECT_TRUE(open_as(FolderLayout::meta)->params());
  error_of(ErrorCode::not_found, [&] { open_as(FolderLayout::hugging_face); });
  // Mistral's folders hold both layouts.
  folder_.write("config.json", R"({"model_type": "mistral"})");
  testing::write_safetensors(file("model.safetensors"),
                             {{"model.norm.weight", mx::zeros({8})}});
  EXPECT_FALSE(open_as(FolderLayout::any)->params());
  EXPECT_FALSE(open_as(FolderLayout::hugging_face)->params());
  EXPECT_TRUE(open_as(FolderLayout::meta)->params());
}

}  // namespace
}  // namespace llamlx
