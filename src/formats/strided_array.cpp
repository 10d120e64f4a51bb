#include "formats/strided_array.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "formats/array_buffer.h"
#include "formats/mapped_array.h"

namespace llamlx {
namespace {

/// One dimension; steps in bytes.
struct Axis {
  std::size_t size;
  std::size_t from_step;
  std::size_t to_step;
};

/// The dimensions that matter, those that step furthest in the file first.
std::vector<Axis> axes_of(const mx::Shape& shape, const mx::Strides& strides,
                          std::size_t value_size) {
  std::vector<Axis> axes;
  std::size_t to_step = value_size;
  for (std::size_t i = shape.size(); i-- > 0;) {
    const auto size = static_cast<std::size_t>(shape[i]);
    if (size != 1) {
      const auto stride = static_cast<std::size_t>(strides[i]);
      axes.push_back({size, stride * value_size, to_step});
    }
    to_step *= size;
  }
  std::ranges::stable_sort(axes, std::ranges::greater{}, &Axis::from_step);
  return axes;
}

/// Copies values of a size the compiler knows.
template <std::size_t value_size>
void copy_values(const std::byte* from, std::byte* to, const Axis& axis) {
  for (std::size_t i = 0; i < axis.size; ++i) {
    std::memcpy(to + i * axis.to_step, from + i * axis.from_step, value_size);
  }
}

void copy_run(const std::byte* from, std::byte* to, const Axis& axis,
              std::size_t value_size) {
  if (axis.from_step == value_size && axis.to_step == value_size) {
    std::memcpy(to, from, axis.size * value_size);
    return;
  }
  switch (value_size) {
    case 1:
      return copy_values<1>(from, to, axis);
    case 2:
      return copy_values<2>(from, to, axis);
    case 4:
      return copy_values<4>(from, to, axis);
    default:
      return copy_values<8>(from, to, axis);
  }
}

/// Copies everything, from the front of the file's bytes to their end as far as
/// the strides allow.
void gather(const MappedFile& file, std::span<const std::byte> bytes,
            std::vector<Axis> axes, std::byte* to, std::size_t value_size) {
  const auto run = axes.empty() ? Axis{1, 0, 0} : axes.back();
  if (!axes.empty()) axes.pop_back();
  std::vector<std::size_t> index(axes.size(), 0);
  std::size_t from_offset = 0;
  std::size_t to_offset = 0;
  std::size_t released = 0;
  for (;;) {
    copy_run(bytes.data() + from_offset, to + to_offset, run, value_size);
    auto axis = axes.size();
    while (axis > 0) {
      const auto& at = axes[axis - 1];
      from_offset += at.from_step;
      to_offset += at.to_step;
      if (++index[axis - 1] < at.size) break;
      from_offset -= at.size * at.from_step;
      to_offset -= at.size * at.to_step;
      index[--axis] = 0;
    }
    if (axis == 0) break;
    if (from_offset >= released + kReleasedPiece) {
      file.release(bytes.subspan(released, from_offset - released));
      released = from_offset;
    }
  }
  file.release(bytes.subspan(released));
}

}  // namespace

bool is_contiguous(const mx::Shape& shape, const mx::Strides& strides) {
  if (std::ranges::count(shape, 0) > 0) return true;
  std::int64_t expected = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

mx::array strided_array(const std::shared_ptr<const MappedFile>& file,
                        std::span<const std::byte> bytes,
                        const mx::Shape& shape, const mx::Strides& strides,
                        mx::Dtype dtype) {
  const std::size_t value_size = mx::size_of(dtype);
  std::size_t size = value_size;
  for (const auto axis : shape) size *= static_cast<std::size_t>(axis);
  if (size == 0 || is_contiguous(shape, strides)) {
    return mapped_array(file, bytes.first(size), shape, dtype);
  }
  ArrayBuffer gathered(shape, dtype, file->path(), "a tensor");
  gather(*file, bytes, axes_of(shape, strides, value_size), gathered.bytes(),
         value_size);
  return std::move(gathered).finish();
}

}  // namespace llamlx
