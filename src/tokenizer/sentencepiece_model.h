#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace llamlx {

/// What a SentencePiece model file holds that its library does not tell.
struct SentencePieceModel {
  enum class Type { normal = 1, unknown, control, user_defined, unused, byte };

  struct Piece {
    std::string text;
    Type type = Type::normal;
  };

  std::vector<Piece> pieces;  ///< by id
  std::string unk_surface = " \xE2\x81\x87 ";
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;

  /// The file without its self-tests, whose failures the library would print.
  std::string serialized;
};

/// Reads and checks a tokenizer.model, so far that the SentencePiece library,
/// which trusts its files, can be given it: the wire format, the types, the
/// scores, and the automaton of the normalization rules.
///
/// Errors: Error naming `subject`: corrupt_file; unsupported for
/// denormalization rules and unknown model types; those of MappedFile.
/// Source: sentencepiece_model.proto; the encoding of Protocol Buffers.
SentencePieceModel read_sentencepiece_model(std::string_view bytes,
                                            std::string_view subject);

}  // namespace llamlx
