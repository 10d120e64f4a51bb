#include "cpu/quantize/quantize.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace llamlx {

extern const QuantizeKernel kQuantizeScalar;
extern const QuantizeKernel kQuantizeAvx2;
extern const QuantizeKernel kQuantizeAvx512;
extern const QuantizeKernel kQuantizeNeon;

namespace {

constexpr std::int64_t kProofGroups = 19;  // and so a part of a kernel's step
constexpr int kLargestGroup = 128;

/// Values that differ in size and sign, some alike, some 0, whatever type they
/// are read as; all finite.
std::vector<std::uint32_t> proof_values() {
  std::vector<std::uint32_t> words(kProofGroups * kLargestGroup);
  std::uint32_t state = 1;
  for (auto& word : words) {
    state = state * 1664525 + 1013904223;
    word = state % 13 == 0 ? 0 : state & 0xbfffbfff;
  }
  std::fill_n(words.begin() + kLargestGroup, kLargestGroup, words.front());
  return words;
}

/// All that a kernel makes of the values, every byte of it.
std::vector<std::byte> results_of(QuantizeGroups quantize,
                                  const std::vector<std::uint32_t>& values) {
  constexpr auto kBytes = sizeof(float) * kProofGroups;
  constexpr ValueType kTypes[] = {ValueType::f32, ValueType::f16,
                                  ValueType::bf16};
  std::vector<std::byte> all;
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group_size : {32, 64, 128}) {
      for (const auto from : kTypes) {
        for (const auto to : kTypes) {
          std::vector<std::byte> data(kProofGroups * kLargestGroup);
          std::vector<std::byte> scales(kBytes);
          std::vector<std::byte> biases(kBytes);
          quantize({to, bits, group_size}, values.data(), from, kProofGroups,
                   {data.data(), scales.data(), biases.data()});
          for (const auto* part : {&data, &scales, &biases}) {
            all.insert(all.end(), part->begin(), part->end());
          }
        }
      }
    }
  }
  return all;
}

/// The last instruction set that may be used and writes the reference's bytes.
QuantizeGroups best_kernel() {
  const auto& kernels = all_quantize_kernels();
  const auto values = proof_values();
  const auto expected = results_of(kernels.front().quantize, values);
  const auto best = std::find_if(
      kernels.rbegin(), kernels.rend() - 1, [&](const auto& kernel) {
        return kernel.isa <= active_isa() &&
               results_of(kernel.quantize, values) == expected;
      });
  return best->quantize;
}

}  // namespace

const std::vector<QuantizeKernel>& all_quantize_kernels() {
  static const std::vector<QuantizeKernel> kernels = {
    kQuantizeScalar,
#if defined(__x86_64__)
    kQuantizeAvx2,
    kQuantizeAvx512,
#elif defined(__aarch64__)
    kQuantizeNeon,
#endif
  };
  return kernels;
}

Finiteness quantize_rows(const WeightFormat& format, const void* values,
                         ValueType source, std::int64_t rows, int cols,
                         const QuantizedRows& out) {
  static const QuantizeGroups quantize = best_kernel();
  return quantize(format, values, source, rows * (cols / format.group_size),
                  out);
}

}  // namespace llamlx
