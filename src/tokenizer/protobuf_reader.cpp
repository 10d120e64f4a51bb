#include "tokenizer/protobuf_reader.h"

#include <limits>

namespace llamlx {

std::optional<ProtobufReader::Field> ProtobufReader::next() {
  if (rest_.empty() || !ok_) return {};
  const std::string_view begin = rest_;
  const auto tag = varint();
  if (!tag || *tag >> 3 == 0 ||
      *tag > std::numeric_limits<std::uint32_t>::max()) {
    return broken();
  }
  Field field{static_cast<std::uint32_t>(*tag >> 3),
              static_cast<Wire>(*tag & 7),
              0,
              {},
              {}};
  std::optional<std::uint64_t> value;
  switch (field.wire) {
    case Wire::varint:
    case Wire::bytes:
      value = varint();
      break;
    case Wire::fixed64:
      value = fixed(8);
      break;
    case Wire::fixed32:
      value = fixed(4);
      break;
    default:  // groups, which SentencePiece has none of, and nonsense
      break;
  }
  if (!value) return broken();
  if (field.wire == Wire::bytes) {
    if (*value > rest_.size()) return broken();
    field.bytes = rest_.substr(0, *value);
    rest_.remove_prefix(*value);
  } else {
    field.value = *value;
  }
  field.record = begin.substr(0, begin.size() - rest_.size());
  return field;
}

std::optional<ProtobufReader::Field> ProtobufReader::broken() {
  ok_ = false;
  return {};
}

std::optional<std::uint64_t> ProtobufReader::varint() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(rest_[0]);
    rest_.remove_prefix(1);
    value |= std::uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return value;
  }
  return {};
}

std::optional<std::uint64_t> ProtobufReader::fixed(std::size_t size) {
  if (rest_.size() < size) return {};
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i) {
    value |= std::uint64_t{static_cast<unsigned char>(rest_[i])} << (8 * i);
  }
  rest_.remove_prefix(size);
  return value;
}

}  // namespace llamlx
