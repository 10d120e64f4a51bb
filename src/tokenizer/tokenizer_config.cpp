#include "tokenizer/tokenizer_config.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "base/concat.h"
#include "base/error.h"
#include "base/json.h"

namespace llamlx {
namespace {

constexpr const char* kRemedy = "correct the file or download it again";

struct File {
  File(const TokenizerFiles& files, const std::string& name)
      : subject(files.subject(name)) {
    if (!files.contains(name)) return;
    json = parse_json_object(files.read(name).text(), subject);
  }

  [[noreturn]] void corrupt(std::string_view cause) const {
    fail(ErrorCode::corrupt_file, subject, cause, kRemedy);
  }

  std::string subject;
  Json json = Json::object();
};

// A token is written as a string, or as an object with its flags.
std::optional<std::string> token_content(const File& file, const Json& token) {
  if (token.is_string()) return token.get<std::string>();
  if (!token.is_object()) return {};
  return json_get<std::string>(token, "content", file.subject);
}

std::optional<std::string> named_token(const File& file,
                                       const std::string& name) {
  const auto found = file.json.find(name);
  if (found == file.json.end() || found->is_null()) return {};
  auto content = token_content(file, *found);
  if (!content) file.corrupt(concat("\"", name, "\" should be a token"));
  return content;
}

// All tokens that a file calls special: "pad_token", and the lists.
void collect_special(const File& file, std::set<std::string>& special) {
  for (const auto& [key, value] : file.json.items()) {
    if (key.ends_with("_token")) {
      if (const auto content = token_content(file, value)) {
        special.insert(*content);
      }
    } else if (key.ends_with("_special_tokens") && value.is_array()) {
      for (const Json& token : value) {
        if (const auto content = token_content(file, token)) {
          special.insert(*content);
        }
      }
    }
  }
}

AddedToken read_added_token(const File& file, const std::string& key,
                            const Json& json) {
  AddedToken token;
  const auto [end, error] =
      std::from_chars(key.data(), key.data() + key.size(), token.id);
  if (error != std::errc() || end != key.data() + key.size() || token.id < 0) {
    file.corrupt(concat("\"added_tokens_decoder\" has the id \"", key, "\""));
  }
  const auto content = token_content(file, json);
  if (!content || content->empty()) {
    file.corrupt(concat("the added token ", key, " has no \"content\""));
  }
  token.content = *content;
  if (!json.is_object()) return token;
  const auto flag = [&](const char* name) {
    return json_get<bool>(json, name, file.subject).value_or(false);
  };
  token.single_word = flag("single_word");
  token.lstrip = flag("lstrip");
  token.rstrip = flag("rstrip");
  token.normalized = flag("normalized");
  token.special = flag("special");
  return token;
}

std::vector<AddedToken> read_added_tokens(const File& config, const File& map,
                                          const File& added) {
  std::vector<AddedToken> tokens;
  const auto decoder = config.json.find("added_tokens_decoder");
  if (decoder != config.json.end() && decoder->is_object()) {
    for (const auto& [key, value] : decoder->items()) {
      tokens.push_back(read_added_token(config, key, value));
    }
  }
  std::set<std::string> special;
  collect_special(config, special);
  collect_special(map, special);
  for (const auto& entry : added.json.items()) {
    const std::string& content = entry.key();
    const auto id = json_get<int>(added.json, content, added.subject);
    if (!id || *id < 0 || content.empty()) {
      added.corrupt(concat("the token \"", content, "\" has no id"));
    }
    const bool known = std::any_of(
        tokens.begin(), tokens.end(),
        [&](const AddedToken& token) { return token.content == content; });
    if (known) continue;
    AddedToken token;
    token.content = content;
    token.id = *id;
    token.special = special.contains(content);
    tokens.push_back(token);
  }
  return tokens;
}

}  // namespace

TokenizerConfig read_tokenizer_config(const TokenizerFiles& files) {
  const File file(files, "tokenizer_config.json");
  const File map(files, "special_tokens_map.json");
  const File added(files, "added_tokens.json");
  const auto token = [&](const std::string& name) {
    return file.json.contains(name) ? named_token(file, name)
                                    : named_token(map, name);
  };
  const auto flag = [&](const char* name) {
    return json_get<bool>(file.json, name, file.subject);
  };
  TokenizerConfig config;
  config.bos_token = token("bos_token");
  config.eos_token = token("eos_token");
  config.unk_token = token("unk_token");
  config.add_bos_token = flag("add_bos_token");
  config.add_eos_token = flag("add_eos_token");
  config.add_prefix_space = flag("add_prefix_space");
  config.legacy = flag("legacy");
  config.added_tokens = read_added_tokens(file, map, added);
  return config;
}

}  // namespace llamlx
