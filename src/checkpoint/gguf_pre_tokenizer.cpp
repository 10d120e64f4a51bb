#include "checkpoint/gguf_pre_tokenizer.h"

#include <algorithm>
#include <iterator>

namespace llamlx {
namespace {

// Where the steps come from: the names are those of llama.cpp's vocabularies;
// the regular expressions are those of the models' tokenizer.json (Llama 3,
// Qwen 2, Qwen 3.5, Mistral's tekken, OpenAI's o200k) and, for "default",
// llama.cpp's own.
#define LLAMLX_CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define LLAMLX_REST \
  "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LLAMLX_REST_AND_SLASHES \
  "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LLAMLX_UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LLAMLX_LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define LLAMLX_LEAD "[^\\r\\n\\p{L}\\p{N}]?"

constexpr const char* kLlama3[] = {
    LLAMLX_CONTRACTIONS "|" LLAMLX_LEAD "\\p{L}+|\\p{N}{1,3}" LLAMLX_REST};

constexpr const char* kQwen2[] = {LLAMLX_CONTRACTIONS
                                  "|" LLAMLX_LEAD "\\p{L}+|\\p{N}" LLAMLX_REST};

constexpr const char* kQwen35[] = {LLAMLX_CONTRACTIONS
                                   "|" LLAMLX_LEAD
                                   "[\\p{L}\\p{M}]+|\\p{N}"
                                   "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*"
                                   "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"};

constexpr const char* kTekken[] = {
    LLAMLX_LEAD LLAMLX_UPPER "*" LLAMLX_LOWER "+|" LLAMLX_LEAD LLAMLX_UPPER
                             "+" LLAMLX_LOWER
                             "*|\\p{N}" LLAMLX_REST_AND_SLASHES};

constexpr const char* kO200k[] = {LLAMLX_LEAD LLAMLX_UPPER
                                  "*" LLAMLX_LOWER "+" LLAMLX_CONTRACTIONS
                                  "?|" LLAMLX_LEAD LLAMLX_UPPER "+" LLAMLX_LOWER
                                  "*" LLAMLX_CONTRACTIONS
                                  "?|\\p{N}{1,3}" LLAMLX_REST_AND_SLASHES};

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
