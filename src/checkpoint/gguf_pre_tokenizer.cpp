#include "checkpoint/gguf_pre_tokenizer.h"

#include <algorithm>
#include <iterator>

#include "tokenizer/word_patterns.h"

namespace llamlx {
namespace {

// Where the steps come from: the names are those of llama.cpp's vocabularies,
// and so are the regular expressions of "default".
constexpr const char* kLlama3[] = {kLlama3Words};
constexpr const char* kQwen2[] = {kQwen2Words};
constexpr const char* kQwen35[] = {kQwen35Words};
constexpr const char* kTekken[] = {kTekkenWords};
constexpr const char* kO200k[] = {kO200kWords};
constexpr const char* kDefault[] = {
    "[\\p{P}\\$\\+<=>\\^~\\|]+",
    ("'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+"
     "|\\s+(?!\\S)"),
    "\\p{N}+", "[0-9][0-9][0-9]"};

constexpr GgufPreTokenizer kPreTokenizers[] = {
    // name, nfc, digits, splits, words, ignore_merges, add_bos
    {"smollm", false, true, {}, true, false, false},
    {"starcoder", false, true, {}, true, false, false},
    {"refact", false, true, {}, true, false, false},
    {"codeshell", false, true, {}, true, false, false},
    {"command-r", true, true, {}, true, false, false},
    {"gpt-2", false, false, {}, true, false, false},
    {"phi-2", false, false, {}, true, false, false},
    {"llama-bpe", false, false, kLlama3, false, true, true},
    {"llama3", false, false, kLlama3, false, true, true},
    {"llama-v3", false, false, kLlama3, false, true, true},
    {"falcon3", false, false, kLlama3, false, true, true},
    {"smaug-bpe", false, false, kLlama3, false, false, false},
    {"qwen2", true, false, kQwen2, false, false, false},
    {"qwen35", true, false, kQwen35, false, false, false},
    {"tekken", false, false, kTekken, false, true, true},
    {"gpt-4o", false, false, kO200k, false, false, false},
    {"llama4", false, false, kO200k, false, false, false},
    {"default", false, false, kDefault, false, false, false},
};

}  // namespace

const GgufPreTokenizer* find_gguf_pre_tokenizer(std::string_view name) {
  const auto found =
      std::ranges::find(kPreTokenizers, name, &GgufPreTokenizer::name);
  return found != std::end(kPreTokenizers) ? found : nullptr;
}

}  // namespace llamlx
