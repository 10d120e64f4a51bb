#include "base/utf8.h"

namespace llamlx {
namespace {

struct Lead {
  int length = 0;  // 0: no character begins so
  unsigned char second_min = 0x80;
  unsigned char second_max = 0xBF;
};

// Table 3-7 of the Unicode Standard: only the second byte's range varies.
Lead lead_of(unsigned char byte) {
  if (byte < 0x80) return {1};
  if (byte < 0xC2) return {};
  if (byte < 0xE0) return {2};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {};
}

}  // namespace

Utf8Sequence scan_utf8(std::string_view bytes) {
  const Lead lead = lead_of(static_cast<unsigned char>(bytes[0]));
  if (lead.length == 0) return {1, false, false};
  const auto length = static_cast<std::size_t>(lead.length);
  for (std::size_t i = 1; i < length; ++i) {
    if (i == bytes.size()) return {i, false, true};
    const auto byte = static_cast<unsigned char>(bytes[i]);
    const unsigned char low = i == 1 ? lead.second_min : 0x80;
    const unsigned char high = i == 1 ? lead.second_max : 0xBF;
    if (byte < low || byte > high) return {i, false, false};
  }
  return {length, true, false};
}

std::size_t utf8_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  if (byte < 0x80) return 1;
  if (byte < 0xE0) return 2;
  return byte < 0xF0 ? 3 : 4;
}

char32_t next_code_point(std::string_view text, std::size_t& position) {
  const std::size_t length = utf8_length(text[position]);
  const auto lead = static_cast<unsigned char>(text[position]);
  char32_t code_point = length == 1 ? lead : lead & (0x7Fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    const auto byte = static_cast<unsigned char>(text[position + i]);
    code_point = code_point << 6 | (byte & 0x3Fu);
  }
  position += length;
  return code_point;
}

void append_utf8(std::string& text, char32_t code_point) {
  const auto append = [&](char32_t byte) {
    text += static_cast<char>(static_cast<unsigned char>(byte));
  };
  if (code_point < 0x80) {
    append(code_point);
    return;
  }
  if (code_point < 0x800) {
    append(0xC0 | code_point >> 6);
  } else {
    if (code_point < 0x10000) {
      append(0xE0 | code_point >> 12);
    } else {
      append(0xF0 | code_point >> 18);
      append(0x80 | (code_point >> 12 & 0x3F));
    }
    append(0x80 | (code_point >> 6 & 0x3F));
  }
  append(0x80 | (code_point & 0x3F));
}

bool is_valid_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const Utf8Sequence sequence = scan_utf8(bytes);
    if (!sequence.valid) return false;
    bytes.remove_prefix(sequence.length);
  }
  return true;
}

std::string replace_ill_formed(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  LossyUtf8Stream stream;
  stream.add(bytes, text);
  stream.finish(text);
  return text;
}

std::string printable(std::string_view text) {
  const auto whole = replace_ill_formed(text);
  std::string result;
  for (std::size_t at = 0; at < whole.size();) {
    const auto begin = at;
    const char32_t c = next_code_point(whole, at);
    const bool is_control = c < 0x20 || (c >= 0x7f && c < 0xa0);
    if (is_control) {
      result += '?';
    } else {
      result.append(whole, begin, at - begin);
    }
  }
  return result;
}

void LossyUtf8Stream::add(std::string_view bytes, std::string& text) {
  std::string joined;
  if (!pending_.empty()) {
    joined = std::move(pending_);
    joined += bytes;
    bytes = joined;
  }
  pending_.clear();
  while (!bytes.empty()) {
    const Utf8Sequence sequence = scan_utf8(bytes);
    if (sequence.incomplete) {
      pending_ = bytes;
      return;
    }
    text += sequence.valid ? bytes.substr(0, sequence.length)
                           : kReplacementCharacter;
    bytes.remove_prefix(sequence.length);
  }
}

void LossyUtf8Stream::finish(std::string& text) {
  if (!pending_.empty()) text += kReplacementCharacter;
  pending_.clear();
}

}  // namespace llamlx
