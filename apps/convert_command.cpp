#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/concat.h"
#include "base/human_size.h"
#include "base/system_memory.h"
#include "checkpoint/checkpoint.h"
#include "commands.h"
#include "convert/conversion_plan.h"
#include "convert/convert.h"
#include "interrupt.h"
#include "json_output.h"
#include "progress.h"
#include "seed_screens.h"
#include "terminal.h"

namespace llamlx {
namespace {

constexpr const char* kExamples =
    R"(  llamlx convert --torch-path llama-2-7b -q
      Meta's consolidated.*.pth, quantised to 4 bits in mlx_model
  llamlx convert Llama-3.2-1B-Instruct llama-8bit -q --q-bits 8
      a Hugging Face folder, safetensors or pytorch_model.bin
  llamlx convert Llama-3.2-1B-Instruct llama-mxfp4 -q --q-mode mxfp4
      in MLX's floating-point modes, as mlx_lm's --q-mode
  llamlx convert SmolLM2-135M-Instruct.Q4_1.gguf smollm2
      a GGUF file, its quantised weights kept as they are
  llamlx convert llama-2-7b old-layout -q --format npz
      the weights.npz that MLX's llama.py reads
  llamlx convert llama-2-7b --compat seed -q
      the same, and the words on the screen, as MLX's convert.py

The result is a folder that "llamlx generate" loads, and mlx_lm (safetensors) or
llama.py (npz). Everything is checked before a byte is written; the folder is
written beside DEST and takes its name when it is complete, and a model that
stood there is replaced whole. Memory is needed for the largest tensor only.)";

struct ConvertArguments {
  std::string source;
  std::string torch_path;
  std::string destination;
  std::string mlx_path;
  std::string model_name;
  std::string format;
  std::string compat;
  ConvertOptions options;
  std::string progress = "auto";
  bool json = false;

  bool as_seed() const { return !compat.empty(); }

  /// Whether there are words on standard error; else it is for JSON.
  bool tells() const { return progress != "json"; }
};

/// The options as --format and --compat complete them.
ConvertOptions complete(const ConvertArguments& arguments) {
  auto options = arguments.options;
  const bool as_seed = arguments.as_seed();
  if (as_seed && arguments.format == "safetensors") {
    throw std::invalid_argument(
        "--compat writes npz: leave --format safetensors out");
  }
  if (as_seed && options.mode != "affine") {
    throw std::invalid_argument(
        "--compat writes affine weights: leave --q-mode out");
  }
  if (as_seed || arguments.format == "npz") options.layout = ModelLayout::seed;
  if (arguments.compat == "head") options.quantize_embeddings = true;
  if (as_seed && options.dtype.empty()) options.dtype = "float16";
  return options;
}

ProgressKind progress_kind(const std::string& name) {
  if (name == "json") return ProgressKind::json;
  return name == "none" ? ProgressKind::none : ProgressKind::automatic;
}

/// What the article's --model-name says of the folder.
FolderLayout layout_of(const std::string& model_name) {
  if (model_name == "llama") return FolderLayout::meta;
  if (model_name == "tiny_llama") return FolderLayout::hugging_face;
  return FolderLayout::any;
}

/// The one of two spellings that was used.
std::string either(const std::string& positional, const std::string& flag,
                   const char* name, const char* otherwise) {
  if (!positional.empty() && !flag.empty()) {
    throw std::invalid_argument(concat(name, " is given twice: \"", positional,
                                       "\" and \"", flag, '"'));
  }
  if (!positional.empty()) return positional;
  if (!flag.empty()) return flag;
  if (otherwise == nullptr) {
    throw std::invalid_argument(
        concat(name, " is missing; see \"llamlx convert --help\""));
  }
  return otherwise;
}

struct Paths {
  std::string source;
  std::string destination;
};
/// Where --torch-path names the source, a path alone is the destination.
Paths paths_of(const ConvertArguments& arguments) {
  auto source = arguments.source;
  auto destination = arguments.destination;
  if (!arguments.torch_path.empty() && destination.empty()) {
    std::swap(source, destination);
  }
  return {either(source, arguments.torch_path, "SOURCE", nullptr),
          either(destination, arguments.mlx_path, "DEST", "mlx_model")};
}

void announce(const std::string& source, const std::string& destination,
              const ConvertOptions& options) {
  print_note(concat("[INFO] Loading ", printable(source)));
  if (options.quantize) {
    const auto wanted = wanted_quantization(options);
    const auto mode = wanted.is_affine() ? "" : options.mode + ", ";
    print_note(concat("[INFO] Quantizing to ", mode, wanted.bits,
                      " bits in groups of ", wanted.group_size));
  }
  if (!options.dtype.empty()) {
    print_note(concat("[INFO] Using dtype ", options.dtype));
  }
  print_note(concat("[INFO] Saving ", printable(destination)));
}

/// The screen of MLX's convert.py, which begins with kLoading.
void announce_as_seed(const ConvertOptions& options) {
  if (options.quantize) print(seed::kQuantizing);
  print(seed::kSaving);
}

/// Announces itself when all checks are passed: a refusal is a line of its own.
ConvertResult convert_with_progress(const Checkpoint& checkpoint,
                                    const std::string& source,
                                    const std::string& destination,
                                    const ConvertArguments& arguments) {
  const auto options = complete(arguments);
  const InterruptGuard guard;
  ProgressTeller teller("Saving", progress_kind(arguments.progress));
  bool announced = false;
  const auto on_progress = [&](const Progress& progress) {
    if (!std::exchange(announced, true)) {
      if (arguments.as_seed()) {
        announce_as_seed(options);
      } else if (arguments.tells()) {
        announce(source, destination, options);
      }
    }
    guard.check();
    teller.update(progress);
  };
  return convert_checkpoint(checkpoint, destination, options, on_progress);
}

void report_json(const std::string& source, const std::string& destination,
                 const ConvertResult& result, double seconds) {
  print_json({{"source", source},
              {"destination", destination},
              {"parameters", result.parameters},
              {"weight_bytes", result.weight_bytes},
              {"bits_per_weight", result.bits_per_weight},
              {"seconds", seconds},
              {"peak_memory_bytes", peak_memory_bytes()},
              {"notices", result.notices}});
}

void report_line(const std::string& destination, const ConvertResult& result,
                 double seconds) {
  char bits[32];
  std::snprintf(bits, sizeof(bits), "%.3g", result.bits_per_weight);
  print(concat(printable(destination), ": ", human_size(result.weight_bytes),
               " of weights, ", bits, " bits per weight, written in ",
               human_duration(seconds), '\n'));
}

void run_convert(const ConvertArguments& arguments) {
  const auto start = Clock::now();
  const auto [source, destination] = paths_of(arguments);
  check_options(complete(arguments));
  if (arguments.as_seed()) print(seed::kLoading);
  const auto checkpoint =
      Checkpoint::open(source, layout_of(arguments.model_name));
  const auto result =
      convert_with_progress(*checkpoint, source, destination, arguments);
  for (const auto& notice : result.notices) {
    if (arguments.tells()) print_note(concat("[NOTE] ", printable(notice)));
  }
  const double seconds = seconds_since(start);
  if (arguments.json) {
    report_json(source, destination, result, seconds);
  } else if (!arguments.as_seed()) {
    report_line(destination, result, seconds);
  }
}

}  // namespace

void add_convert(CLI::App& app) {
  auto* command = add_command(
      app, "convert", "Make an MLX model of a checkpoint, quantised or not",
      kExamples);
  const auto arguments = std::make_shared<ConvertArguments>();
  auto& options = arguments->options;
  const auto add_path = [&](const char* name, std::string& path,
                            const char* description) {
    command->add_option(name, path, description)->check(not_empty());
  };
  add_path("SOURCE", arguments->source,
           "Folder of a checkpoint (Meta's, Hugging Face's, MLX's), or a GGUF "
           "file");
  add_path("DEST", arguments->destination,
           "Folder to write (default: mlx_model)");
  add_path(
      "--torch-path,--hf-path", arguments->torch_path,
      "SOURCE, in the spellings of other tools; a path alone is then DEST");
  add_path("--mlx-path", arguments->mlx_path,
           "DEST, in the spelling of other tools");
  command
      ->add_option("--model-name", arguments->model_name,
                   "Insist on the layout of SOURCE: Meta's (llama) or Hugging "
                   "Face's (tiny_llama); otherwise found by itself")
      ->check(CLI::IsMember({"llama", "tiny_llama"}));
  command
      ->add_option("--format", arguments->format,
                   "Write safetensors for mlx_lm (default), or npz for MLX's "
                   "llama.py")
      ->check(CLI::IsMember({"safetensors", "npz"}));
  auto* json = command->add_flag("--json", arguments->json,
                                 "Report on standard output as JSON");
  command
      ->add_option("--compat", arguments->compat,
                   "Do as MLX's convert.py did: npz, float16, its words on the "
                   "screen; \"seed\" quantises linear layers alone, as the "
                   "article's version, \"head\" embeddings too, as the last")
      ->check(CLI::IsMember({"seed", "head"}))
      ->excludes(json);
  auto* quantize = command->add_flag(
      "-q,--quantize", options.quantize,
      "Quantise linear layers, and in safetensors embeddings");
  command
      ->add_option("--q-group-size", options.group_size,
                   "Weights that share a scale: 32, 64 (default) or 128; in "
                   "other modes than affine as the mode has it")
      ->check(CLI::IsMember({16, 32, 64, 128}))
      ->needs(quantize);
  command
      ->add_option("--q-bits", options.bits,
                   "Bits a weight: 2, 3, 4 (default), 5, 6 or 8; in other "
                   "modes than affine as the mode has it")
      ->check(CLI::IsMember({2, 3, 4, 5, 6, 8}))
      ->needs(quantize);
  command
      ->add_option("--q-mode", options.mode,
                   "How weights are packed: affine (default), mxfp4, mxfp8 or "
                   "nvfp4")
      ->check(CLI::IsMember({"affine", "mxfp4", "mxfp8", "nvfp4"}))
      ->needs(quantize);
  command
      ->add_option("--dtype", options.dtype,
                   "Type of dense values (default: SOURCE's)")
      ->check(CLI::IsMember({"float16", "bfloat16", "float32"}));
  command->add_flag("--no-tokenizer", options.without_tokenizer,
                    "Convert one of Meta's checkpoints without its tokenizer");
  command
      ->add_option("--progress", arguments->progress,
                   "Tell progress as a bar on a terminal (auto), as lines of "
                   "JSON, which alone are then on standard error, or not "
                   "(none)")
      ->check(CLI::IsMember({"auto", "json", "none"}));
  command->callback([arguments] { run_convert(*arguments); });
}

}  // namespace llamlx
