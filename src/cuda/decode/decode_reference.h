#pragma once

#include <string>
#include <vector>

#include "cuda/decode/decode_testing.h"

/// One token in float64, to compare decode.cu with: each step from what the
/// kernel itself had before it, so that a tolerance is of one step alone.

namespace llamlx::cuda::testing {

/// Numbers, and how far from them a kernel may be.
struct Numbers {
  Doubles values;
  Doubles errors;

  static Numbers exactly(const Floats& x) {
    return {{x.begin(), x.end()}, Doubles(x.size())};
  }
};

/// The lowest bit of what is passed on is lost.
inline constexpr double kLostBit = 0x1p-23;

inline void expect_near(const char* what, const Floats& got,
                        const Numbers& want) {
  ASSERT_EQ(got.size(), want.values.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], want.values[i], want.errors[i]) << what << " " << i;
  }
}

class DecodeReference {
 public:
  explicit DecodeReference(const DecodeModel& model) : model_(model) {}

  /// The residual stream before the last layer.
  Numbers input(int id) const {
    const auto& table = model_.table.parts[0];
    const int row = id < 0 ? table.rows - 1 : id;
    Numbers x;
    for (int i = 0; i < table.cols; ++i) {
      const auto at = Reference::index(row * table.cols + i);
      x.values.push_back(table.values[at]);
      x.errors.push_back(kLostBit * table.magnitudes[at]);
    }
    if (!model_.set.has_biases) return x;
    for (std::size_t l = 0; l + 1 < model_.layers.size(); ++l) {
      const auto& products = model_.layers[l].products;
      for (const auto product : {Product::o, Product::down}) {
        const auto& bias = products[static_cast<std::size_t>(product)].biases;
        add(x, Numbers::exactly(bias[0]));
      }
    }
    return x;
  }

  /// Of the last layer.
  Numbers product(Product which, const Numbers& x) const {
    const auto& layer = model_.layers.back();
    const auto& matrix = layer.products[static_cast<std::size_t>(which)];
    switch (which) {
      case Product::qkv:
        return multiply(matrix, 0, x, &layer.norms[0]);
      case Product::gate_up:
        return gate(multiply(matrix, 0, x, &layer.norms[1]),
                    multiply(matrix, 1, x, &layer.norms[1]));
      default:
        return multiply(matrix, 0, x, nullptr);
    }
  }
  Numbers logits(const Floats& residual) const {
    return multiply(model_.head, 0, Numbers::exactly(residual), &model_.norm);
  }

  /// a += b, and the sum is passed on.
  static void add(Numbers& a, const Numbers& b) {
    for (std::size_t i = 0; i < a.values.size(); ++i) {
      const double size = std::abs(a.values[i]) + std::abs(b.values[i]);
      a.values[i] += b.values[i];
      a.errors[i] += b.errors[i] + 2 * kLostBit * size;
    }
  }

 private:
  const DecodeModel& model_;

  /// How far off an operand is of x[k], of whose group `largest` is the
  /// largest: for affine weights half a step of 2 / (127 * 256) * largest, and
  /// some for the float32 it is rounded from; for dense ones what two numbers
  /// of 16 bits do not hold, of float16 down to the smallest that there is.
  double operand_error(double x, double largest) const {
    const auto& [layout, is_short] = model_.set.format;
    if (layout.is_affine()) return 0x1.05p-16 * largest;
    const auto type = is_short ? NumberType::f16 : layout.type;
    const double two = unit(type) * unit(type) * std::abs(x);
    return type == NumberType::f16 ? two + 0x1p-38 * largest : two;
  }
  Numbers operand(const Numbers& x, const Floats* norm) const {
    const auto group =
        static_cast<std::size_t>(decode_group(model_.set.format.layout));
    Numbers y = x;
    for (std::size_t i = 0; i < y.values.size() && norm != nullptr; ++i) {
      y.values[i] *= (*norm)[i];
      y.errors[i] *= std::abs((*norm)[i]);
    }
    for (std::size_t first = 0; first < y.values.size(); first += group) {
      const auto end = std::min(first + group, y.values.size());
      double largest = 0;
      for (auto i = first; i < end; ++i) {
        largest = std::max(largest, std::abs(y.values[i]) + y.errors[i]);
      }
      for (auto i = first; i < end; ++i) {
        y.errors[i] += operand_error(y.values[i], largest);
      }
    }
    return y;
  }

  /// What an rms norm multiplies by, and how far off it is, relative.
  struct Factor {
    double value = 1;
    double error = 0;
  };
  static Factor norm_factor(const Numbers& x) {
    double squares = 0;
    double errors = 0;
    for (std::size_t i = 0; i < x.values.size(); ++i) {
      squares += x.values[i] * x.values[i];
      errors += std::abs(x.values[i]) * x.errors[i];
    }
    const auto cols = static_cast<double>(x.values.size());
    return {1 / std::sqrt(squares / cols + Pass::kEps), errors / squares};
  }

  /// Part `part` of a matrix times x, normed if there is a norm. A sum of
  /// float32 adds at most 2^-23 of what is summed for every column, and as much
  /// for each of some roundings after it, as in few_rows_test.cpp.
  Numbers multiply(const DecodeMatrix& matrix, std::size_t part,
                   const Numbers& x, const Floats* norm) const {
    const auto& w = matrix.parts[part];
    const auto y = operand(x, norm);
    const auto factor = norm == nullptr ? Factor{} : norm_factor(x);
    Numbers result;
    for (int n = 0; n < w.rows; ++n) {
      double value = 0;
      double error = 0;
      double size = 0;
      for (int k = 0; k < w.cols; ++k) {
        const auto at = Reference::index(n * w.cols + k);
        const auto i = Reference::index(k);
        value += y.values[i] * w.values[at];
        error += y.errors[i] * std::abs(w.values[at]);
        size += (std::abs(y.values[i]) + y.errors[i]) * w.magnitudes[at];
      }
      error += size * ((w.cols + 32) * 0x1p-23 + factor.error);
      value *= factor.value;
      error *= factor.value;
      if (!matrix.biases.empty()) {
        const double bias = matrix.biases[part][Reference::index(n)];
        value += bias;
        error += kLostBit * std::abs(bias);
      }
      result.values.push_back(value);
      result.errors.push_back(error + 2 * kLostBit * std::abs(value));
    }
    return result;
  }

  /// silu(a) b: silu's slope is at most 1.1; exp of float32 is good to 2^-21.
  static Numbers gate(const Numbers& gate, const Numbers& up) {
    Numbers result;
    for (std::size_t i = 0; i < gate.values.size(); ++i) {
      const double a = gate.values[i];
      const double b = up.values[i];
      const double silu = a / (1 + std::exp(-a));
      result.values.push_back(silu * b);
      result.errors.push_back(1.1 * gate.errors[i] *
                                  (std::abs(b) + up.errors[i]) +
                              (std::abs(silu) + 0x1p-20) * up.errors[i] +
                              0x1p-20 * std::abs(silu * b) + 0x1p-30);
    }
    return result;
  }
};

/// Whether the token is the first largest, or the one drawn, as far as the
/// reference can tell; and whether it is where the host looks for it, and
/// nothing else.
inline void expect_token(const DecodeRun& run, const Numbers& logits,
                         const Draw& draw = {}) {
  ASSERT_GE(run.token, 0);
  ASSERT_LT(run.token, static_cast<int>(logits.values.size()));
  const auto token = Reference::index(run.token);
  // Of a sum with noise, of which the reference has two: each of float32.
  const double rounding = draw.temperature == 0 ? 0 : 4 * 0x1p-24 * 32;
  const auto compared = [&](std::size_t i) {
    return logits.values[i] + value_to_compare(draw, 0, static_cast<int>(i), 0);
  };
  for (std::size_t i = 0; i < logits.values.size(); ++i) {
    if (i == token) continue;
    ASSERT_GE(compared(token) + logits.errors[token] + rounding,
              compared(i) - logits.errors[i])
        << i << " is likelier than " << run.token;
  }
}

inline void expect_only_token(const DecodeRun& run, int token) {
  EXPECT_EQ(run.token, token);
  auto host = run.host_tokens;
  EXPECT_EQ(host[DecodeRun::kSlot * kTokenSlotRows], token);
  host[DecodeRun::kSlot * kTokenSlotRows] = -9;
  EXPECT_EQ(host, std::vector<int>(host.size(), -9));
}

/// Whether all that the last layer of a run's last pass has passed on is right.
inline void expect_pass(const DecodeModel& model, const DecodeRun& run,
                        int id) {
  const DecodeReference reference(model);
  const auto& got = run.exchange;
  const auto x = reference.input(id);
  expect_near("qkv", got.qkv, reference.product(Product::qkv, x));
  expect_appended(run.attention, run.caches_before);
  // As rounding_of_few() in few_rows_test.cpp.
  const double rest =
      unit(model.set.format.layout.type) * unit(model.set.format.layout.type);
  const Reference attention(run.attention);
  expect_near_reference(
      run.attention,
      [&](int row, int head) { return attention.scaled_query(row, head); },
      {rest + 16 * kUnit, rest});
  auto middle = reference.product(Product::o, Numbers::exactly(got.attended));
  DecodeReference::add(middle, x);
  expect_near("middle", got.middle, middle);
  const auto before = Numbers::exactly(got.middle);
  expect_near("hidden", got.hidden,
              reference.product(Product::gate_up, before));
  auto residual =
      reference.product(Product::down, Numbers::exactly(got.hidden));
  DecodeReference::add(residual, before);
  expect_near("residual", got.residual, residual);
}

/// Runs tokens one after another, of which every other one chooses the next if
/// `mixes`, and else all.
inline void expect_right(const DecodeSetting& setting, int passes = 1,
                         bool mixes = false) {
  SCOPED_TRACE(to_string(setting.format));
  const DecodeModel model(setting);
  DecodeRun run(model);
  for (int i = 0; i < passes; ++i) {
    SCOPED_TRACE(i);
    const int id = i % 3 == 1 ? -1 : 5 * i + 3;
    const bool chooses = !mixes || i % 2 == 0;
    run.run(id, chooses);
    expect_pass(model, run, id);
    if (chooses) {
      expect_token(run, DecodeReference(model).logits(run.exchange.residual),
                   setting.draw);
    }
    expect_only_token(run, chooses ? run.token : -9);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace llamlx::cuda::testing
