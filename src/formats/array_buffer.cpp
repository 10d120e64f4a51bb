#include "formats/array_buffer.h"

#include <exception>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "tensor/weight.h"

namespace llamlx {
namespace {

mx::allocator::Data allocate(std::size_t size,
                             const std::filesystem::path& file,
                             std::string_view what) {
  // Which of the two ways MLX takes to refuse depends on the device.
  try {
    auto memory = mx::allocator::malloc(size);
    if (memory.buffer().ptr() != nullptr || size == 0) return memory;
  } catch (const std::exception&) {
  }
  fail(ErrorCode::out_of_memory, file.string(),
       concat(what, " needs ", size, " bytes of memory"),
       "free some memory or take a smaller model");
}

}  // namespace

ArrayBuffer::ArrayBuffer(mx::Shape shape, mx::Dtype dtype,
                         const std::filesystem::path& file,
                         std::string_view what)
    : shape_(std::move(shape)),
      dtype_(dtype),
      size_(static_cast<std::size_t>(element_count(shape_)) *
            mx::size_of(dtype)),
      data_(allocate(size_, file, what)) {}

std::span<std::byte> ArrayBuffer::values() const {
  auto buffer = data_.buffer();
  return {static_cast<std::byte*>(buffer.raw_ptr()), size_};
}

mx::array ArrayBuffer::finish() && {
  return mx::array(std::move(data_), std::move(shape_), dtype_);
}

}  // namespace llamlx
