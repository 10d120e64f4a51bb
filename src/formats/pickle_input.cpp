#include "formats/pickle_input.h"

#include <algorithm>
#include <bit>
#include <charconv>

#include "base/concat.h"
#include "base/error.h"
#include "formats/pickle_reader.h"

namespace llamlx {
namespace {

static_assert(std::endian::native == std::endian::little,
              "numbers in pickles are little-endian and are read as they are");

PickleValue boolean(bool value) {
  return {.kind = PickleKind::boolean, .integer = value ? 1 : 0};
}

PickleValue integer(std::int64_t value) {
  return {.kind = PickleKind::integer, .integer = value};
}

PickleValue text(std::string_view value) {
  return {.kind = PickleKind::text, .text = value};
}

PickleValue bytes(std::string_view value) {
  return {.kind = PickleKind::bytes, .text = value};
}

/// A number in two's complement, little end first, of any length.
PickleValue long_integer(std::string_view digits) {
  if (digits.size() > sizeof(std::int64_t)) {
    return {.kind = PickleKind::big_integer, .text = digits};
  }
  const bool negative = !digits.empty() && (digits.back() & 0x80) != 0;
  std::int64_t value = negative ? -1 : 0;
  std::memcpy(&value, digits.data(), digits.size());
  return integer(value);
}

/// BINFLOAT, the one number that lies big end first.
PickleValue real(PickleInput& input) {
  auto digits = std::string(input.take(sizeof(double)));
  std::ranges::reverse(digits);
  double value = 0;
  std::memcpy(&value, digits.data(), sizeof value);
  return {.kind = PickleKind::real, .real = value};
}

/// INT, in which protocols 0 and 1 write booleans too.
PickleValue int_line(PickleInput& input) {
  auto ahead = input;
  const auto line = ahead.line();
  if (line == "00" || line == "01") {
    input = ahead;
    return boolean(line == "01");
  }
  return integer(input.line_number());
}

bool needs_no_escape(std::string_view line) {
  return std::ranges::all_of(line, [](char c) {
    return static_cast<unsigned char>(c) < 0x80 && c != '\\';
  });
}

/// STRING and UNICODE, whose text is a line.
PickleValue text_line(PickleInput& input, bool quoted) {
  auto line = input.line();
  if (quoted) {
    const auto quotes = [line](char c) {
      return line.size() >= 2 && line.front() == c && line.back() == c;
    };
    if (!quotes('\'') && !quotes('"')) {
      input.fail_corrupt("has a string without quotes");
    }
    line = line.substr(1, line.size() - 2);
  }
  if (!needs_no_escape(line)) {
    input.fail_unsupported("has a string with escapes, as protocol 0 has them");
  }
  return text(line);
}

std::optional<PickleValue> read_number(PickleOp op, PickleInput& input) {
  switch (op) {
    case PickleOp::none:
      return PickleValue{};
    case PickleOp::newtrue:
      return boolean(true);
    case PickleOp::newfalse:
      return boolean(false);
    case PickleOp::binint:
      return integer(input.number<std::int32_t>());
    case PickleOp::binint1:
      return integer(input.number<std::uint8_t>());
    case PickleOp::binint2:
      return integer(input.number<std::uint16_t>());
    case PickleOp::int_line:
      return int_line(input);
    case PickleOp::long_line:
      return integer(input.line_number());
    case PickleOp::long1:
      return long_integer(input.take(input.number<std::uint8_t>()));
    case PickleOp::long4: {
      const auto size = input.number<std::int32_t>();
      if (size < 0) input.fail_corrupt("has a number of negative length");
      return long_integer(input.take(static_cast<std::uint64_t>(size)));
    }
    case PickleOp::binfloat:
      return real(input);
    default:
      return {};
  }
}

std::optional<PickleValue> read_text(PickleOp op, PickleInput& input) {
  switch (op) {
    case PickleOp::string_line:
      return text_line(input, true);
    case PickleOp::unicode_line:
      return text_line(input, false);
    case PickleOp::short_binstring:
    case PickleOp::short_binunicode:
      return text(input.take(input.number<std::uint8_t>()));
    case PickleOp::binstring:
    case PickleOp::binunicode:
      return text(input.take(input.number<std::uint32_t>()));
    case PickleOp::binunicode8:
      return text(input.take(input.number<std::uint64_t>()));
    case PickleOp::short_binbytes:
      return bytes(input.take(input.number<std::uint8_t>()));
    case PickleOp::binbytes:
      return bytes(input.take(input.number<std::uint32_t>()));
    case PickleOp::binbytes8:
    case PickleOp::bytearray8:
      return bytes(input.take(input.number<std::uint64_t>()));
    default:
      return {};
  }
}

}  // namespace

PickleInput::PickleInput(std::string_view all, const std::string& subject)
    : bytes_(all.substr(0, kLargestPickle)),
      subject_(&subject),
      shortened_(all.size() > kLargestPickle) {}

std::string_view PickleInput::take(std::uint64_t size) {
  if (size > remaining()) {
    if (shortened_) {
      fail_unsupported(concat("is longer than ", kLargestPickle, " bytes"));
    }
    fail_corrupt("is cut short");
  }
  const auto taken = bytes_.substr(position_, size);
  position_ += size;
  return taken;
}

std::string_view PickleInput::line() {
  const auto end = bytes_.find('\n', position_);
  if (end == std::string_view::npos) fail_corrupt("has a line without an end");
  const auto taken = take(end - position_);
  take(1);
  return taken;
}

std::int64_t PickleInput::line_number() {
  auto digits = line();
  if (digits.ends_with('L')) digits.remove_suffix(1);
  std::int64_t value = 0;
  const auto* end = digits.data() + digits.size();
  const auto [rest, fault] = std::from_chars(digits.data(), end, value);
  if (fault != std::errc() || rest != end) {
    fail_corrupt("has a line that is no whole number of 64 bits");
  }
  return value;
}

void PickleInput::fail_corrupt(std::string_view cause) const {
  fail(ErrorCode::corrupt_file, *subject_,
       concat("its pickle ", cause, " (at byte ", position_, ")"),
       "download or convert it again");
}

void PickleInput::fail_unsupported(std::string_view cause) const {
  fail(ErrorCode::unsupported, *subject_, concat("its pickle ", cause),
       "code in checkpoints is never run: save the plain state dict, or take "
       "safetensors");
}

std::optional<PickleValue> read_literal(PickleOp op, PickleInput& input) {
  auto number = read_number(op, input);
  return number ? number : read_text(op, input);
}

}  // namespace llamlx
