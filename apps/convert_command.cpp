#include <chrono>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/concat.h"
#include "base/human_size.h"
#include "base/system_memory.h"
#include "checkpoint/checkpoint.h"
#include "commands.h"
#include "convert/conversion_plan.h"
#include "convert/convert.h"
#include "interrupt.h"
#include "json_output.h"
#include "terminal.h"

namespace llamlx {
namespace {

constexpr const char* kExamples =
    R"(  llamlx convert SmolLM2-135M-Instruct.Q4_1.gguf smollm2
      a GGUF file, its quantised weights kept as they are
  llamlx convert Llama-3.2-1B-Instruct llama-4bit -q
      a Hugging Face folder, quantised to 4 bits in groups of 64
  llamlx convert model.gguf model-bf16 --dtype bfloat16
      expanded to 16 bits
  llamlx convert --torch-path tiny_llama --mlx-path mlx_model -q --q-bits 8

The result is a folder that "llamlx generate" and mlx_lm load. It is written
beside DEST and takes its name when it is complete; a model that stood there is
replaced. Copying a model needs memory for its largest tensor only.)";

struct ConvertArguments {
  std::string source;
  std::string torch_path;
  std::string destination;
  std::string mlx_path;
  ConvertOptions options;
  bool json = false;
};

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

void announce(const std::string& source, const std::string& destination,
              const ConvertOptions& options) {
  print_note(concat("[INFO] Loading ", printable(source)));
  if (options.quantize) {
    print_note(concat("[INFO] Quantizing to ", options.bits,
                      " bits in groups of ", options.group_size));
  }
  if (!options.dtype.empty()) {
    print_note(concat("[INFO] Using dtype ", options.dtype));
  }
  print_note(concat("[INFO] Saving ", printable(destination)));
}

/// Announces itself when all checks are passed: a refusal is a line of its own.
ConvertResult convert_with_bar(const Checkpoint& checkpoint,
                               const std::string& source,
                               const std::string& destination,
                               const ConvertOptions& options) {
  const InterruptGuard guard;
  ProgressBar bar("Saving");
  return convert_checkpoint(
      checkpoint, destination, options, [&](const ConvertProgress& progress) {
        if (progress.done_bytes == 0) announce(source, destination, options);
        guard.check();
        bar.update(progress.done_bytes, progress.total_bytes);
      });
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
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const auto source =
      either(arguments.source, arguments.torch_path, "SOURCE", nullptr);
  const auto destination =
      either(arguments.destination, arguments.mlx_path, "DEST", "mlx_model");
  check_options(arguments.options);
  const auto checkpoint = Checkpoint::open(source);
  const auto result =
      convert_with_bar(*checkpoint, source, destination, arguments.options);
  for (const auto& notice : result.notices) {
    print_note(concat("[NOTE] ", printable(notice)));
  }
  const auto seconds =
      std::chrono::duration<double>(Clock::now() - start).count();
  if (arguments.json) {
    report_json(source, destination, result, seconds);
  } else {
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
  command->add_option("SOURCE", arguments->source,
                      "GGUF file, or folder of safetensors");
  command->add_option("DEST", arguments->destination,
                      "Folder to write (default: mlx_model)");
  command->add_option("--torch-path,--hf-path", arguments->torch_path,
                      "SOURCE, in the spellings of other tools");
  command->add_option("--mlx-path", arguments->mlx_path,
                      "DEST, in the spelling of other tools");
  auto* quantize = command->add_flag("-q,--quantize", options.quantize,
                                     "Quantise linear layers and embeddings");
  command
      ->add_option("--q-group-size", options.group_size,
                   "Weights that share a scale: 32, 64 or 128")
      ->check(CLI::IsMember({32, 64, 128}))
      ->needs(quantize);
  command
      ->add_option("--q-bits", options.bits,
                   "Bits a weight: 2, 3, 4, 5, 6 or 8")
      ->check(CLI::IsMember({2, 3, 4, 5, 6, 8}))
      ->needs(quantize);
  command
      ->add_option("--dtype", options.dtype,
                   "Type of dense values (default: SOURCE's)")
      ->check(CLI::IsMember({"float16", "bfloat16", "float32"}));
  command->add_flag("--json", arguments->json,
                    "Report on standard output as JSON");
  command->callback([arguments] { run_convert(*arguments); });
}

}  // namespace llamlx
