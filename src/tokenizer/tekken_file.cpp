#include "tokenizer/tekken_file.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/concat.h"
#include "base/error.h"
#include "base/json.h"
#include "tokenizer/oniguruma_pattern.h"
#include "tokenizer/regex.h"

namespace llamlx {
namespace {

// Mistral's have 19 MB.
constexpr std::size_t kLongestFile = std::size_t{128} << 20;
constexpr int kMaxDepth = 16;
constexpr std::int64_t kMostSpecialTokens = 1 << 16;

// Of the versions v3 and v7, which all before them shared.
constexpr std::array kUsualSpecialTokens = {
    "<unk>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CALLS]",
    "[IMG]",
    "<pad>",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[PREFIX]",
    "[MIDDLE]",
    "[SUFFIX]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_CONTENT]",
};
constexpr std::array kVersionsWithThose = {"v1", "v2", "v3", "v7"};

[[noreturn]] void corrupt(const std::string& subject, std::string_view cause) {
  fail(ErrorCode::corrupt_file, subject, cause,
       "restore or download the file again");
}

template <typename T>
T required(const Json& object, const char* key, const std::string& subject) {
  auto value = json_get<T>(object, key, subject);
  if (!value) corrupt(subject, concat("lacks \"", key, "\""));
  return *std::move(value);
}

struct Entry {
  std::string base64;
  std::int64_t rank;
};

/// A tekken.json as read: its long table apart.
struct File {
  Json root;  // "vocab" is empty in it
  std::vector<Entry> vocab;
};

// Takes the entries of "vocab" out of the tree as it grows: with them it would
// have several times the size of the file.
File parse(std::string_view bytes, const std::string& file) {
  File result;
  bool in_vocab = false;
  const auto take = [&](int depth, Json::parse_event_t event, Json& parsed) {
    using Event = Json::parse_event_t;
    if (depth > kMaxDepth) corrupt(file, "nests deeper than any tokenizer");
    if (event == Event::key && depth == 1) in_vocab = parsed == "vocab";
    if (event != Event::object_end || depth != 2 || !in_vocab) return true;
    const std::string place =
        concat(file, ": vocab[", result.vocab.size(), "]");
    result.vocab.push_back({required<std::string>(parsed, "token_bytes", place),
                            required<std::int64_t>(parsed, "rank", place)});
    return false;
  };
  try {
    result.root = Json::parse(bytes, take);
  } catch (const Json::parse_error& error) {
    corrupt(file, concat("is not valid JSON near byte ", error.byte));
  } catch (const Json::exception&) {
    corrupt(file, "holds a number that is too large");
  }
  if (!result.root.is_object()) corrupt(file, "should be a JSON object");
  const auto vocab = result.root.find("vocab");
  if (vocab == result.root.end() || !vocab->is_array() || !vocab->empty()) {
    corrupt(file, "\"vocab\" should be an array of objects");
  }
  return result;
}

struct Config {
  std::string pattern;
  std::string version;
  std::int64_t vocab_size;
  std::int64_t num_special_tokens;
};

Config read_config(const File& parsed, const std::string& file) {
  const std::string subject = concat(file, ": config");
  const auto found = parsed.root.find("config");
  if (found == parsed.root.end() || !found->is_object()) {
    corrupt(file, "lacks \"config\", an object");
  }
  Config config{
      required<std::string>(*found, "pattern", subject),
      json_get<std::string>(*found, "version", subject).value_or(""),
      required<std::int64_t>(*found, "default_vocab_size", subject),
      required<std::int64_t>(*found, "default_num_special_tokens", subject)};
  const std::int64_t special = config.num_special_tokens;
  if (special < 0 || special > kMostSpecialTokens) {
    corrupt(subject, concat(special, " special tokens are out of range"));
  }
  const std::int64_t ordinary = config.vocab_size - special;
  if (config.vocab_size < 0 || config.vocab_size > Vocabulary::kIdLimit ||
      ordinary < 0 ||
      ordinary > static_cast<std::int64_t>(parsed.vocab.size())) {
    corrupt(subject,
            concat("a vocabulary of ", config.vocab_size, " cannot be made of ",
                   special, " special tokens and ", parsed.vocab.size(),
                   " others"));
  }
  try {
    const Regex compiles(config.pattern);
  } catch (const PatternError& error) {
    fail(ErrorCode::unsupported, subject,
         concat("the pattern ", config.pattern, " ", error.what()),
         "use a model with another tokenizer");
  }
  return config;
}

// Puts the special tokens that the file names where their ids say.
void name_special(const Json& list, const std::string& file,
                  std::vector<std::string>& names) {
  if (!list.is_array()) corrupt(file, "\"special_tokens\" should be an array");
  std::size_t index = 0;
  for (const Json& json : list) {
    const std::string place = concat(file, ": special_tokens[", index++, "]");
    if (!json.is_object()) corrupt(place, "should be an object");
    const auto rank = required<std::int64_t>(json, "rank", place);
    auto content = required<std::string>(json, "token_str", place);
    if (content.empty()) corrupt(place, "\"token_str\" is empty");
    if (rank < 0 || rank >= static_cast<std::int64_t>(names.size())) {
      corrupt(place, concat("the rank ", rank, " is out of range"));
    }
    std::string& name = names[static_cast<std::size_t>(rank)];
    if (!name.empty()) {
      corrupt(place, concat("the rank ", rank, " is already that of ", name));
    }
    name = std::move(content);
  }
}

std::vector<AddedToken> read_special(const Json& root, const Config& config,
                                     const std::string& file) {
  std::vector<std::string> names(
      static_cast<std::size_t>(config.num_special_tokens));
  const auto list = root.find("special_tokens");
  if (list != root.end() && !list->is_null()) {
    name_special(*list, file, names);
  } else {
    const auto known = [&](const char* one) { return config.version == one; };
    if (std::none_of(kVersionsWithThose.begin(), kVersionsWithThose.end(),
                     known)) {
      corrupt(file, concat("lacks \"special_tokens\", which the version \"",
                           config.version, "\" needs"));
    }
    if (names.size() < kUsualSpecialTokens.size()) {
      corrupt(file, "has too few special tokens for its version");
    }
    std::copy(kUsualSpecialTokens.begin(), kUsualSpecialTokens.end(),
              names.begin());
  }
  std::vector<AddedToken> special;
  for (std::string& name : names) {
    AddedToken token{std::move(name),
                     static_cast<std::int32_t>(special.size())};
    if (token.content.empty()) {
      token.content = concat("<SPECIAL_", token.id, ">");
    }
    token.special = true;
    special.push_back(std::move(token));
  }
  return special;
}

}  // namespace

RankedTokenizer read_tekken(std::string_view bytes, const std::string& file) {
  if (bytes.size() > kLongestFile) {
    corrupt(file,
            concat("has ", bytes.size(), " bytes, more than any vocabulary"));
  }
  File parsed = parse(bytes, file);
  Config config = read_config(parsed, file);
  RankedTokenizer ranked;
  ranked.file = file;
  ranked.special = read_special(parsed.root, config, file);

  const auto first_id = static_cast<std::int32_t>(config.num_special_tokens);
  RankedTokens tokens(file, first_id);
  parsed.vocab.resize(
      static_cast<std::size_t>(config.vocab_size - config.num_special_tokens));
  std::size_t index = 0;
  for (const Entry& entry : parsed.vocab) {
    tokens.add(entry.base64, entry.rank, concat("vocab[", index++, "]"));
  }
  ranked.tokens = std::move(tokens).finish();
  ranked.pattern = std::move(config.pattern);
  ranked.bos = "<s>";
  ranked.eos = "</s>";
  ranked.special_ends_run = true;
  return ranked;
}

}  // namespace llamlx
