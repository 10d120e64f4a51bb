#include "tokenizer/sentencepiece_model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

#include "base/concat.h"
#include "base/error.h"
#include "base/utf8.h"
#include "tokenizer/protobuf_reader.h"

namespace llamlx {
namespace {

using Wire = ProtobufReader::Wire;

constexpr const char* kRemedy = "restore or download the file again";

// Numbers of fields in sentencepiece_model.proto.
enum ModelField : std::uint32_t {
  model_pieces = 1,
  model_trainer_spec = 2,
  model_normalizer_spec = 3,
  model_self_test_data = 4,
  model_denormalizer_spec = 5,
};
enum PieceField : std::uint32_t {
  piece_text = 1,
  piece_score = 2,
  piece_type = 3
};
enum TrainerField : std::uint32_t {
  trainer_model_type = 3,
  trainer_unk_surface = 44
};
enum NormalizerField : std::uint32_t {
  normalizer_charsmap = 2,
  normalizer_add_dummy_prefix = 3,
  normalizer_remove_extra_whitespaces = 4,
};

// SentencePiece collects the rules, and the user-defined pieces, that apply at
// one place in arrays of these sizes, and does not look whether they suffice.
constexpr std::size_t kMaxRulesAtOnePlace = 32;
constexpr std::size_t kMaxUserPiecesAtOnePlace = 64;

// A double-array trie as the Darts-clone library lays it out. Equal subtrees
// are shared.
class DoubleArray {
 public:
  explicit DoubleArray(std::string_view units) : units_(units) {}

  // Whether every search stays inside the array, finds values below
  // `value_end`, and no more than kMaxRulesAtOnePlace of them.
  bool is_safe(std::size_t value_end) const {
    if (size() == 0) return false;
    std::vector<std::uint8_t> most(size(), kUnseen);
    std::vector<Visit> path;
    if (!enter(0, value_end, path)) return false;
    most[0] = kOpen;
    while (!path.empty()) {
      Visit& visit = path.back();
      const std::optional<std::size_t> child = next_child(visit);
      if (!child) {
        if (visit.most + visit.values > kMaxRulesAtOnePlace) return false;
        const auto values =
            static_cast<std::uint8_t>(visit.most + visit.values);
        most[visit.node] = values;
        path.pop_back();
        if (!path.empty()) path.back().take(values);
      } else if (most[*child] == kOpen) {
        return false;  // a loop could find any number of values
      } else if (most[*child] != kUnseen) {
        visit.take(most[*child]);
      } else {
        most[*child] = kOpen;
        if (!enter(*child, value_end, path)) return false;
      }
    }
    return true;
  }

 private:
  static constexpr std::uint8_t kUnseen = 0xFF;
  static constexpr std::uint8_t kOpen = 0xFE;

  struct Visit {
    std::size_t node;
    std::size_t base;         // children stand at base ^ label
    std::size_t values;       // here: 0 or 1
    std::size_t most = 0;     // on any way down from here
    std::uint32_t label = 0;  // of the next child

    void take(std::uint8_t below) { most = std::max<std::size_t>(most, below); }
  };

  std::size_t size() const { return units_.size() / 4; }

  std::uint32_t unit(std::size_t index) const {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const auto byte = static_cast<unsigned char>(units_[4 * index + i]);
      value |= std::uint32_t{byte} << (8 * i);
    }
    return value;
  }

  bool enter(std::size_t node, std::size_t value_end,
             std::vector<Visit>& path) const {
    const std::uint32_t here = unit(node);
    const std::uint32_t offset = (here >> 10) << ((here & 1u << 9) >> 6);
    const std::size_t base = node ^ offset;
    if ((base | 0xFF) >= size()) return false;
    const bool has_value = (here >> 8 & 1) != 0;
    if (has_value && (unit(base) & 0x7FFFFFFF) >= value_end) return false;
    path.push_back({node, base, has_value ? 1u : 0u});
    return true;
  }

  std::optional<std::size_t> next_child(Visit& visit) const {
    while (visit.label < 256) {
      const std::uint32_t label = visit.label++;
      const std::size_t child = visit.base ^ label;
      if ((unit(child) & 0x800000FF) == label) return child;
    }
    return {};
  }

  std::string_view units_;  // 32 bits each, little end first
};

class Parser {
 public:
  explicit Parser(std::string file) : file_(std::move(file)) {}

  SentencePieceModel parse(std::string_view bytes);

 private:
  using Field = ProtobufReader::Field;

  [[noreturn]] void corrupt(std::string_view cause) const {
    fail(ErrorCode::corrupt_file, file_, cause, kRemedy);
  }

  // Calls `take(field)` for each field of a message.
  template <typename Take>
  void read(std::string_view message, Take take) const {
    ProtobufReader reader(message);
    while (const auto field = reader.next()) take(*field);
    if (!reader.ok()) corrupt("is not a SentencePiece model");
  }

  void take(const Field& field);
  void read_piece(std::string_view message);
  void read_trainer(std::string_view message);
  void read_normalizer(std::string_view message);
  void check_charsmap(std::string_view blob) const;
  void check_user_pieces() const;

  std::string file_;
  SentencePieceModel model_;
};

SentencePieceModel Parser::parse(std::string_view bytes) {
  // The library counts bytes in an int.
  if (bytes.size() > std::numeric_limits<int>::max() / 2) {
    corrupt("is too large for a SentencePiece model");
  }
  model_.serialized.reserve(bytes.size());
  read(bytes, [&](const Field& field) { take(field); });
  if (model_.pieces.empty()) corrupt("is not a SentencePiece model");
  check_user_pieces();
  return std::move(model_);
}

void Parser::take(const Field& field) {
  if (field.wire == Wire::bytes) {
    switch (field.number) {
      case model_pieces:
        read_piece(field.bytes);
        break;
      case model_trainer_spec:
        read_trainer(field.bytes);
        break;
      case model_normalizer_spec:
        read_normalizer(field.bytes);
        break;
      case model_self_test_data:
        return;
      case model_denormalizer_spec:
        read(field.bytes, [&](const Field& part) {
          if (part.number != normalizer_charsmap || part.bytes.empty()) return;
          fail(ErrorCode::unsupported, file_, "has denormalization rules",
               "use a model with another tokenizer");
        });
        break;
      default:
        break;
    }
  }
  model_.serialized += field.record;
}

void Parser::read_piece(std::string_view message) {
  SentencePieceModel::Piece piece;
  read(message, [&](const Field& field) {
    if (field.number == piece_text && field.wire == Wire::bytes) {
      piece.text = field.bytes;
    } else if (field.number == piece_score && field.wire == Wire::fixed32) {
      const auto bits = static_cast<std::uint32_t>(field.value);
      if (std::isnan(std::bit_cast<float>(bits))) {
        corrupt("has a piece whose score is not a number");
      }
    } else if (field.number == piece_type && field.wire == Wire::varint) {
      if (field.value < 1 || field.value > 6) {
        corrupt("has a piece of an unknown type");
      }
      piece.type = static_cast<SentencePieceModel::Type>(field.value);
    }
  });
  // The library keeps pieces in tries of C strings.
  if (piece.text.empty() || piece.text.find('\0') != std::string::npos ||
      !is_valid_utf8(piece.text)) {
    corrupt("has a piece that is not a text");
  }
  model_.pieces.push_back(std::move(piece));
}

void Parser::read_trainer(std::string_view message) {
  read(message, [&](const Field& field) {
    if (field.number == trainer_unk_surface && field.wire == Wire::bytes) {
      model_.unk_surface = replace_ill_formed(field.bytes);
    }
    if (field.number != trainer_model_type || field.wire != Wire::varint)
      return;
    if (field.value >= 1 && field.value <= 4) return;
    fail(ErrorCode::unsupported, file_, "is a model of an unknown type",
         "use a unigram or BPE model");
  });
}

void Parser::read_normalizer(std::string_view message) {
  read(message, [&](const Field& field) {
    const bool flag = field.value != 0;
    if (field.number == normalizer_charsmap && field.wire == Wire::bytes) {
      check_charsmap(field.bytes);
    } else if (field.wire != Wire::varint) {
      return;
    } else if (field.number == normalizer_add_dummy_prefix) {
      model_.add_dummy_prefix = flag;
    } else if (field.number == normalizer_remove_extra_whitespaces) {
      model_.remove_extra_whitespaces = flag;
    }
  });
}

// The size of the trie, the trie, and the texts its values point into.
void Parser::check_charsmap(std::string_view blob) const {
  if (blob.empty()) return;
  std::size_t size = 0;
  for (std::size_t i = 0; i < std::min<std::size_t>(4, blob.size()); ++i) {
    size |= std::size_t{static_cast<unsigned char>(blob[i])} << (8 * i);
  }
  const bool fits = blob.size() > 4 && size < blob.size() - 4;
  if (!fits ||
      !DoubleArray(blob.substr(4, size)).is_safe(blob.size() - 4 - size)) {
    corrupt("has broken normalization rules");
  }
}

void Parser::check_user_pieces() const {
  std::vector<std::string_view> pieces;
  for (const auto& piece : model_.pieces) {
    if (piece.type == SentencePieceModel::Type::user_defined) {
      pieces.push_back(piece.text);
    }
  }
  std::sort(pieces.begin(), pieces.end());
  std::vector<std::string_view> prefixes;  // each begins the next
  for (const std::string_view piece : pieces) {
    while (!prefixes.empty() && !piece.starts_with(prefixes.back())) {
      prefixes.pop_back();
    }
    prefixes.push_back(piece);
    if (prefixes.size() > kMaxUserPiecesAtOnePlace) {
      corrupt("has too many user-defined pieces that begin alike");
    }
  }
}

}  // namespace

SentencePieceModel read_sentencepiece_model(std::string_view bytes,
                                            std::string_view subject) {
  return Parser(std::string(subject)).parse(bytes);
}

}  // namespace llamlx
