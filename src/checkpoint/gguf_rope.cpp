#include "checkpoint/gguf_rope.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>
#include <string>
#include <vector>

#include "base/concat.h"
#include "base/error.h"

namespace llamlx {
namespace {

constexpr double kDefaultTheta = 10000;

// The constants of Llama 3.1 and 3.2, which differ in the factor alone.
constexpr double kLowFreqFactor = 1;
constexpr double kHighFreqFactor = 4;
constexpr double kOriginalContext = 8192;

// Converters compute the divisors from float32 frequencies: an exponent rounded
// to 2^-24 is worth ln(theta) times that, and the blend magnifies it up to
// factor / 3 times.
constexpr double kTolerance = 2e-5;

[[noreturn]] void fail_unsupported(const GgufFile& file,
                                   std::string_view cause) {
  fail(ErrorCode::unsupported, file.path().string(), cause,
       "take the model's safetensors instead");
}

std::vector<float> read_divisors(const GgufFile& file, std::size_t count) {
  const auto* tensor = file.find(kGgufRopeFactors);
  if (tensor == nullptr) return {};
  if (tensor->type->type != GgmlType::f32 ||
      tensor->bytes.size() != count * sizeof(float)) {
    fail(ErrorCode::mismatch, file.path().string(),
         concat(kGgufRopeFactors, " should hold ", count, " F32 values"),
         "convert the model again with a current llama.cpp");
  }
  std::vector<float> divisors(count);
  std::memcpy(divisors.data(), tensor->bytes.data(), tensor->bytes.size());
  return divisors;
}

/// By what Llama 3's scaling divides the frequency that makes one turn in
/// `wavelength` positions.
double llama3_divisor(double wavelength, double factor) {
  if (wavelength < kOriginalContext / kHighFreqFactor) return 1;
  if (wavelength > kOriginalContext / kLowFreqFactor) return factor;
  const double smooth = (kOriginalContext / wavelength - kLowFreqFactor) /
                        (kHighFreqFactor - kLowFreqFactor);
  return 1 / ((1 - smooth) / factor + smooth);
}

bool are_llama3(const std::vector<float>& divisors, double theta,
                double factor) {
  const auto head_dim = static_cast<double>(2 * divisors.size());
  for (std::size_t i = 0; i < divisors.size(); ++i) {
    const double exponent = 2 * static_cast<double>(i) / head_dim;
    const double wavelength = 2 * std::numbers::pi * std::pow(theta, exponent);
    const double expected = llama3_divisor(wavelength, factor);
    if (!(std::abs(divisors[i] - expected) <= kTolerance * expected)) {
      return false;
    }
  }
  return true;
}

Json llama3_scaling(const GgufFile& file, const std::vector<float>& divisors,
                    double theta) {
  const double factor = *std::ranges::max_element(divisors);
  if (!are_llama3(divisors, theta, factor)) {
    fail_unsupported(
        file, concat("the rotary frequencies are divided by ", kGgufRopeFactors,
                     " in a way Llama 3's scaling does not tell"));
  }
  return {
      {"rope_type", "llama3"},
      {"factor", shortest_decimal(factor)},
      {"low_freq_factor", kLowFreqFactor},
      {"high_freq_factor", kHighFreqFactor},
      {"original_max_position_embeddings", static_cast<int>(kOriginalContext)}};
}

/// YaRN with the constants of its paper, which converters leave unsaid.
Json yarn_scaling(const GgufFile& file, const std::string& prefix) {
  for (const char* key :
       {"attn_factor", "yarn_log_multiplier", "yarn_ext_factor",
        "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow"}) {
    const auto name = concat(prefix, "scaling.", key);
    if (file.find_value(name) == nullptr) continue;
    fail_unsupported(file, concat("rotary positions are varied by ", name));
  }
  const auto key = prefix + "scaling.original_context_length";
  const auto context = file.require<std::int64_t>(key);
  if (context < 1 || context > std::numeric_limits<std::int32_t>::max()) {
    fail(ErrorCode::corrupt_file, file.path().string(),
         concat("the metadata value ", key, " is ", context),
         "convert the model again with a current llama.cpp");
  }
  return {{"rope_type", "yarn"},
          {"factor", read_positive_decimal(file, prefix + "scaling.factor")},
          {"original_max_position_embeddings", context}};
}

/// Scaling told by metadata; null when there is none.
Json stated_scaling(const GgufFile& file, const std::string& prefix) {
  const auto old_factor = file.get<double>(prefix + "scale_linear");
  const auto kind = file.get<std::string_view>(prefix + "scaling.type")
                        .value_or(old_factor ? "linear" : "none");
  if (kind == "none") return nullptr;
  if (kind == "yarn") return yarn_scaling(file, prefix);
  if (kind != "linear") {
    fail_unsupported(file,
                     concat("rotary positions are scaled by \"", kind, '"'));
  }
  const double factor = read_positive_decimal(
      file, prefix + (old_factor ? "scale_linear" : "scaling.factor"));
  if (factor == 1) return nullptr;
  return {{"rope_type", "linear"}, {"factor", factor}};
}

}  // namespace

void add_gguf_rope(Json& config, const GgufFile& file,
                   const GgufFamily& family) {
  const auto prefix = concat(family.architecture, ".rope.");
  const auto theta_key = prefix + "freq_base";
  const double theta = file.find_value(theta_key) == nullptr
                           ? kDefaultTheta
                           : read_positive_decimal(file, theta_key);
  config["rope_theta"] = theta;
  auto scaling = stated_scaling(file, prefix);
  const auto count = config.at("head_dim").get<std::size_t>() / 2;
  const auto divisors = read_divisors(file, count);
  const bool divided =
      std::ranges::any_of(divisors, [](float value) { return value != 1; });
  if (divided && !scaling.is_null()) {
    fail_unsupported(file, "rotary positions are scaled in two ways");
  }
  if (divided) scaling = llama3_scaling(file, divisors, theta);
  if (!scaling.is_null()) config["rope_scaling"] = scaling;
}

double shortest_decimal(double value) {
  const auto narrow = static_cast<float>(value);
  if (static_cast<double>(narrow) != value || !std::isfinite(value)) {
    return value;
  }
  char text[64];
  const auto written = std::to_chars(text, text + sizeof(text), narrow);
  return Json::parse(text, written.ptr).get<double>();
}

double read_positive_decimal(const GgufFile& file, std::string_view key) {
  const double value = file.require<double>(key);
  if (value > 0 && std::isfinite(value)) return shortest_decimal(value);
  fail(ErrorCode::corrupt_file, file.path().string(),
       concat("the metadata value ", key, " is ", value),
       "convert the model again with a current llama.cpp");
}

}  // namespace llamlx
