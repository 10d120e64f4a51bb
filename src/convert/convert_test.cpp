#include "convert/convert.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/io.h>

#include "base/files.h"
#include "base/system_memory.h"
#include "base/testing.h"
#include "checkpoint/meta_names.h"
#include "convert/memory_checkpoint.h"
#include "formats/npz_reader.h"
#include "formats/sharded_writer.h"

namespace llamlx {
namespace {

namespace fs = std::filesystem;

using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::names_in;
using testing::read_bytes;
using testing::TemporaryFolder;

constexpr const char* kEmbed = "model.embed_tokens.weight";
constexpr const char* kNorm = "model.norm.weight";

using Arrays = std::unordered_map<std::string, mx::array>;

/// What MLX itself reads from the folder.
Arrays load_folder(const fs::path& folder) {
  return mx::load_safetensors((folder / "model.safetensors").string()).first;
}

/// True for arrays of one type and shape whose bytes are equal.
bool same_bits(const mx::array& a, const mx::array& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         mx::array_equal(mx::view(mx::flatten(a), mx::uint8),
                         mx::view(mx::flatten(b), mx::uint8))
             .item<bool>();
}

class ConvertTest : public ::testing::Test {
 protected:
  ConvertResult convert(const ConvertOptions& options = {},
                        const ProgressFn& on_progress = {}) {
    return convert_checkpoint(source_, target_, options, on_progress);
  }

  Json written_config() const {
    return read_json_file(target_ / "config.json");
  }

  TemporaryFolder folder_;
  fs::path target_ = folder_.path() / "model";
  MemoryCheckpoint source_;
};

TEST_F(ConvertTest, KeepsDenseBytes) {
  source_.cast_all(mx::bfloat16);
  source_.tensors.put(kNorm, mx::full({32}, 0.1f));
  const auto result = convert();
  const auto written = load_folder(target_);
  ASSERT_EQ(written.size(), source_.weights().size());
  for (const auto& info : source_.weights()) {
    EXPECT_TRUE(same_bits(written.at(info.name), source_.value(info.name)))
        << info.name;
  }
  EXPECT_EQ(written_config()["torch_dtype"], "bfloat16");
  EXPECT_EQ(fs::exists(target_ / "model.safetensors.index.json"), true);
  EXPECT_NEAR(result.bits_per_weight, 16, 0.05);
}

TEST_F(ConvertTest, KeepsQuantisedBytes) {
  source_.tensors.quantize_all({4, 32});
  source_.cast_all(mx::float16);
  convert();
  const auto written = load_folder(target_);
  const auto weight = source_.load(*source_.find(kEmbed));
  EXPECT_TRUE(same_bits(written.at(kEmbed), weight.data));
  EXPECT_TRUE(
      same_bits(written.at("model.embed_tokens.scales"), *weight.scales));
  EXPECT_TRUE(
      same_bits(written.at("model.embed_tokens.biases"), *weight.biases));
  EXPECT_EQ(written_config()["quantization"]["bits"], 4);
}

TEST_F(ConvertTest, CastsAsMlxDoes) {
  convert({.dtype = "float16"});
  const auto written = load_folder(target_);
  for (const auto& info : source_.weights()) {
    EXPECT_TRUE(same_bits(written.at(info.name),
                          mx::astype(source_.value(info.name), mx::float16)))
        << info.name;
  }
}

TEST_F(ConvertTest, ExpandsQuantisedWeights) {
  source_.tensors.quantize_all({6, 32});
  const auto weight = source_.load(*source_.find(kEmbed));
  convert({.dtype = "float32"});
  const auto expected =
      mx::dequantize(weight.data, *weight.scales, *weight.biases, 32, 6);
  EXPECT_TRUE(same_bits(load_folder(target_).at(kEmbed), expected));
}

using Packing = std::tuple<int, int, const char*>;

class QuantisingTest : public ConvertTest,
                       public ::testing::WithParamInterface<Packing> {};

TEST_P(QuantisingTest, WritesTheBitsOfMlx) {
  const auto [bits, group_size, dtype] = GetParam();
  auto config = RandomCheckpoint::tiny_config();
  config["hidden_size"] = 128;
  config["intermediate_size"] = 384;
  source_ = MemoryCheckpoint(config);
  convert({.quantize = true,
           .bits = bits,
           .group_size = group_size,
           .dtype = dtype});
  const auto written = load_folder(target_);
  const auto type = *float_dtype(dtype);
  for (const auto& info : source_.weights()) {
    const auto values = mx::astype(source_.value(info.name), type);
    if (info.shape.size() == 1) {
      EXPECT_TRUE(same_bits(written.at(info.name), values)) << info.name;
      continue;
    }
    const auto module = info.name.substr(0, info.name.rfind('.'));
    const auto parts = mx::quantize(values, group_size, bits);
    EXPECT_TRUE(same_bits(written.at(info.name), parts[0])) << info.name;
    EXPECT_TRUE(same_bits(written.at(module + ".scales"), parts[1])) << module;
    EXPECT_TRUE(same_bits(written.at(module + ".biases"), parts[2])) << module;
  }
  EXPECT_EQ(
      written_config()["quantization"],
      Json({{"bits", bits}, {"group_size", group_size}, {"mode", "affine"}}));
}

INSTANTIATE_TEST_SUITE_P(
    All, QuantisingTest,
    ::testing::Combine(::testing::Values(2, 3, 4, 5, 6, 8),
                       ::testing::Values(32, 64, 128),
                       ::testing::Values("float16", "bfloat16", "float32")),
    [](const auto& instance) {
      return concat(std::get<0>(instance.param), "bits_in_",
                    std::get<1>(instance.param), "s_",
                    std::get<2>(instance.param));
    });

using Mode = std::tuple<const char*, const char*>;

class QuantisingToBytesTest : public ConvertTest,
                              public ::testing::WithParamInterface<Mode> {};

TEST_P(QuantisingToBytesTest, WritesTheBitsOfMlx) {
  const auto [mode, dtype] = GetParam();
  convert({.quantize = true, .mode = mode, .dtype = dtype});
  const auto written = load_folder(target_);
  for (const auto& info : source_.weights()) {
    if (info.shape.size() == 1) continue;
    const auto values =
        mx::astype(source_.value(info.name), *float_dtype(dtype));
    const auto module = info.name.substr(0, info.name.rfind('.'));
    const auto parts = mx::quantize(values, {}, {}, mode);
    EXPECT_TRUE(same_bits(written.at(info.name), parts[0])) << info.name;
    EXPECT_TRUE(same_bits(written.at(module + ".scales"), parts[1])) << module;
    EXPECT_FALSE(written.contains(module + ".biases")) << module;
  }
  EXPECT_EQ(written_config()["quantization"]["mode"], mode);
}

TEST_P(QuantisingToBytesTest, IsKeptExpandedAndQuantisedAnew) {
  const auto [mode, dtype] = GetParam();
  source_.tensors.quantize_all(default_quantization(*quantization_mode(mode)));
  const auto weight = source_.load(*source_.find(kEmbed));
  convert();
  auto written = load_folder(target_);
  EXPECT_TRUE(same_bits(written.at(kEmbed), weight.data));
  EXPECT_TRUE(
      same_bits(written.at("model.embed_tokens.scales"), *weight.scales));
  convert({.dtype = dtype});
  const auto values = dequantize(weight, *float_dtype(dtype));
  EXPECT_TRUE(same_bits(load_folder(target_).at(kEmbed), values));
  convert({.quantize = true, .bits = 8, .group_size = 32, .dtype = dtype});
  EXPECT_TRUE(same_bits(load_folder(target_).at(kEmbed),
                        mx::quantize(values, 32, 8)[0]));
}

TEST_P(QuantisingToBytesTest, RefusesValuesThatAreNotFinite) {
  const auto [mode, dtype] = GetParam();
  source_.tensors.put(kEmbed, mx::full({32, 32}, 1e38f));
  const ConvertOptions options = {
      .quantize = true, .mode = mode, .dtype = dtype};
  if (std::string_view(dtype) == "float16") {
    error_of(ErrorCode::unsupported, [&] { convert(options); });
  }
  source_.tensors.put(kEmbed, mx::full({32, 32}, std::nanf("")));
  error_of(ErrorCode::corrupt_file, [&] { convert(options); });
}

INSTANTIATE_TEST_SUITE_P(
    All, QuantisingToBytesTest,
    ::testing::Combine(::testing::Values("mxfp4", "mxfp8", "nvfp4"),
                       ::testing::Values("float16", "bfloat16", "float32")),
    [](const auto& instance) {
      return concat(std::get<0>(instance.param), "_",
                    std::get<1>(instance.param));
    });

TEST_F(ConvertTest, QuantisesAnewFromTheExpandedValues) {
  source_.tensors.quantize_all({8, 32});
  const auto weight = source_.load(*source_.find(kEmbed));
  convert({.quantize = true, .bits = 4, .group_size = 32, .dtype = "bfloat16"});
  const auto values = mx::astype(
      mx::dequantize(weight.data, *weight.scales, *weight.biases, 32, 8),
      mx::bfloat16);
  EXPECT_TRUE(same_bits(load_folder(target_).at(kEmbed),
                        mx::quantize(values, 32, 4)[0]));
}

TEST_F(ConvertTest, TellsWhatTheCheckpointAndThePlanNoticed) {
  source_.told = {"a stray file"};
  const auto result = convert({.quantize = true, .group_size = 128});
  ASSERT_EQ(result.notices.size(), 3u);
  EXPECT_EQ(result.notices[0], "a stray file");
  EXPECT_THAT(result.notices[1], HasSubstr("groups of 128"));
  EXPECT_FALSE(written_config().contains("quantization"));
}

TEST_F(ConvertTest, RefusesValuesTooLargeForFloat16) {
  source_.tensors.put(kNorm, mx::full({32}, 1e5f));
  const auto message =
      error_of(ErrorCode::unsupported, [&] { convert({.dtype = "float16"}); });
  EXPECT_THAT(message, HasSubstr(kNorm));
  EXPECT_THAT(message, HasSubstr("--dtype bfloat16"));
  EXPECT_THAT(names_in(folder_.path()), IsEmpty());
}

TEST_F(ConvertTest, RefusesQuantisingValuesTooLargeForFloat16) {
  source_.tensors.put(kEmbed, mx::full({32, 32}, -1e5f));
  error_of(ErrorCode::unsupported, [&] {
    convert({.quantize = true, .group_size = 32, .dtype = "float16"});
  });
}

TEST_F(ConvertTest, RefusesExpandingValuesTooLargeForFloat16) {
  source_.tensors.put(kEmbed, quantize(mx::full({32, 32}, -1e5f), {8, 32}));
  for (const char* mode : {"affine", "mxfp4", "nvfp4"}) {
    error_of(ErrorCode::unsupported, [&] {
      convert({.quantize = true, .mode = mode, .dtype = "float16"});
    });
  }
}

TEST_F(ConvertTest, RefusesWeightsThatAreNotFinite) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float value : {kInfinity, -kInfinity, std::nanf("")}) {
    source_.tensors.put(kNorm, mx::full({32}, value));
    for (const char* dtype : {"", "float16"}) {
      const auto message =
          error_of(ErrorCode::corrupt_file, [&] { convert({.dtype = dtype}); });
      EXPECT_THAT(message, HasSubstr(kNorm));
    }
  }
  EXPECT_THAT(names_in(folder_.path()), IsEmpty());
}

TEST_F(ConvertTest, RefusesQuantisingWeightsThatAreNotFinite) {
  auto values = mx::full({32, 32}, 0.5f);
  values = mx::concatenate({values, mx::full({32, 32}, std::nanf(""))}, 1);
  source_.tensors.put(kEmbed, mx::slice(values, {0, 1}, {32, 33}));
  const auto message = error_of(ErrorCode::corrupt_file, [&] {
    convert({.quantize = true, .group_size = 32});
  });
  EXPECT_THAT(message, HasSubstr(kEmbed));
  EXPECT_THAT(message, HasSubstr("infinite or not a number"));
  EXPECT_THAT(names_in(folder_.path()), IsEmpty());
}

TEST_F(ConvertTest, WritesNpzInMetasNames) {
  convert({.layout = ModelLayout::seed});
  EXPECT_THAT(names_in(target_), ElementsAre("config.json", "weights.npz"));
  const NpzFile written(target_ / "weights.npz");
  EXPECT_EQ(written.tensors().size(), source_.weights().size());
  for (const auto& info : source_.weights()) {
    const auto* entry = written.find(*meta_name(info.name));
    ASSERT_NE(entry, nullptr) << info.name;
    EXPECT_TRUE(same_bits(written.read(*entry), source_.value(info.name)));
  }
}

TEST_F(ConvertTest, BringsMetasRowsIntoHuggingFacesOrder) {
  constexpr const char* kQuery = "model.layers.0.self_attn.q_proj.weight";
  source_.meta_params = OrderedJson{{"dim", 32}};
  source_.tensors.change_config({{"rope_traditional", true}});
  // Four heads of eight rows, each row holding its number.
  const auto rows =
      mx::broadcast_to(mx::reshape(mx::arange(32.0f), {32, 1}), {32, 32});
  source_.tensors.put(kQuery, mx::contiguous(rows));
  convert({.without_tokenizer = true});
  const auto first = mx::slice(load_folder(target_).at(kQuery), {0, 0}, {8, 1});
  EXPECT_TRUE(
      mx::array_equal(mx::flatten(first),
                      mx::array({0.f, 2.f, 4.f, 6.f, 1.f, 3.f, 5.f, 7.f}))
          .item<bool>());
  EXPECT_FALSE(written_config().contains("rope_traditional"));
  // llama.py turns neighbours.
  convert({.layout = ModelLayout::seed, .without_tokenizer = true});
  const NpzFile npz(target_ / "weights.npz");
  const auto kept = npz.read(*npz.find("layers.0.attention.wq.weight"));
  EXPECT_TRUE(mx::array_equal(kept, rows).item<bool>());
}

TEST_F(ConvertTest, MetasCheckpointsNeedTheirTokenizer) {
  source_.meta_params = OrderedJson{{"dim", 32}};
  const auto message = error_of(ErrorCode::not_found, [&] { convert(); });
  EXPECT_THAT(message, HasSubstr("tokenizer.model"));
  EXPECT_THAT(names_in(folder_.path()), IsEmpty());
}

TEST_F(ConvertTest, LargeWeightsAreWrittenInBlocksOfRows) {
  auto config = RandomCheckpoint::tiny_config();
  config["vocab_size"] = 150000;
  source_ = MemoryCheckpoint(config);
  for (const bool quantize : {false, true}) {
    convert({.quantize = quantize, .group_size = 32, .dtype = "bfloat16"});
    const auto written = load_folder(target_);
    const auto values = mx::astype(source_.value(kEmbed), mx::bfloat16);
    const auto expected = quantize ? mx::quantize(values, 32, 4)[0] : values;
    EXPECT_TRUE(same_bits(written.at(kEmbed), expected));
  }
}

TEST_F(ConvertTest, BringsTheSideFiles) {
  const auto original = folder_.write("tokenizer.model", std::string(3, '\0'));
  source_.files = {{"tokenizer.model", original, {}},
                   {"tokenizer.json", {}, "{}"}};
  convert();
  EXPECT_EQ(read_bytes(target_ / "tokenizer.model"), std::string(3, '\0'));
  EXPECT_EQ(read_bytes(target_ / "tokenizer.json"), "{}");
}

TEST_F(ConvertTest, SideFilesStayInTheFolder) {
  source_.files = {{"../../escaped.txt", {}, "x"}};
  convert();
  EXPECT_THAT(names_in(folder_.path()), ElementsAre("model"));
  EXPECT_TRUE(fs::exists(target_ / "escaped.txt"));
}

TEST_F(ConvertTest, ProgressGrowsFromNothingToAll) {
  std::vector<std::uint64_t> done;
  std::uint64_t total = 0;
  std::string last;
  const auto result = convert({.quantize = true, .group_size = 32},
                              [&](const Progress& progress) {
                                done.push_back(progress.done_bytes);
                                total = progress.total_bytes;
                                last = progress.tensor;
                              });
  EXPECT_EQ(done.front(), 0u);
  EXPECT_EQ(done.back(), total);
  EXPECT_EQ(total, result.weight_bytes);
  EXPECT_TRUE(std::ranges::is_sorted(done));
  EXPECT_EQ(done.size(), source_.weights().size() + 1);
  EXPECT_EQ(last, kNorm);
}

TEST_F(ConvertTest, AnExceptionFromTheProgressLeavesNothing) {
  struct Cancelled {};
  int calls = 0;
  EXPECT_THROW(convert({},
                       [&](const Progress&) {
                         if (++calls == 4) throw Cancelled{};
                       }),
               Cancelled);
  EXPECT_EQ(calls, 4);
  EXPECT_THAT(names_in(folder_.path()), IsEmpty());
}

TEST_F(ConvertTest, AFailureLeavesTheOldModel) {
  convert();
  const auto before = read_bytes(target_ / "model.safetensors");
  source_.tensors.put(kNorm, mx::full({32}, 1e5f));
  error_of(ErrorCode::unsupported, [&] { convert({.dtype = "float16"}); });
  EXPECT_EQ(read_bytes(target_ / "model.safetensors"), before);
  EXPECT_THAT(names_in(folder_.path()), ElementsAre("model"));
}

TEST_F(ConvertTest, ReplacesAnOlderModelWhole) {
  folder_.write("model/config.json", "{}");
  folder_.write("model/model-00001-of-00002.safetensors", "old");
  convert();
  EXPECT_THAT(names_in(target_), ElementsAre("config.json", "model.safetensors",
                                             "model.safetensors.index.json"));
}

TEST_F(ConvertTest, TwoRunsWriteTheSameBytes) {
  const ConvertOptions options = {.quantize = true, .group_size = 32};
  convert(options);
  const auto config = read_bytes(target_ / "config.json");
  const auto weights = read_bytes(target_ / "model.safetensors");
  convert(options);
  EXPECT_EQ(read_bytes(target_ / "config.json"), config);
  EXPECT_EQ(read_bytes(target_ / "model.safetensors"), weights);
}

TEST_F(ConvertTest, NeverReplacesItsSource) {
  convert();
  for (const auto& place :
       {target_, target_ / "", folder_.path() / "." / "model"}) {
    source_.place = place;
    const auto message = error_of(ErrorCode::io_error, [&] { convert(); });
    EXPECT_THAT(message, HasSubstr("is the source itself"));
  }
  source_.place = folder_.write("model/weights.gguf", "");
  const auto message = error_of(ErrorCode::io_error, [&] { convert(); });
  EXPECT_THAT(message, HasSubstr("holds the source"));
  EXPECT_TRUE(fs::exists(target_ / "weights.gguf"));
}

TEST_F(ConvertTest, WritesIntoAFolderOfTheSource) {
  source_.place = folder_.path();
  EXPECT_NO_THROW(convert());
}

TEST_F(ConvertTest, SaysBeforeWritingThatTheDiskIsTooSmall) {
  // Claims to be a side file of more bytes than any disk has left.
  const auto huge = folder_.write("huge", "");
  std::error_code error;
  fs::resize_file(huge, std::uintmax_t{1} << 42, error);
  if (error) GTEST_SKIP() << "no sparse files here";
  source_.files = {{"huge", huge, {}}};
  const auto message = error_of(ErrorCode::no_space, [&] { convert(); });
  EXPECT_THAT(message, HasSubstr("needs 4.4"));
  EXPECT_THAT(message, HasSubstr("free"));
  EXPECT_THAT(names_in(folder_.path()), ElementsAre("huge"));
}

TEST_F(ConvertTest, SaysThatTheTargetCannotBeWritten) {
  const auto parent = folder_.path() / "locked";
  fs::create_directory(parent);
  fs::permissions(parent, fs::perms::owner_read | fs::perms::owner_exec);
  fs::permissions(folder_.path(), fs::perms::all);
  target_ = parent / "model";
  const auto message =
      testing::error_in_child(testing::without_privileges, [&] { convert(); });
  EXPECT_THAT(message, HasSubstr("cannot create"));
  EXPECT_THAT(names_in(parent), IsEmpty());
}

TEST_F(ConvertTest, RefusesOptionsOutOfRange) {
  EXPECT_THROW(convert({.quantize = true, .bits = 7}), std::invalid_argument);
  EXPECT_THAT(names_in(folder_.path()), IsEmpty());
}

}  // namespace
}  // namespace llamlx
