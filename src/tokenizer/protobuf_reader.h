#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace llamlx {

/// Reads the fields of one Protocol Buffers message, in the order they stand.
///
/// Source: https://protobuf.dev/programming-guides/encoding/
class ProtobufReader {
 public:
  enum class Wire { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

  struct Field {
    std::uint32_t number;
    Wire wire;
    std::uint64_t value;      ///< of a number, as its bits
    std::string_view bytes;   ///< of a string or message
    std::string_view record;  ///< the field as it stands, tag and all
  };

  explicit ProtobufReader(std::string_view message) : rest_(message) {}

  /// The next field; empty at the end, and when what follows is none: see ok().
  std::optional<Field> next();

  /// Whether all that was read is well-formed.
  bool ok() const { return ok_; }

 private:
  std::optional<std::uint64_t> varint();
  std::optional<std::uint64_t> fixed(std::size_t size);
  std::optional<Field> broken();

  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace llamlx
