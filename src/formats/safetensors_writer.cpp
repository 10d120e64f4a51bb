#include "formats/safetensors_writer.h"

#include <bit>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "base/concat.h"
#include "base/json.h"
#include "formats/safetensors_dtype.h"

namespace llamlx {
namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors files are little-endian and are copied as they are");

constexpr std::size_t kLengthBytes = 8;  // before the header
constexpr std::size_t kAlignment = 64;
constexpr std::size_t kLongestHeader = 100'000'000;
constexpr const char* kMetadata = "__metadata__";

Json header_of(const std::vector<PlannedTensor>& plan) {
  Json header = {{kMetadata, {{"format", "mlx"}}}};
  std::uint64_t offset = 0;
  for (const auto& tensor : plan) {
    if (tensor.name == kMetadata) {
      throw std::invalid_argument(concat(
          "[SafetensorsWriter] expected names of tensors, got ", kMetadata));
    }
    const auto end = offset + tensor.nbytes();
    header[tensor.name] = {{"dtype", safetensors_name(tensor.dtype)},
                           {"shape", Json::array()},
                           {"data_offsets", {offset, end}}};
    for (const auto dimension : tensor.shape) {
      header[tensor.name]["shape"].push_back(dimension);
    }
    offset = end;
  }
  return header;
}

std::string header_text(const std::vector<PlannedTensor>& plan) {
  auto text = header_of(plan).dump();
  const auto begin = kLengthBytes + text.size() + kAlignment - 1;
  text.resize(begin / kAlignment * kAlignment - kLengthBytes, ' ');
  if (text.size() > kLongestHeader) {
    throw std::invalid_argument(
        concat("[SafetensorsWriter] expected a header of at most 100 MB, got ",
               text.size(), " bytes"));
  }
  return text;
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     std::vector<PlannedTensor> plan)
    : FileTensorWriter("SafetensorsWriter", std::move(plan)), file_(path) {
  const auto header = header_text(this->plan());
  const std::uint64_t length = header.size();
  file_.write(std::as_bytes(std::span(&length, 1)));
  file_.write(header);
}

}  // namespace llamlx
