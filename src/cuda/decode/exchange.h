#pragma once

#include "cuda/intrinsics.h"
#include "cuda/token/argmax.h"

/// What blocks that run together pass to each other. The lowest bit of a number
/// is not the number's: it is the mark of the one that was written last. Who
/// waits for a number looks at it until it has the mark of the next, 1 after 0
/// and 0 after 1; a flag beside it would have to be written later and read
/// before, each of which takes as long as the number itself.
///
/// That two marks are enough takes that nobody is still waiting for a number
/// when the next but one is written, nor has yet to read it when the next is
/// (decode_blocks()).

namespace llamlx::cuda {

using Mark = std::uint32_t;

/// The mark of what is written for the n-th time, from 0 on, into zeros.
__device__ inline Mark mark_of(unsigned n) { return (n & 1U) ^ 1U; }

__device__ inline std::uint32_t marked(std::uint32_t bits, Mark mark) {
  return (bits & ~1U) | mark;
}
__device__ inline bool has_mark(std::uint32_t bits, Mark mark) {
  return (bits & 1U) == mark;
}
template <typename Words>
__device__ bool have_mark(const Words& words, Mark mark) {
  bool result = true;
  for (const auto word : words.w) result = result && has_mark(word, mark);
  return result;
}

/// Four, or two, neighbours, when they have been written.
template <typename Words>
__device__ Words await_words(const float* from, Mark mark) {
  const auto* words = reinterpret_cast<const Words*>(from);
  auto result = load_shared_word(words);
  while (!have_mark(result, mark)) {
    look_again();
    result = load_shared_word(words);
  }
  return result;
}
__device__ inline float await(const float* from, Mark mark) {
  const auto* word = reinterpret_cast<const std::uint32_t*>(from);
  auto result = load_shared_word(word);
  while (!has_mark(result, mark)) {
    look_again();
    result = load_shared_word(word);
  }
  return __uint_as_float(result);
}

__device__ inline void publish(float* to, float value, Mark mark) {
  store_shared_word(reinterpret_cast<std::uint32_t*>(to),
                    marked(__float_as_uint(value), mark));
}
__device__ inline void publish(float* to, const Floats4& values, Mark mark) {
  Words4 words;
  for (int i = 0; i < 4; ++i) {
    words.w[i] = marked(__float_as_uint(values.f[i]), mark);
  }
  store_shared_word(reinterpret_cast<Words4*>(to), words);
}

/// A value of which no bit may be lost: a word has half of one.
__device__ inline void publish(std::uint32_t* to, const LargestValue& value,
                               Mark mark) {
  const auto bits = __float_as_uint(value.value);
  const auto index = static_cast<std::uint32_t>(value.index);
  store_shared_word(
      reinterpret_cast<Words4*>(to),
      Words4{{(bits >> 16) << 1 | mark, (bits & 0xffffU) << 1 | mark,
              (index >> 16) << 1 | mark, (index & 0xffffU) << 1 | mark}});
}
__device__ inline LargestValue await_value(const std::uint32_t* from,
                                           Mark mark) {
  const auto words =
      await_words<Words4>(reinterpret_cast<const float*>(from), mark);
  const auto join = [](std::uint32_t high, std::uint32_t low) {
    return high >> 1 << 16 | low >> 1;
  };
  return {__uint_as_float(join(words.w[0], words.w[1])),
          static_cast<int>(join(words.w[2], words.w[3]))};
}

}  // namespace llamlx::cuda
