#include "formats/mapped_array.h"

#include <cstring>
#include <exception>
#include <utility>

#include "base/concat.h"
#include "base/error.h"

namespace llamlx {
namespace {

mx::allocator::Data allocate(std::size_t size, const MappedFile& file) {
  // Which of the two ways MLX takes to refuse depends on the device.
  try {
    auto memory = mx::allocator::malloc(size);
    if (memory.buffer().ptr() != nullptr || size == 0) return memory;
  } catch (const std::exception&) {
  }
  fail(ErrorCode::out_of_memory, file.path().string(),
       concat("a tensor needs ", size, " bytes of memory"),
       "free some memory or take a smaller model");
}

}  // namespace

mx::array mapped_array(const std::shared_ptr<const MappedFile>& file,
                       std::span<const std::byte> bytes, mx::Shape shape,
                       mx::Dtype dtype) {
  auto copy = allocate(bytes.size(), *file);
  std::memcpy(copy.buffer().raw_ptr(), bytes.data(), bytes.size());
  file->release(bytes);
  return mx::array(std::move(copy), std::move(shape), dtype);
}

}  // namespace llamlx
