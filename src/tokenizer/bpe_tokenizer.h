#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tokenizer/added_vocabulary.h"
#include "tokenizer/bpe.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/post_processor.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/token_decoder.h"
#include "tokenizer/tokenizer.h"

namespace llamlx {

/// The parts of a tokenizer, as tokenizer.json lists them, and what other
/// files say beside those.
struct BpeTokenizerParts {
  std::string file;
  std::unique_ptr<Normalizer> normalizer;       ///< null: none
  std::unique_ptr<PreTokenizer> pre_tokenizer;  ///< null: none
  Bpe model;
  PostProcessor post_processor;
  TokenDecoder decoder;
  AddedVocabulary added;
  std::optional<std::int32_t> bos_id = {};
  std::optional<std::int32_t> eos_id = {};
  std::vector<std::int32_t> eos_ids = {};  ///< eos_id's among them
  /// The bytes on both sides of a special token never make one character; else
  /// decoding passes over special tokens as if they were not there.
  bool special_ends_run = false;
};

/// A tokenizer of a byte-pair encoding. Errors: those of Tokenizer's members.
std::unique_ptr<Tokenizer> make_bpe_tokenizer(BpeTokenizerParts parts);

}  // namespace llamlx
