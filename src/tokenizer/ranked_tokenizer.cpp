#include "tokenizer/ranked_tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/base64.h"
#include "base/concat.h"
#include "base/error.h"
#include "base/utf8.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/tokenizer_json.h"

namespace llamlx {
namespace {

constexpr const char* kRemedy = "restore or download the file again";

// Llama 4's tokens have squares of 13 million and 440 thousand pairs.
constexpr std::uint64_t kMostSquares = std::uint64_t{1} << 30;
constexpr std::size_t kMostMerges = std::size_t{1} << 22;

[[noreturn]] void refuse(const std::string& file, std::string_view cause) {
  fail(ErrorCode::unsupported, file, cause,
       "put the model's tokenizer.json beside it");
}

// The pairs that make `token`, by the ranks of their left parts.
void list_splits(const Vocabulary& tokens, std::string_view token,
                 MergeList& merges) {
  std::vector<std::pair<std::int32_t, std::size_t>> splits;
  for (std::size_t at = utf8_length(token[0]); at < token.size();
       at += utf8_length(token[at])) {
    const auto left = tokens.find(token.substr(0, at));
    if (left && tokens.find(token.substr(at))) splits.emplace_back(*left, at);
  }
  std::sort(splits.begin(), splits.end());
  for (const auto& [left, at] : splits) {
    merges.add(token.substr(0, at), token.substr(at));
  }
}

}  // namespace

void RankedTokens::add(std::string_view base64, std::int64_t rank,
                       std::string_view place) {
  const auto bytes = decode_base64(base64);
  if (!bytes || bytes->empty()) {
    corrupt(place,
            concat("\"", base64.substr(0, 80), "\" is no token in base64"));
  }
  if (bytes->size() > kLongestToken) {
    corrupt(place, concat("has a token of ", bytes->size(), " bytes"));
  }
  if (rank < 0 || rank >= Vocabulary::kIdLimit - first_id_) {
    corrupt(place, concat("the rank ", rank, " is out of range"));
  }
  const auto id = first_id_ + static_cast<std::int32_t>(rank);
  const std::string token = to_byte_level(*bytes);
  const auto added = tokens_.add(token, id);
  if (added == Vocabulary::Added::token_known) {
    corrupt(place, concat("the token \"", token, "\" is there twice"));
  }
  if (added == Vocabulary::Added::id_taken) {
    corrupt(place, concat("the rank ", rank, " is already that of \"",
                          tokens_.token(id), "\""));
  }
}

Vocabulary RankedTokens::finish() && {
  for (std::int32_t id = first_id_; id < tokens_.id_end(); ++id) {
    if (!tokens_.contains(id)) {
      corrupt("", concat("no token has the rank ", id - first_id_));
    }
  }
  for (int byte = 0; byte < 256; ++byte) {
    const std::string one(1, static_cast<char>(byte));
    if (!tokens_.find(to_byte_level(one))) {
      corrupt("", concat("the byte ", byte, " is no token"));
    }
  }
  return std::move(tokens_);
}

void RankedTokens::corrupt(std::string_view place,
                           std::string_view cause) const {
  fail(ErrorCode::corrupt_file,
       place.empty() ? file_ : concat(file_, ": ", place), cause, kRemedy);
}

MergeList list_ranked_merges(const Vocabulary& tokens,
                             const std::string& file) {
  std::uint64_t squares = 0;
  for (std::int32_t id = 0; id < tokens.id_end(); ++id) {
    const std::uint64_t length = tokens.token(id).size();
    squares += length * length;
  }
  if (squares > kMostSquares) {
    refuse(file, "its tokens are longer than those of any tokenizer");
  }
  MergeList merges;
  for (std::int32_t id = 0; id < tokens.id_end(); ++id) {
    if (!tokens.contains(id)) continue;
    list_splits(tokens, tokens.token(id), merges);
    if (merges.size() > kMostMerges) {
      refuse(file, "its tokens are made of others in too many ways");
    }
  }
  return merges;
}

const AddedToken* RankedTokenizer::find(std::string_view content) const {
  const auto found = std::find_if(
      special.begin(), special.end(),
      [&](const AddedToken& token) { return token.content == content; });
  return found == special.end() ? nullptr : &*found;
}

std::vector<std::int32_t> RankedTokenizer::eos_ids() const {
  std::vector<std::int32_t> ids;
  if (const auto* token = find(eos)) ids.push_back(token->id);
  for (const std::string& stop : stops) {
    if (const auto* token = find(stop)) ids.push_back(token->id);
  }
  return ids;
}

OrderedJson ranked_tokenizer_json(const RankedTokenizer& ranked, bool add_bos) {
  auto added = OrderedJson::array();
  for (const AddedToken& token : ranked.special) {
    added.push_back(added_token_json(static_cast<std::size_t>(token.id),
                                     token.content, true));
  }
  std::optional<TextEnd> bos;
  if (const auto* token = ranked.find(ranked.bos); add_bos && token) {
    bos = {token->id, token->content};
  }
  return bpe_tokenizer_json(
      {std::move(added), nullptr,
       pre_tokenizer_json({split_json(ranked.pattern, ranked.pattern_is_total),
                           byte_level_json(false)}),
       text_ends_json(bos, {}), true, nullptr, nullptr});
}

std::unique_ptr<Tokenizer> make_ranked_tokenizer(RankedTokenizer ranked,
                                                 const TokenizerFiles& files) {
  TokenizerConfig config = read_tokenizer_config(files);
  if (config.bos_token) ranked.bos = *config.bos_token;
  if (config.eos_token) ranked.eos = *config.eos_token;
  config.bos_token = ranked.bos;
  config.eos_token = ranked.eos;

  TokenizerJsonFile json;
  json.root =
      ranked_tokenizer_json(ranked, config.add_bos_token.value_or(true));
  json.merges = list_ranked_merges(ranked.tokens, ranked.file);
  json.vocabulary = std::move(ranked.tokens);
  json.has_vocabulary = json.has_merges = true;
  auto parts = assemble_tokenizer(std::move(json), ranked.file, config);
  for (const std::int32_t id : ranked.eos_ids()) {
    if (std::count(parts.eos_ids.begin(), parts.eos_ids.end(), id) == 0) {
      parts.eos_ids.push_back(id);
    }
  }
  parts.special_ends_run = ranked.special_ends_run;
  return make_bpe_tokenizer(std::move(parts));
}

}  // namespace llamlx
