#include "formats/array_buffer.h"

#include <exception>
#include <utility>

#include "base/concat.h"
#include "base/error.h"

namespace llamlx {
namespace {

mx::allocator::Data allocate(const mx::Shape& shape, mx::Dtype dtype,
                             const std::filesystem::path& file,
                             std::string_view what) {
  std::size_t size = mx::size_of(dtype);
  for (const auto axis : shape) size *= static_cast<std::size_t>(axis);
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
      data_(allocate(shape_, dtype, file, what)) {}

std::byte* ArrayBuffer::bytes() const {
  auto buffer = data_.buffer();
  return static_cast<std::byte*>(buffer.raw_ptr());
}

mx::array ArrayBuffer::finish() && {
  return mx::array(std::move(data_), std::move(shape_), dtype_);
}

}  // namespace llamlx
