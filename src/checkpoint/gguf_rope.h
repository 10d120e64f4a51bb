#pragma once

#include "base/json.h"
#include "checkpoint/gguf_family.h"
#include "formats/gguf_reader.h"

namespace llamlx {

/// The tensor in which llama.cpp keeps divisors of the rotary frequencies.
inline constexpr const char* kGgufRopeFactors = "rope_freqs.weight";

/// Adds "rope_theta" and, where positions are scaled, "rope_scaling" to
/// `config`, which must hold "head_dim".
///
/// The divisors in rope_freqs.weight [head_dim / 2] are those of Llama 3.1 and
/// 3.2 as far as is known: a factor, blended between the wavelengths 8192 / 4
/// and 8192. They become "rope_scaling" of the kind "llama3" only if that gives
/// the same frequencies again.
///
/// Errors: Error: unsupported for other divisors and other kinds of scaling,
/// mismatch for a tensor of the wrong size.
void add_gguf_rope(Json& config, const GgufFile& file,
                   const GgufFamily& family);

/// The double nearest to the shortest decimal that names the float32 `value`;
/// `value` itself when it is no float32.
double shortest_decimal(double value);

/// shortest_decimal() of a metadata value. Errors: Error (corrupt_file) when it
/// is missing, not finite or not positive.
double read_positive_decimal(const GgufFile& file, std::string_view key);

}  // namespace llamlx
