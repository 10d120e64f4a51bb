#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

namespace llamlx {

/// Memory for kernels, aligned to a cache line, that only grows.
class AlignedBuffer {
 public:
  static constexpr std::size_t kAlignment = 64;

  /// At least `bytes`; what was there is lost when it grows.
  /// Errors: std::bad_alloc.
  std::byte* reserve(std::size_t bytes) {
    if (bytes > size_) {
      memory_.reset();
      size_ = 0;
      const auto rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
      memory_.reset(
          static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded)));
      if (!memory_) throw std::bad_alloc();
      size_ = rounded;
    }
    return memory_.get();
  }

  std::byte* data() const { return memory_.get(); }

  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(memory_.get());
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte[], Free> memory_;
  std::size_t size_ = 0;
};

}  // namespace llamlx
