/// llamlx: run and shape language models on MLX, natively in C++.
///
/// This header is the whole public API; no MLX type appears in it. Example:
///
///     auto model = llamlx::Model::load("mlx_model");
///     model.generate("A great hobby to have is", {.max_tokens = 30},
///                    [](const llamlx::Delta& delta) {
///                      std::cout << delta.text << std::flush;
///                      return true;  // false cancels
///                    });
///
/// Errors: what the world got wrong (a damaged file, a full disk) is thrown as
/// llamlx::Error, whose what() is one line naming the file, the cause and the
/// remedy; what the caller got wrong (a negative token count) is thrown as
/// std::invalid_argument. The library never prints, aborts or exits.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#define LLAMLX_API __attribute__((visibility("default")))

namespace llamlx {

/// The library's version, "major.minor.patch".
LLAMLX_API const char* version() noexcept;

/// What kind of thing in the world went wrong.
enum class ErrorCode {
  not_found,         ///< a file or folder that should exist does not
  corrupt_file,      ///< a file contradicts its own format
  mismatch,          ///< files that belong together disagree (shape, count)
  unsupported,       ///< well-formed, but not something llamlx knows
  context_overflow,  ///< more tokens than the model or the caller allows
  out_of_memory,     ///< the machine or the device has too little memory
  no_space,          ///< the disk has too little room
  io_error,          ///< the operating system refused to read or write
  no_device,         ///< the device that was asked for is not here
  not_finite,        ///< the model computes NaN or infinity
};

/// Something outside the program went wrong. what() is one line:
/// "subject: cause; remedy".
class LLAMLX_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& what)
      : std::runtime_error(what), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

/// Where the arithmetic runs. `automatic` takes the GPU when there is one that
/// computes the model.
enum class Device { automatic, cpu, gpu };

/// The type that is computed in; `automatic` is the checkpoint's own. On a GPU
/// all activations are of that type. On the CPU they are float32 in any case;
/// the type is that of the cache of keys and values, and what products may
/// round their operands to. Sums are float32, and quantised weights stay
/// quantised.
enum class ComputeType { automatic, float32, float16, bfloat16 };

/// How far reading a model's weights, or writing them, has come.
struct Progress {
  std::string_view tensor;  ///< the last one; lives for the call only
  std::uint64_t done_bytes = 0;
  std::uint64_t total_bytes = 0;
};
using ProgressFn = std::function<void(const Progress&)>;

struct LoadOptions {
  Device device = Device::automatic;
  ComputeType dtype = ComputeType::automatic;
  /// Threads that compute on the CPU; 0: as many as this process may keep busy.
  int threads = 0;
  /// Tokens of all sequences that are in memory at a time, as far as that is
  /// known: the memory of an NVIDIA GPU is planned for them before anything is
  /// loaded.
  std::int64_t expected_tokens = 0;
  /// Bits of the numbers of cached keys and values: 0 for those of `dtype`, or
  /// 8, with a scale for each 64 of them. That takes about half the memory, or
  /// a quarter of float32's; several long texts go on a little faster, and a
  /// single one slower, as its tokens go by several kernels instead of one.
  /// Each number is off by up to 1/254 of the largest of its 64. On NVIDIA's
  /// GPUs alone: elsewhere 8 is refused (unsupported).
  int kv_bits = 0;
  /// Told of each tensor that has been read. Bytes are those of the checkpoint.
  ProgressFn on_progress = {};
};

struct SamplingOptions {
  float temperature = 0;   ///< 0 takes the likeliest token
  std::uint64_t seed = 0;  ///< equal seeds give equal texts
};

struct GenerateOptions {
  int max_tokens = 100;
  SamplingOptions sampling = {};
  bool ignore_eos = false;  ///< go on after an end-of-sequence token
  /// The text ends before the first of these, wherever tokens begin and end;
  /// what could still become one is held back meanwhile. UTF-8, none empty.
  std::vector<std::string> stop = {};
};

/// What one step of generation adds.
struct Delta {
  std::string_view text;  ///< whole UTF-8 characters; lives for the call only
  std::optional<std::int32_t> token;  ///< empty in the last, flushing call
};

/// Called after every token; return false to cancel.
using StreamFn = std::function<bool(const Delta&)>;

enum class FinishReason { stop, length, cancelled };

/// "stop", "length" or "cancelled".
LLAMLX_API const char* to_string(FinishReason reason) noexcept;

/// What a generation did. An end-of-sequence token is not part of the result.
struct Result {
  std::string text;  ///< without a stop string, and what came with it
  std::vector<std::int32_t> prompt_ids;
  std::vector<std::int32_t> tokens;  ///< all, those of a stop string too
  FinishReason finish_reason = FinishReason::length;
  std::string stop_text;                ///< the stop string that was found
  double time_to_first_token_s = 0;     ///< from the call to the first token
  double prompt_tps = 0;                ///< prompt tokens per second
  double generation_tps = 0;            ///< tokens after the first, per second
  double total_s = 0;                   ///< from the call to the last token
  std::uint64_t peak_memory_bytes = 0;  ///< of the process, so far
};

/// How well a model predicts given tokens.
struct Score {
  double mean_nll = 0;      ///< mean negative log likelihood, in nats
  double perplexity = 0;    ///< exp(mean_nll)
  std::int64_t tokens = 0;  ///< number of tokens predicted
};

/// How far the predictions of two models, A and B, on one text are apart. Each
/// is asked for the token after every beginning of the text.
struct Comparison {
  Score a;
  Score b;
  /// Of KL(A || B), over all next-token distributions, in nats.
  double mean_kl = 0;
  double max_kl = 0;
  double top1_agreement = 0;  ///< share of tokens both hold likeliest, 0 to 1
};

/// What a loaded model is, for people and programs to read.
struct ModelInfo {
  std::string model_type;    ///< as in config.json, e.g. "llama"
  std::string format;        ///< "safetensors" or "gguf"
  std::string quantization;  ///< e.g. "affine 4-bit, group 64", or "none"
  std::string dtype;         ///< compute type, e.g. "float32"
  std::string device;        ///< e.g. "cpu"
  std::string kernels;       ///< who does the arithmetic, e.g. "avx2", "mlx"
  int kv_bits = 0;           ///< as LoadOptions::kv_bits
  std::int64_t parameters = 0;
  std::int64_t weight_bytes = 0;  ///< as held in memory
  int context_length = 0;         ///< 0: the model does not say
  int vocab_size = 0;
  std::optional<std::int32_t> bos_id;               ///< the tokenizer's
  std::vector<std::int32_t> eos_ids;                ///< tokens that end a text
  std::vector<std::filesystem::path> weight_files;  ///< read for the weights
};

/// A model and its tokenizer, ready to run.
///
/// Threads: movable, not copyable. One call at a time; calls from several
/// threads wait for each other.
class LLAMLX_API Model {
 public:
  /// Loads `path`: a folder in MLX's or Hugging Face's layout, or a GGUF file.
  /// Errors: Error, before anything is computed; std::invalid_argument for
  /// options out of range.
  static Model load(const std::filesystem::path& path,
                    const LoadOptions& options = {});

  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  const ModelInfo& info() const;

  /// Things worth telling the user that did not stop the load, a line each.
  const std::vector<std::string>& notices() const;

  /// Continues `prompt`, adding the special tokens its tokenizer adds.
  /// Errors: Error when there is no tokenizer, the context would overflow, or
  /// the model computes NaN or infinity (not_finite);
  /// std::invalid_argument for an empty prompt or options out of range.
  Result generate(std::string_view prompt, const GenerateOptions& options = {},
                  const StreamFn& on_delta = {}) const;

  /// Continues token ids as they are. Works without a tokenizer (no text).
  Result generate(std::span<const std::int32_t> prompt_ids,
                  const GenerateOptions& options = {},
                  const StreamFn& on_delta = {}) const;

  /// Scores every token of `ids` but the first given all tokens before it.
  /// Longer texts than the model's context are scored in consecutive windows.
  Score score(std::span<const std::int32_t> ids) const;

  /// Compares this model, A, with another, B, on `ids`, as score() reads them.
  /// Errors: Error (mismatch) when their vocabularies differ; (not_finite);
  /// std::invalid_argument for fewer than two ids, or models on two devices.
  Comparison compare(const Model& b, std::span<const std::int32_t> ids) const;

  bool has_tokenizer() const;
  /// Without `add_special_tokens`, the tokens of the text alone.
  std::vector<std::int32_t> encode(std::string_view text,
                                   bool add_special_tokens = true) const;
  std::string decode(std::span<const std::int32_t> ids) const;

 private:
  struct Impl;
  explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// How a converted model is laid out.
enum class ModelLayout {
  mlx,   ///< safetensors and Hugging Face's names, as mlx_lm reads them
  seed,  ///< npz and Meta's names, as mlx-examples' llama.py reads them
};

struct ConvertOptions {
  ModelLayout layout = ModelLayout::mlx;
  bool quantize = false;
  /// MLX's name for how weights are packed: "affine", "mxfp4", "mxfp8",
  /// "nvfp4".
  std::string mode = "affine";
  /// 2, 3, 4, 5, 6 or 8 in affine mode. Empty: 4, and 8 in mxfp8, as the other
  /// modes have no choice.
  std::optional<int> bits = {};
  /// 32, 64 or 128 in affine mode. Empty: 64; in the others 32, in nvfp4 16.
  std::optional<int> group_size = {};
  /// Whether embeddings are quantised, too. Empty: in the layout mlx they are;
  /// in the layout seed they are not, as by the first llama.py.
  std::optional<bool> quantize_embeddings = {};
  /// "float16", "bfloat16", "float32": the type of what is not quantised. A
  /// quantised source is expanded when this is given. Empty: as in the source.
  std::string dtype = {};
  /// Convert the weights of one of Meta's checkpoints even when its tokenizer
  /// is not to be found.
  bool without_tokenizer = false;
};

struct ConvertResult {
  std::int64_t parameters = 0;
  std::uint64_t weight_bytes = 0;
  double bits_per_weight = 0;
  std::vector<std::string>
      notices;  ///< e.g. tensors left un-quantised, and why
};

/// Converts `source` (a folder in Meta's, Hugging Face's or MLX's layout, or a
/// GGUF file) into the MLX folder `destination`.
///
/// The folder is written beside `destination` and renamed when complete, so a
/// failure leaves whatever stood there before. Memory is bounded by the largest
/// tensor. `on_progress` is told before the first byte and then as bytes are
/// made: its bytes are those of the new weights. Errors: Error;
/// std::invalid_argument for options out of range.
LLAMLX_API ConvertResult convert(const std::filesystem::path& source,
                                 const std::filesystem::path& destination,
                                 const ConvertOptions& options = {},
                                 const ProgressFn& on_progress = {});

}  // namespace llamlx
