#include "formats/npy_header.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <system_error>

#include "base/concat.h"
#include "base/error.h"

namespace llamlx {
namespace {

namespace mx = mlx::core;

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kAlignment = 64;
// Far beyond what a shape takes, and little to read.
constexpr std::uint64_t kLongestHeader = 65536;
constexpr std::size_t kMostDimensions = 64;  // numpy's own limit

struct NpyDtype {
  std::string_view name;
  mx::Dtype dtype;
};

// The first of a type is the one that is written.
constexpr std::array<NpyDtype, 15> kDtypes = {{
    {"|b1", mx::bool_},
    {"|i1", mx::int8},
    {"|u1", mx::uint8},
    {"<i2", mx::int16},
    {"<u2", mx::uint16},
    {"<i4", mx::int32},
    {"<u4", mx::uint32},
    {"<i8", mx::int64},
    {"<u8", mx::uint64},
    {"<f2", mx::float16},
    {"<f4", mx::float32},
    {"<f8", mx::float64},
    {"<c8", mx::complex64},
    {"<V2", mx::bfloat16},
    {"|V2", mx::bfloat16},  // what numpy makes of it when it saves it again
}};

mx::Dtype find_dtype(const NpySubject& subject, std::string_view name) {
  const auto* found = std::ranges::find(kDtypes, name, &NpyDtype::name);
  if (found != kDtypes.end()) return found->dtype;
  const auto cause = [&] {
    if (name.starts_with('>')) return concat("is big-endian (", name, ")");
    if (name.find('O') != name.npos) {
      return concat("holds Python objects (", name, "), which are not read");
    }
    return concat("has the type ", name,
                  ", which llamlx does not compute with");
  };
  fail(ErrorCode::unsupported, subject.file.string(),
       concat("entry ", subject.entry, " ", cause()),
       "save it as plain little-endian numbers");
}

/// Reads the dictionary of a header, of which numpy and MLX write each their
/// own spelling.
class DictParser {
 public:
  DictParser(const NpySubject& subject, std::string_view text)
      : subject_(subject), rest_(text) {}

  NpyHeader parse() {
    NpyHeader header;
    std::array<bool, 3> seen = {};
    expect('{');
    while (!takes('}')) {
      parse_item(header, seen);
      if (takes('}')) break;
      expect(',');
    }
    if (std::ranges::count(seen, true) != 3) {
      refuse_npy(subject_,
                 "has an npy header without descr, fortran_order or "
                 "shape");
    }
    skip_spaces();
    if (rest_.starts_with('\n')) rest_.remove_prefix(1);
    if (!rest_.empty()) refuse_syntax();
    return header;
  }

 private:
  [[noreturn]] void refuse_syntax() const {
    refuse_npy(subject_,
               concat("has an npy header that makes no sense, from \"",
                      rest_.substr(0, 40), "\" on"));
  }

  void skip_spaces() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(' '), rest_.size()));
  }

  bool takes(char c) {
    skip_spaces();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  bool takes_word(std::string_view word) {
    skip_spaces();
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }

  void expect(char c) {
    if (!takes(c)) refuse_syntax();
  }

  void parse_item(NpyHeader& header, std::array<bool, 3>& seen) {
    const auto key = parse_string();
    constexpr std::array<std::string_view, 3> kKeys = {"descr", "fortran_order",
                                                       "shape"};
    const auto index =
        static_cast<std::size_t>(std::ranges::find(kKeys, key) - kKeys.begin());
    if (index == kKeys.size()) {
      refuse_npy(subject_,
                 concat("has the unknown key ", key, " in its npy header"));
    }
    if (seen[index]) {
      refuse_npy(subject_, concat("has ", key, " twice in its npy header"));
    }
    seen[index] = true;
    expect(':');
    if (index == 0) parse_descr(header);
    if (index == 1) header.is_fortran = parse_bool();
    if (index == 2) header.shape = parse_shape();
  }

  std::string_view parse_string() {
    skip_spaces();
    const char quote = rest_.empty() ? '\0' : rest_.front();
    if (quote != '\'' && quote != '"') refuse_syntax();
    const auto end = rest_.find(quote, 1);
    const auto content = rest_.substr(1, end == rest_.npos ? end : end - 1);
    if (end == rest_.npos || content.find('\\') != content.npos) {
      refuse_syntax();
    }
    rest_.remove_prefix(end + 1);
    return content;
  }

  void parse_descr(NpyHeader& header) {
    skip_spaces();
    if (rest_.starts_with('[') || rest_.starts_with('(')) {
      fail(ErrorCode::unsupported, subject_.file.string(),
           concat("entry ", subject_.entry, " has records for values"),
           "save it as plain little-endian numbers");
    }
    header.dtype_name = parse_string();
    header.dtype = find_dtype(subject_, header.dtype_name);
  }

  bool parse_bool() {
    if (takes_word("True")) return true;
    if (takes_word("False")) return false;
    refuse_syntax();
  }

  /// "()", "(4,)" or "(2, 3)"; in Python "(4)" is a number and no shape.
  mx::Shape parse_shape() {
    mx::Shape shape;
    expect('(');
    while (!takes(')')) {
      shape.push_back(parse_dimension());
      if (shape.size() > kMostDimensions) {
        refuse_npy(subject_, "has too many dimensions");
      }
      if (takes(',')) continue;
      expect(')');
      if (shape.size() == 1) refuse_syntax();
      break;
    }
    return shape;
  }

  mx::ShapeElem parse_dimension() {
    skip_spaces();
    // from_chars would take a sign.
    if (rest_.empty() || rest_.front() < '0' || rest_.front() > '9') {
      refuse_syntax();
    }
    mx::ShapeElem value = 0;
    const auto [end, error] =
        std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error != std::errc()) {
      refuse_npy(subject_, "has a dimension beyond 2^31 in its npy header");
    }
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return value;
  }

  const NpySubject& subject_;
  std::string_view rest_;
};

/// How many bytes say the length of the header: two in version 1, else four.
std::size_t length_size(std::string_view prefix) {
  return prefix[kMagic.size()] == 1 ? 2 : 4;
}

}  // namespace

void refuse_npy(const NpySubject& subject, std::string_view cause) {
  fail(ErrorCode::corrupt_file, subject.file.string(),
       concat("entry ", subject.entry, " ", cause),
       "download or convert it again");
}

std::uint64_t npy_header_size(const NpySubject& subject,
                              std::string_view prefix) {
  if (!prefix.starts_with(kMagic)) refuse_npy(subject, "is not a numpy array");
  const int major = static_cast<unsigned char>(prefix[kMagic.size()]);
  const int minor = static_cast<unsigned char>(prefix[kMagic.size() + 1]);
  if (major < 1 || major > 3 || minor != 0) {
    fail(ErrorCode::unsupported, subject.file.string(),
         concat("entry ", subject.entry, " is of npy version ", major, ".",
                minor, "; 1.0, 2.0 and 3.0 are read"),
         "save it again with numpy.savez");
  }
  const auto size = length_size(prefix);
  std::uint32_t length = 0;
  std::memcpy(&length, prefix.data() + kMagic.size() + 2, size);
  if (length > kLongestHeader) {
    refuse_npy(subject, concat("has an npy header of ", length, " bytes"));
  }
  return kMagic.size() + 2 + size + length;
}

NpyHeader parse_npy_header(const NpySubject& subject, std::string_view header) {
  const auto begin = kMagic.size() + 2 + length_size(header);
  return DictParser(subject, header.substr(begin)).parse();
}

std::string npy_header_text(mx::Dtype dtype, const mx::Shape& shape) {
  const auto* known = std::ranges::find_if(kDtypes, [&](const auto& candidate) {
    return candidate.dtype.val() == dtype.val();
  });
  std::string text = concat("{'descr': '", known->name,
                            "', 'fortran_order': False, 'shape': (");
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += concat(i == 0 ? "" : " ", shape[i],
                   i + 1 < shape.size() || i == 0 ? "," : "");
  }
  text += "), }";
  const auto prefix = kMagic.size() + 2 + 2;
  const auto unpadded = prefix + text.size() + 1;
  text.append((kAlignment - unpadded % kAlignment) % kAlignment, ' ');
  text += '\n';
  if (text.size() > std::numeric_limits<std::uint16_t>::max()) {
    throw std::invalid_argument(
        concat("[npy_header_text] expected a shape that fits the header, got ",
               shape.size(), " dimensions"));
  }
  const auto length = static_cast<std::uint16_t>(text.size());
  std::string bytes(kMagic);
  bytes += {'\1', '\0', static_cast<char>(length & 0xff),
            static_cast<char>(length >> 8)};
  return bytes + text;
}

}  // namespace llamlx
