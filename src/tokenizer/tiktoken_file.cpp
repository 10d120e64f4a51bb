#include "tokenizer/tiktoken_file.h"

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

#include "base/concat.h"
#include "base/error.h"
#include "tokenizer/word_patterns.h"

namespace llamlx {
namespace {

constexpr const char* kRemedy = "restore or download the file again";

// Llama 4's has 3.6 MB.
constexpr std::size_t kLongestFile = std::size_t{64} << 20;

using Names = std::vector<std::string>;

void append(Names& names, std::initializer_list<const char*> more) {
  names.insert(names.end(), more.begin(), more.end());
}

// `prefix`, a number and "|>", for the numbers from `first` to `last`.
void append_reserved(Names& names, const char* prefix, int first, int last) {
  for (int i = first; i <= last; ++i) {
    names.push_back(concat(prefix, i, "|>"));
  }
}

Names llama3_special() {
  Names names;
  append(names, {"<|begin_of_text|>", "<|end_of_text|>"});
  append_reserved(names, "<|reserved_special_token_", 0, 1);
  append(names, {"<|finetune_right_pad_id|>", "<|step_id|>",
                 "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>",
                 "<|eot_id|>", "<|python_tag|>", "<|image|>"});
  append_reserved(names, "<|reserved_special_token_", 2, 245);
  return names;
}

Names llama4_special() {
  constexpr const char* kText = "<|text_post_train_reserved_special_token_";
  constexpr const char* kVision = "<|vision_reserved_special_token_";
  constexpr const char* kReasoning = "<|reasoning_reserved_special_token_";
  Names names;
  append(names, {"<|begin_of_text|>", "<|end_of_text|>", "<|fim_prefix|>",
                 "<|fim_middle|>", "<|fim_suffix|>", "<|header_start|>",
                 "<|header_end|>", "<|eom|>", "<|eot|>", "<|step|>"});
  append_reserved(names, kText, 0, 5);
  append(names,
         {"<|python_start|>", "<|python_end|>", "<|finetune_right_pad|>"});
  append_reserved(names, kText, 8, 68);
  append(names, {"<|image_start|>", "<|image_end|>"});
  append_reserved(names, kVision, 0, 1);
  append(names, {"<|tile_x_separator|>", "<|tile_y_separator|>"});
  append_reserved(names, kVision, 2, 5);
  append(names, {"<|image|>"});
  append_reserved(names, kVision, 6, 6);
  append(names, {"<|patch|>"});
  append_reserved(names, kVision, 7, 1047);
  append_reserved(names, kReasoning, 0, 7);
  append(names, {"<|reasoning_thinking_start|>", "<|reasoning_thinking_end|>"});
  const int left = 2048 - static_cast<int>(names.size());
  append_reserved(names, "<|reserved_special_token_", 0, left - 1);
  return names;
}

// What makes a tokenizer of a number of tokens.
struct Known {
  std::size_t tokens;
  const char* pattern;
  Names (*special)();  // their ids follow those of the tokens
  std::initializer_list<const char*> stops;
};

const Known kKnown[] = {
    {128000, kLlama3Words, llama3_special, {"<|eom_id|>", "<|eot_id|>"}},
    {200000, kO200kWords, llama4_special, {"<|eom|>", "<|eot|>"}},
};

// The next line without its end, which `rest` is moved past.
std::string_view take_line(std::string_view& rest) {
  const std::size_t end = std::min(rest.find('\n'), rest.size());
  std::string_view line = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

void add_line(std::string_view line, const std::string& file,
              std::string_view place, RankedTokens& tokens) {
  const std::size_t space = std::min(line.find(' '), line.size());
  const std::string_view number = line.substr(std::min(space + 1, line.size()));
  std::int64_t rank = 0;
  const char* const end = number.data() + number.size();
  const auto [stopped, error] = std::from_chars(number.data(), end, rank);
  if (error == std::errc::result_out_of_range) {
    rank = Vocabulary::kIdLimit;  // which is refused with the token's place
  } else if (error != std::errc() || stopped != end) {
    fail(ErrorCode::corrupt_file, concat(file, ": ", place),
         concat("\"", line.substr(0, 80),
                "\" is not a token in base64, a space and a rank"),
         kRemedy);
  }
  tokens.add(line.substr(0, space), rank, place);
}

Vocabulary read_tokens(std::string_view bytes, const std::string& file) {
  if (bytes.size() > kLongestFile) {
    fail(ErrorCode::corrupt_file, file,
         concat("has ", bytes.size(), " bytes, more than any vocabulary"),
         kRemedy);
  }
  RankedTokens tokens(file, 0);
  for (std::size_t number = 1; !bytes.empty(); ++number) {
    const std::string_view line = take_line(bytes);
    if (line.empty()) continue;
    add_line(line, file, concat("line ", number), tokens);
  }
  return std::move(tokens).finish();
}

}  // namespace

bool is_tiktoken(std::string_view bytes) {
  constexpr std::size_t kBeginning = 1024;
  const auto is_text = [](char c) {
    return (c >= ' ' && c <= '~') || c == '\n' || c == '\r' || c == '\t';
  };
  bytes = bytes.substr(0, kBeginning);
  return !bytes.empty() && std::all_of(bytes.begin(), bytes.end(), is_text);
}

RankedTokenizer read_tiktoken(std::string_view bytes, const std::string& file) {
  RankedTokenizer ranked;
  ranked.file = file;
  ranked.tokens = read_tokens(bytes, file);
  const auto* known = std::find_if(
      std::begin(kKnown), std::end(kKnown),
      [&](const Known& one) { return one.tokens == ranked.tokens.size(); });
  if (known == std::end(kKnown)) {
    fail(ErrorCode::unsupported, file,
         concat("is a tiktoken vocabulary of ", ranked.tokens.size(),
                " tokens; those of Llama 3 (128000) and Llama 4 (200000) are "
                "known"),
         "put the model's tokenizer.json beside it");
  }
  ranked.pattern = known->pattern;
  ranked.pattern_is_total = true;
  std::int32_t id = ranked.tokens.id_end();
  for (std::string& name : known->special()) {
    AddedToken token{std::move(name), id++};
    token.special = true;
    ranked.special.push_back(std::move(token));
  }
  ranked.bos = "<|begin_of_text|>";
  ranked.eos = "<|end_of_text|>";
  ranked.stops.assign(known->stops.begin(), known->stops.end());
  return ranked;
}

}  // namespace llamlx
