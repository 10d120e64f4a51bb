#include "cuda/memory.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "base/concat.h"
#include "base/error.h"
#include "base/human_size.h"
#include "cuda/device.h"
#include "cuda/driver.h"
#include "cuda/out_of_memory.h"

namespace llamlx {
namespace {

constexpr std::size_t kPieceBytes = std::size_t{8} << 20;

// The driver stages less than this as well as we would.
constexpr std::size_t kSmallBytes = std::size_t{64} << 10;

CUdeviceptr address(const void* device) {
  return reinterpret_cast<CUdeviceptr>(device);
}

bool is_pinned(const void* host) {
  unsigned type = 0;
  const auto result = driver().pointer_get_attribute(
      &type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, address(host));
  return result == CUDA_SUCCESS && type == CU_MEMORYTYPE_HOST;
}

void send(Stream& stream, void* device, const void* host, std::size_t bytes) {
  check_driver(
      driver().memcpy_htod_async(address(device), host, bytes, stream.handle()),
      "copy to the GPU");
}

/// Pinned memory that pieces of uploads lie in, by turns, until they are sent.
struct Staging {
  struct Piece {
    HostBuffer memory{kPieceBytes};
    Event sent;
  };
  std::array<Piece, 2> pieces;
  std::size_t turn = 0;
};

void send_by_pieces(Stream& stream, std::byte* device, const std::byte* host,
                    std::size_t bytes) {
  thread_local Staging staging;
  for (std::size_t at = 0; at < bytes; at += kPieceBytes) {
    auto& piece = staging.pieces[staging.turn++ % staging.pieces.size()];
    const auto count = std::min(kPieceBytes, bytes - at);
    piece.sent.synchronize();
    std::memcpy(piece.memory.data(), host + at, count);
    send(stream, device + at, piece.memory.data(), count);
    piece.sent.record(stream);
  }
}

}  // namespace

void FreeDeviceMemory::operator()(void* memory) const noexcept {
  if (enter_cuda_device()) driver().mem_free(address(memory));
}

void FreeHostMemory::operator()(void* memory) const noexcept {
  if (enter_cuda_device()) driver().mem_free_host(memory);
}

DeviceBuffer::DeviceBuffer(std::size_t bytes) : bytes_(bytes) {
  cuda_device();
  if (bytes == 0) return;
  CUdeviceptr memory = 0;
  const auto result = driver().mem_alloc(&memory, bytes);
  if (result == CUDA_ERROR_OUT_OF_MEMORY) fail_for_memory(bytes);
  check_driver(result, "get memory");
  memory_.reset(reinterpret_cast<void*>(memory));
}

HostBuffer::HostBuffer(std::size_t bytes) : bytes_(bytes) {
  cuda_device();
  if (bytes == 0) return;
  void* memory = nullptr;
  const auto result = driver().mem_host_alloc(
      &memory, bytes, CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP);
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    fail(ErrorCode::out_of_memory, "memory",
         concat("cannot pin ", human_size(bytes), " for the GPU"),
         "close other programs, or raise the limit of locked memory");
  }
  check_driver(result, "pin memory");
  memory_.reset(memory);
  CUdeviceptr device = 0;
  check_driver(driver().mem_host_get_device_pointer(&device, memory, 0),
               "map memory");
  device_data_ = reinterpret_cast<void*>(device);
}

void upload(Stream& stream, void* device, const void* host, std::size_t bytes) {
  if (bytes == 0) return;
  cuda_device();
  if (bytes <= kSmallBytes || is_pinned(host)) {
    send(stream, device, host, bytes);
  } else {
    send_by_pieces(stream, static_cast<std::byte*>(device),
                   static_cast<const std::byte*>(host), bytes);
  }
}

void download(Stream& stream, void* host, const void* device,
              std::size_t bytes) {
  if (bytes == 0) return;
  cuda_device();
  check_driver(
      driver().memcpy_dtoh_async(host, address(device), bytes, stream.handle()),
      "copy from the GPU");
}

void copy_on_device(Stream& stream, void* to, const void* from,
                    std::size_t bytes) {
  if (bytes == 0) return;
  cuda_device();
  check_driver(driver().memcpy_dtod_async(address(to), address(from), bytes,
                                          stream.handle()),
               "copy within its memory");
}

void fill_zero(Stream& stream, void* device, std::size_t bytes) {
  if (bytes == 0) return;
  cuda_device();
  check_driver(
      driver().memset_d8_async(address(device), 0, bytes, stream.handle()),
      "fill its memory");
}

}  // namespace llamlx
