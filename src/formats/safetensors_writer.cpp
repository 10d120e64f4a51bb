#include "formats/safetensors_writer.h"

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <utility>

#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "base/concat.h"
#include "base/json.h"
#include "formats/safetensors_dtype.h"
#include "tensor/weight.h"

namespace llamlx {
namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors files are little-endian and are copied as they are");

constexpr std::size_t kAlignment = 8;
constexpr std::size_t kLongestHeader = 100'000'000;

[[noreturn]] void refuse(std::string_view expected, std::string_view got) {
  throw std::invalid_argument(
      concat("[SafetensorsWriter] expected ", expected, ", got ", got));
}

std::string describe(std::string_view name, mx::Dtype dtype,
                     const mx::Shape& shape) {
  return concat(name, " ", to_string(dtype), " ", to_string(shape));
}

Json header_of(const std::vector<PlannedTensor>& plan) {
  Json header = {{"__metadata__", {{"format", "mlx"}}}};
  std::uint64_t offset = 0;
  for (const auto& tensor : plan) {
    if (header.contains(tensor.name)) {
      refuse("every name once", concat(tensor.name, " twice"));
    }
    Json shape = Json::array();
    for (const auto dimension : tensor.shape) {
      if (dimension < 0) refuse("dimensions of at least 0", tensor.name);
      shape.push_back(dimension);
    }
    const auto end = offset + tensor.nbytes();
    header[tensor.name] = {{"dtype", safetensors_name(tensor.dtype)},
                           {"shape", std::move(shape)},
                           {"data_offsets", {offset, end}}};
    offset = end;
  }
  return header;
}

std::string header_text(const std::vector<PlannedTensor>& plan) {
  std::string text;
  try {
    text = header_of(plan).dump();
  } catch (const Json::type_error&) {
    refuse("names in UTF-8", "other bytes");
  }
  text.resize((text.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  if (text.size() > kLongestHeader) {
    refuse("a header of at most 100 MB", concat(text.size(), " bytes"));
  }
  return text;
}

}  // namespace

std::size_t PlannedTensor::nbytes() const {
  std::size_t product = dtype.size();
  for (const auto dimension : shape) {
    product *= static_cast<std::size_t>(dimension);
  }
  return product;
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     std::vector<PlannedTensor> plan)
    : plan_(std::move(plan)), file_(path) {
  const auto header = header_text(plan_);
  const std::uint64_t length = header.size();
  file_.write(std::as_bytes(std::span(&length, 1)));
  file_.write(header);
}

void SafetensorsWriter::append(std::string_view name, const mx::array& values) {
  const auto got = describe(name, values.dtype(), values.shape());
  if (next_ == plan_.size()) refuse("no more tensors", got);
  const auto& planned = plan_[next_];
  if (planned.name != name || planned.dtype != values.dtype() ||
      planned.shape != values.shape()) {
    refuse(describe(planned.name, planned.dtype, planned.shape), got);
  }
  auto rows = values;
  rows.eval();
  if (!rows.flags().row_contiguous) {
    rows = mx::contiguous(rows);
    rows.eval();
  }
  file_.write({rows.data<std::byte>(), rows.nbytes()});
  ++next_;
}

void SafetensorsWriter::finish() {
  if (next_ != plan_.size()) refuse(plan_[next_].name, "the end");
  file_.finish();
}

}  // namespace llamlx
