#pragma once

namespace llamlx {

// How models cut text into words before they encode it: regular expressions in
// the syntax of regex.h, as the models' own files write them. Each matches the
// whole of any text, word after word.
#define LLAMLX_CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define LLAMLX_REST \
  "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LLAMLX_REST_AND_SLASHES \
  "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LLAMLX_UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LLAMLX_LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define LLAMLX_LEAD "[^\\r\\n\\p{L}\\p{N}]?"

inline constexpr const char* kLlama3Words =
    LLAMLX_CONTRACTIONS "|" LLAMLX_LEAD "\\p{L}+|\\p{N}{1,3}" LLAMLX_REST;

inline constexpr const char* kQwen2Words =
    LLAMLX_CONTRACTIONS "|" LLAMLX_LEAD "\\p{L}+|\\p{N}" LLAMLX_REST;

inline constexpr const char* kQwen35Words =
    LLAMLX_CONTRACTIONS "|" LLAMLX_LEAD
                        "[\\p{L}\\p{M}]+|\\p{N}"
                        "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*"
                        "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/// Mistral's.
inline constexpr const char* kTekkenWords = LLAMLX_LEAD LLAMLX_UPPER
    "*" LLAMLX_LOWER "+|" LLAMLX_LEAD LLAMLX_UPPER "+" LLAMLX_LOWER
    "*|\\p{N}" LLAMLX_REST_AND_SLASHES;

/// OpenAI's o200k, and Llama 4's.
inline constexpr const char* kO200kWords = LLAMLX_LEAD LLAMLX_UPPER
    "*" LLAMLX_LOWER "+" LLAMLX_CONTRACTIONS "?|" LLAMLX_LEAD LLAMLX_UPPER
    "+" LLAMLX_LOWER "*" LLAMLX_CONTRACTIONS
    "?|\\p{N}{1,3}" LLAMLX_REST_AND_SLASHES;

#undef LLAMLX_CONTRACTIONS
#undef LLAMLX_REST
#undef LLAMLX_REST_AND_SLASHES
#undef LLAMLX_UPPER
#undef LLAMLX_LOWER
#undef LLAMLX_LEAD

}  // namespace llamlx
