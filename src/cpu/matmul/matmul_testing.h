#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/concat.h"
#include "cpu/matmul/matmul.h"

// Products of small made-up matrices by a kernel and in float64. Only tests
// include this.
namespace llamlx::testing {

/// Memory that ends where a page begins that nobody may touch: reading or
/// writing past its end is a crash. Every byte is 0xff at first: a NaN in any
/// float type. Aligned for `alignment`, no more if it can be helped.
class GuardedMemory {
 public:
  explicit GuardedMemory(std::size_t bytes, std::size_t alignment = 1) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    bytes_ = (bytes + alignment - 1) / alignment * alignment;
    const std::size_t used = (bytes_ + page - 1) / page * page;
    mapped_ = used + page;
    void* memory = ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    begin_ = static_cast<std::byte*>(memory);
    ::mprotect(begin_ + used, page, PROT_NONE);
    data_ = begin_ + used - bytes_;
    if (bytes_ > 0) std::memset(data_, 0xff, bytes_);
  }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;
  ~GuardedMemory() { ::munmap(begin_, mapped_); }

  void* data() { return data_; }
  template <typename T>
  T* as() {
    return reinterpret_cast<T*>(data_);
  }
  std::size_t size() const { return bytes_; }

 private:
  std::byte* begin_;
  std::byte* data_;
  std::size_t bytes_;
  std::size_t mapped_;
};

/// The numbers of 16 bits and their values, by plain arithmetic.
inline double bf16_value(std::uint16_t bits) {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}
inline double f16_value(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const int fraction = bits & 1023;
  const double magnitude = exponent == 0
                               ? std::ldexp(fraction, -24)
                               : std::ldexp(1024 + fraction, exponent - 25);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

/// A made-up weight in guarded memory, and its values in float64.
class TestWeight {
 public:
  TestWeight(const WeightFormat& format, int rows, int cols, unsigned seed)
      : random_(seed),
        data_(data_bytes(format, rows, cols)),
        scales_(scale_bytes(format, rows, cols)),
        biases_(scale_bytes(format, rows, cols)),
        values_(static_cast<std::size_t>(rows) *
                static_cast<std::size_t>(cols)) {
    const bool is_dense = format.bits == 0;
    view_ = {format,
             rows,
             cols,
             data_.data(),
             is_dense ? nullptr : scales_.data(),
             is_dense ? nullptr : biases_.data()};
    if (is_dense) {
      for (std::size_t i = 0; i < values_.size(); ++i) {
        values_[i] = write(data_, i, draw(-1, 1));
      }
    } else {
      fill_groups();
    }
  }

  const WeightView& view() const { return view_; }
  double value(int row, int col) const {
    return values_[static_cast<std::size_t>(row) *
                       static_cast<std::size_t>(view_.cols) +
                   static_cast<std::size_t>(col)];
  }

 private:
  static std::size_t data_bytes(const WeightFormat& format, int rows,
                                int cols) {
    return static_cast<std::size_t>(rows) *
           WeightView{format, rows, cols, nullptr, nullptr, nullptr}
               .row_bytes();
  }
  static std::size_t scale_bytes(const WeightFormat& format, int rows,
                                 int cols) {
    return format.bits == 0
               ? 0
               : static_cast<std::size_t>(rows) *
                     static_cast<std::size_t>(cols / format.group_size) *
                     size_of(format.values);
  }

  double draw(double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random_);
  }

  // Writes `number` in the type of values as its nearest below; returns what
  // was written.
  double write(GuardedMemory& memory, std::size_t index, double number) {
    const auto single = static_cast<float>(number);
    const auto bits = std::bit_cast<std::uint32_t>(single);
    if (view_.format.values == ValueType::f32) {
      memory.as<float>()[index] = single;
      return single;
    }
    std::uint16_t half = static_cast<std::uint16_t>(bits >> 16);
    double written = bf16_value(half);
    if (view_.format.values == ValueType::f16) {
      const int magnitude =
          static_cast<int>((bits & 0x7fffffff) >> 13) - (112 << 10);
      half = static_cast<std::uint16_t>((bits >> 31 << 15) |
                                        (magnitude < 0 ? 0u : magnitude));
      written = f16_value(half);
    }
    memory.as<std::uint16_t>()[index] = half;
    return written;
  }

  void fill_groups() {
    const auto& format = view_.format;
    const auto bits = static_cast<std::size_t>(format.bits);
    const auto group_size = static_cast<std::size_t>(format.group_size);
    const double levels = std::ldexp(1, format.bits) - 1;
    std::memset(data_.data(), 0, data_.size());
    std::vector<double> scale(values_.size() / group_size);
    std::vector<double> bias(scale.size());
    for (std::size_t g = 0; g < scale.size(); ++g) {
      scale[g] = write(scales_, g, draw(0.2, 2) / levels);
      bias[g] = write(biases_, g, draw(-1.5, 0.5));
    }
    for (std::size_t i = 0; i < values_.size(); ++i) {
      const auto code =
          static_cast<std::uint64_t>(random_()) & ((1u << format.bits) - 1);
      // Of a number that passes a word's end, the next word has the rest: on a
      // little-endian machine, the stream's bits in order.
      for (std::size_t bit = 0; bit < bits; ++bit) {
        const std::size_t at = i * bits + bit;
        data_.as<std::uint8_t>()[at / 8] |=
            static_cast<std::uint8_t>((code >> bit & 1) << at % 8);
      }
      const std::size_t g = i / group_size;
      values_[i] = scale[g] * static_cast<double>(code) + bias[g];
    }
  }

  std::mt19937 random_;
  GuardedMemory data_;
  GuardedMemory scales_;
  GuardedMemory biases_;
  std::vector<double> values_;
  WeightView view_{};
};

/// A weight of bf16 as a model's are: normally distributed.
class DenseBf16 {
 public:
  DenseBf16(int rows, int cols, unsigned seed)
      : rows_(rows),
        cols_(cols),
        values_(static_cast<std::size_t>(rows) *
                static_cast<std::size_t>(cols)) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, 0.02f);
    for (auto& value : values_) {
      value = static_cast<std::uint16_t>(
          std::bit_cast<std::uint32_t>(normal(random)) >> 16);
    }
  }

  WeightView view() const {
    return {{ValueType::bf16, 0, 0}, rows_,   cols_,
            values_.data(),          nullptr, nullptr};
  }
  std::uint16_t at(int row, int col) const { return values_[index(row, col)]; }
  void set(int row, int col, std::uint16_t value) {
    values_[index(row, col)] = value;
  }

 private:
  std::size_t index(int row, int col) const {
    return static_cast<std::size_t>(row) * static_cast<std::size_t>(cols_) +
           static_cast<std::size_t>(col);
  }

  int rows_;
  int cols_;
  std::vector<std::uint16_t> values_;
};

/// How a product is cut among threads: rows of x and of w at a time.
struct Split {
  int prepared_rows = std::numeric_limits<int>::max() / 2;
  int weight_rows = std::numeric_limits<int>::max() / 2;
};

/// Rows `x` [rows, w.cols], `x_stride` apart, times w by `kernel`: [rows,
/// w.rows]. All the kernel is given is guarded, and what it may not write is
/// checked.
inline std::vector<float> product_by(const MatmulKernel& kernel,
                                     const WeightView& w, const float* x,
                                     int x_stride, int rows,
                                     const Split& split = {}) {
  GuardedMemory prepared(kernel.prepared_bytes(w.format, rows, w.cols), 64);
  for (int begin = 0; begin < rows;) {
    const int end = std::min(rows, begin + split.prepared_rows);
    kernel.prepare(w.format, x, x_stride, rows, w.cols, begin, end,
                   prepared.data());
    begin = end;
  }
  GuardedMemory scratch(kernel.scratch_bytes(w.format, rows, w.cols), 64);
  std::vector<float> product(static_cast<std::size_t>(rows) *
                             static_cast<std::size_t>(w.rows));
  for (int begin = 0; begin < w.rows;) {
    const int end = std::min(w.rows, begin + split.weight_rows);
    const int width = end - begin;
    const int stride = width + 3;
    // The last row has no gap after it: the guarded page follows.
    const auto count =
        static_cast<std::size_t>(rows - 1) * static_cast<std::size_t>(stride) +
        static_cast<std::size_t>(width);
    GuardedMemory y(count * sizeof(float));
    kernel.multiply(w, prepared.data(), rows, {begin, end}, scratch.data(),
                    y.as<float>(), stride);
    for (std::size_t at = 0; at < count; ++at) {
      const float value = y.as<float>()[at];
      const auto i = at / static_cast<std::size_t>(stride);
      const auto n = static_cast<int>(at % static_cast<std::size_t>(stride));
      if (n < width) {
        product[i * static_cast<std::size_t>(w.rows) +
                static_cast<std::size_t>(begin + n)] = value;
      } else {
        EXPECT_EQ(std::bit_cast<std::uint32_t>(value), 0xffffffffu)
            << "written between rows of y";
      }
    }
    begin = end;
  }
  return product;
}

/// How far a product may be from the exact one: sums in float32 of K terms in
/// any order are off by at most K roundings of the sum of magnitudes, and
/// operands are rounded to float32, or to what `compute` allows: a number of p
/// bits is off by at most 2^-p of itself.
inline double matmul_tolerance(ValueType compute, int cols) {
  const double operand = compute == ValueType::bf16  ? std::ldexp(1, -8)
                         : compute == ValueType::f16 ? std::ldexp(1, -11)
                                                     : std::ldexp(1, -24);
  return 2.01 * operand + (cols + 2) * std::ldexp(1, -24);
}

/// Expects `product` to be the rows `x` times `w`.
inline void expect_product(const std::vector<float>& product,
                           const TestWeight& w, const float* x, int x_stride,
                           int rows, ValueType compute) {
  const int cols = w.view().cols;
  const double tolerance = matmul_tolerance(compute, cols);
  for (int i = 0; i < rows; ++i) {
    for (int n = 0; n < w.view().rows; ++n) {
      double exact = 0;
      double magnitude = 0;
      for (int k = 0; k < cols; ++k) {
        const double term =
            w.value(n, k) *
            double{x[static_cast<std::ptrdiff_t>(i) * x_stride + k]};
        exact += term;
        magnitude += std::abs(term);
      }
      const auto at = static_cast<std::size_t>(i) *
                          static_cast<std::size_t>(w.view().rows) +
                      static_cast<std::size_t>(n);
      ASSERT_LE(std::abs(double{product[at]} - exact), tolerance * magnitude)
          << "row " << i << " of x, row " << n << " of w: " << product[at]
          << " for " << exact;
    }
  }
}

/// Rows of x, `stride` floats apart, of which the last ends at a guarded page.
class TestRows {
 public:
  TestRows(int rows, int cols, unsigned seed)
      : stride_(cols + 5),
        memory_((static_cast<std::size_t>(rows - 1) *
                     static_cast<std::size_t>(stride_) +
                 static_cast<std::size_t>(cols)) *
                sizeof(float)) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (int i = 0; i < rows; ++i) {
      for (int k = 0; k < cols; ++k) {
        memory_.as<float>()[static_cast<std::ptrdiff_t>(i) * stride_ + k] =
            normal(random);
      }
    }
  }

  const float* data() { return memory_.as<float>(); }
  int stride() const { return stride_; }

 private:
  int stride_;
  GuardedMemory memory_;
};

/// Every format there is.
inline std::vector<WeightFormat> all_weight_formats() {
  std::vector<WeightFormat> formats;
  for (const auto values : {ValueType::f32, ValueType::f16, ValueType::bf16}) {
    formats.push_back({values, 0, 0});
    for (const int bits : {2, 3, 4, 5, 6, 8}) {
      for (const int group_size : {32, 64, 128}) {
        formats.push_back({values, bits, group_size});
      }
    }
  }
  return formats;
}

inline std::string to_string(ValueType type) {
  return type == ValueType::f32   ? "f32"
         : type == ValueType::f16 ? "f16"
                                  : "bf16";
}

inline std::string to_string(const WeightFormat& format) {
  return concat(to_string(format.values), " bits ", format.bits, " group ",
                format.group_size);
}

/// A kernel, and what it may compute in.
struct KernelCase {
  const MatmulKernel* kernel;
  ValueType compute;
};

/// Tests of one kernel, skipped where the machine does not run it.
class KernelTest : public ::testing::TestWithParam<KernelCase> {
 protected:
  void SetUp() override {
    if (!is_supported(GetParam().kernel->isa)) {
      GTEST_SKIP() << "this machine does not run "
                   << llamlx::to_string(GetParam().kernel->isa);
    }
  }
};

}  // namespace llamlx::testing
