#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "cuda/stream.h"

namespace llamlx {

struct FreeDeviceMemory {
  void operator()(void* memory) const noexcept;
};
struct FreeHostMemory {
  void operator()(void* memory) const noexcept;
};

/// Memory of the GPU. Freeing it waits for the kernels that run.
/// Errors: Error (out_of_memory) with what was asked for and what is free.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(std::size_t bytes);

  void* data() const { return memory_.get(); }
  std::size_t bytes() const { return memory_ ? bytes_ : 0; }

  template <typename T>
  T* as() const {
    return static_cast<T*>(memory_.get());
  }

 private:
  std::unique_ptr<void, FreeDeviceMemory> memory_;
  std::size_t bytes_ = 0;
};

/// Memory of the machine that stays where it is, so that the GPU copies from
/// and to it by itself, and kernels reach it at device_data().
/// Errors: Error (out_of_memory).
class HostBuffer {
 public:
  HostBuffer() = default;
  explicit HostBuffer(std::size_t bytes);

  void* data() const { return memory_.get(); }
  void* device_data() const { return memory_ ? device_data_ : nullptr; }
  std::size_t bytes() const { return memory_ ? bytes_ : 0; }

  template <typename T>
  T* as() const {
    return static_cast<T*>(memory_.get());
  }

 private:
  std::unique_ptr<void, FreeHostMemory> memory_;
  void* device_data_ = nullptr;
  std::size_t bytes_ = 0;
};

// Copies, as work of a stream. Errors: Error of the GPU.

/// From a HostBuffer this returns at once, and `host` must stay as it is until
/// the stream is past this. From any other memory (a mapped file) it goes
/// through two pieces of pinned memory that the calling thread keeps, so that
/// one is read while the other is sent; `host` is free again on return.
void upload(Stream& stream, void* device, const void* host, std::size_t bytes);

/// Memory of its own, uploaded.
template <typename T>
DeviceBuffer copy_to_gpu(Stream& stream, const std::vector<T>& values) {
  DeviceBuffer copy(values.size() * sizeof(T));
  upload(stream, copy.data(), values.data(), copy.bytes());
  return copy;
}

/// Into a HostBuffer this returns at once; into other memory, when it is there.
void download(Stream& stream, void* host, const void* device,
              std::size_t bytes);

/// From one place of the GPU's memory to another.
void copy_on_device(Stream& stream, void* to, const void* from,
                    std::size_t bytes);

void fill_zero(Stream& stream, void* device, std::size_t bytes);

}  // namespace llamlx
