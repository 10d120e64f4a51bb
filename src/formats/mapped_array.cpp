#include "formats/mapped_array.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include <mlx/allocator.h>
#include <mlx/device.h>

#include "formats/array_buffer.h"

namespace llamlx {
namespace {

// MLX's CPU allocator keeps a size before the memory it gives out, and its
// buffers point there.
constexpr std::size_t kBufferHeader = sizeof(std::size_t);

/// True when a buffer is an address and no more, laid out as said above: then
/// it may as well be the address of something else. Other devices' buffers are
/// objects of theirs.
bool buffers_are_addresses() {
  static const bool answer = [] {
    if (mx::is_available(mx::Device(mx::Device::gpu))) return false;
    const auto probe = mx::allocator::malloc(kBufferHeader);
    auto buffer = probe.buffer();
    const auto* address = static_cast<const std::byte*>(buffer.ptr());
    return buffer.raw_ptr() == address + kBufferHeader;
  }();
  return answer;
}

bool is_aligned(std::span<const std::byte> bytes, mx::Dtype dtype) {
  return reinterpret_cast<std::uintptr_t>(bytes.data()) % mx::size_of(dtype) ==
         0;
}

/// True when `bytes` may be a buffer's memory: what MLX takes for the size of
/// the buffer, the bytes before it, must be there to be read.
bool can_stand(const MappedFile& file, std::span<const std::byte> bytes,
               mx::Dtype dtype) {
  const auto offset = bytes.data() - file.bytes().data();
  return !bytes.empty() && is_aligned(bytes, dtype) &&
         offset >= static_cast<std::ptrdiff_t>(kBufferHeader) &&
         buffers_are_addresses();
}

mx::allocator::Data view(const std::shared_ptr<const MappedFile>& file,
                         std::span<const std::byte> bytes) {
  file->populate(bytes);
  auto* header = const_cast<std::byte*>(bytes.data()) - kBufferHeader;
  // A buffer with a deleter of its own is never written to by MLX.
  return {mx::allocator::Buffer(header),
          [file, bytes](mx::allocator::Buffer) { file->release(bytes); }};
}

mx::array copy(const MappedFile& file, std::span<const std::byte> bytes,
               mx::Shape shape, mx::Dtype dtype) {
  ArrayBuffer buffer(std::move(shape), dtype, file.path(), "a tensor");
  auto* to = buffer.bytes();
  for (auto rest = bytes; !rest.empty();) {
    const auto piece = rest.first(std::min(rest.size(), kReleasedPiece));
    std::memcpy(to, piece.data(), piece.size());
    file.release(piece);
    to += piece.size();
    rest = rest.subspan(piece.size());
  }
  return std::move(buffer).finish();
}

}  // namespace

mx::array mapped_array(const std::shared_ptr<const MappedFile>& file,
                       std::span<const std::byte> bytes, mx::Shape shape,
                       mx::Dtype dtype) {
  if (!can_stand(*file, bytes, dtype)) {
    return copy(*file, bytes, std::move(shape), dtype);
  }
  return mx::array(view(file, bytes), std::move(shape), dtype);
}

}  // namespace llamlx
