#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <new>

#include "base/concat.h"
#include "cpu/matmul/registry.h"
#include "cpu/packed_bf16/packed_bf16.h"

namespace llamlx {
namespace {

struct FreeAligned {
  void operator()(std::byte* memory) const {
    ::operator delete (memory, std::align_val_t{64});
  }
};

std::unique_ptr<std::byte, FreeAligned> aligned_memory(std::size_t bytes) {
  return std::unique_ptr<std::byte, FreeAligned>(static_cast<std::byte*>(
      ::operator new (bytes + 1, std::align_val_t{64})));
}

// Numbers without a pattern, always the same.
class Random {
 public:
  std::uint32_t bits() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::uint32_t>(state_ >> 33);
  }

  // +-[0.5, 1) / 2^`halvings`, stored as `type` at `to`.
  double number(ValueType type, std::byte* to, std::uint32_t halvings = 0) {
    const std::uint32_t sign = bits() & 1;
    const std::uint32_t fraction = bits();
    if (type == ValueType::f16) {
      const auto half =
          static_cast<std::uint16_t>(sign << 15 | 14u << 10 | fraction >> 21);
      std::memcpy(to, &half, sizeof(half));
      return std::ldexp(1024.0 + (half & 1023), -11) * (sign != 0 ? -1 : 1);
    }
    std::uint32_t word = sign << 31 | (126u - halvings) << 23 | fraction >> 8;
    if (type == ValueType::bf16) {
      const auto half = static_cast<std::uint16_t>(word >> 16);
      std::memcpy(to, &half, sizeof(half));
      word = std::uint32_t{half} << 16;
    } else {
      std::memcpy(to, &word, sizeof(word));
    }
    return std::bit_cast<float>(word);
  }

 private:
  std::uint64_t state_ = 1;
};

// A made-up weight, and its values.
struct Example {
  std::vector<std::byte> data, scales, biases;
  std::vector<double> values;
  std::unique_ptr<std::byte, FreeAligned> bands;
  std::unique_ptr<const PackedBf16> packed;
  WeightView view{};

  Example(const WeightFormat& format, int rows, int cols, Random& random)
      : values(static_cast<std::size_t>(rows) *
               static_cast<std::size_t>(cols)) {
    view = {format, rows, cols, nullptr, nullptr, nullptr};
    data.resize(view.row_bytes() * static_cast<std::size_t>(rows));
    if (format == kPackedBf16) {
      fill_packed(random);
      return;
    }
    if (format.bits == 0) {
      fill(data, values, random);
    } else {
      fill_groups(random);
      view.scales = scales.data();
      view.biases = biases.data();
    }
    view.data = data.data();
  }

  void fill(std::vector<std::byte>& bytes, std::vector<double>& numbers,
            Random& random) const {
    const std::size_t size = size_of(view.format.values);
    bytes.resize(numbers.size() * size);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      numbers[i] = random.number(view.format.values, bytes.data() + i * size);
    }
  }

  // As many exponents as there are codes for, and one value of another.
  void fill_packed(Random& random) {
    std::vector<std::uint16_t> dense(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      constexpr std::uint32_t kExponents = 14;
      values[i] = random.number(
          ValueType::bf16, reinterpret_cast<std::byte*>(&dense[i]),
          i == values.size() / 2 ? kExponents + 6
                                 : static_cast<std::uint32_t>(i) % kExponents);
    }
    ThreadPool pool(1);
    const WeightView from{{ValueType::bf16, 0, 0},
                          view.rows,
                          view.cols,
                          dense.data(),
                          nullptr,
                          nullptr};
    bands = aligned_memory(PackedBf16::band_bytes(from));
    packed = PackedBf16::pack(from, pool, bands.get());
    view = packed->view();
  }

  void fill_groups(Random& random) {
    const auto bits = static_cast<std::size_t>(view.format.bits);
    const auto group_size = static_cast<std::size_t>(view.format.group_size);
    std::vector<double> scale(values.size() / group_size);
    std::vector<double> bias(scale.size());
    fill(scales, scale, random);
    fill(biases, bias, random);
    for (auto& byte : data) byte = static_cast<std::byte>(random.bits() & 255);
    for (std::size_t i = 0; i < values.size(); ++i) {
      unsigned code = 0;
      for (std::size_t bit = 0; bit < bits; ++bit) {
        const std::size_t at = i * bits + bit;
        const auto byte = std::to_integer<unsigned>(data[at / 8]);
        code |= (byte >> at % 8 & 1u) << bit;
      }
      values[i] = scale[i / group_size] * code + bias[i / group_size];
    }
  }
};

// How far off a sum of K terms may be. Roundings of its operands, which
// `compute` allows, fall to both sides, so they grow as the root of the sum of
// squares. A number of p bits is off by 2^-p of itself at most and 0.41 of that
// on the average, both operands by 0.58, and this is seven times as much. Small
// enough that one wrong term is seen. Sums in float32, in any order, lose no
// more than a rounding a term.
double tolerance(ValueType compute, int cols, double squares,
                 double magnitudes) {
  const int bits = compute == ValueType::bf16  ? 8
                   : compute == ValueType::f16 ? 11
                                               : 24;
  return 4 * std::ldexp(std::sqrt(squares), -bits) +
         (cols + 2) * std::ldexp(magnitudes, -24);
}

std::string fault_with(const MatmulKernel& kernel, const Example& w,
                       ValueType compute, int rows, Random& random) {
  const auto cols = static_cast<std::size_t>(w.view.cols);
  const int width = w.view.rows;
  std::vector<float> x(static_cast<std::size_t>(rows) * cols);
  for (auto& value : x) {
    random.number(ValueType::f32, reinterpret_cast<std::byte*>(&value));
  }
  std::vector<float> y(static_cast<std::size_t>(rows) *
                       static_cast<std::size_t>(width));
  const auto& format = w.view.format;
  const auto prepared =
      aligned_memory(kernel.prepared_bytes(format, rows, w.view.cols));
  const auto scratch =
      aligned_memory(kernel.scratch_bytes(format, rows, w.view.cols));
  kernel.prepare(format, x.data(), w.view.cols, rows, w.view.cols, 0, rows,
                 prepared.get());
  kernel.multiply(w.view, prepared.get(), rows, {0, width}, scratch.get(),
                  y.data(), width);
  for (std::size_t at = 0; at < y.size(); ++at) {
    const float* xs = x.data() + at / static_cast<std::size_t>(width) * cols;
    const double* ws =
        w.values.data() + at % static_cast<std::size_t>(width) * cols;
    double exact = 0;
    double squares = 0;
    double magnitudes = 0;
    for (std::size_t k = 0; k < cols; ++k) {
      const double term = double{xs[k]} * ws[k];
      exact += term;
      squares += term * term;
      magnitudes += std::abs(term);
    }
    const double error = std::abs(double{y[at]} - exact);
    const double allowed = tolerance(compute, w.view.cols, squares, magnitudes);
    // Not the other way round: a NaN is wrong too.
    if (!(error <= allowed)) {
      return concat("gave ", y[at], " for ", exact, ", give or take ", allowed,
                    ", with ", rows, rows == 1 ? " row" : " rows");
    }
  }
  return {};
}

}  // namespace

std::string fault_of(const MatmulKernel& kernel, const WeightFormat& format,
                     ValueType compute) {
  // The first leaves vectors partly filled.
  const int unit = format.bits == 0        ? 37
                   : format == kPackedBf16 ? kPackedCols
                                           : format.group_size;
  int cols = 0;
  for (const int candidate : {3 * unit, 128, 256, 512}) {
    if (!kernel.supports(format, candidate, compute)) continue;
    cols = candidate;
    break;
  }
  if (cols == 0) return "takes no product that it could be tried on";
  Random random;
  const Example w(format, std::min(kernel.row_step, 16) + 3, cols, random);
  // A first row alone, and enough to fill what a kernel takes together.
  constexpr int kMoreRows = 16;
  const int most = kernel.max_rows - kernel.min_rows < kMoreRows
                       ? kernel.max_rows
                       : kernel.min_rows + kMoreRows;
  auto fault = fault_with(kernel, w, compute, kernel.min_rows, random);
  if (!fault.empty()) return fault;
  return fault_with(kernel, w, compute, most, random);
}

}  // namespace llamlx
