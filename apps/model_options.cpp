#include "model_options.h"

#include <charconv>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <utility>

#include "base/concat.h"
#include "base/human_size.h"
#include "base/mapped_file.h"
#include "terminal.h"

namespace llamlx {
namespace {

ComputeType compute_type(const std::string& name) {
  if (name == "float32") return ComputeType::float32;
  if (name == "float16") return ComputeType::float16;
  if (name == "bfloat16") return ComputeType::bfloat16;
  return ComputeType::automatic;
}

Device device_of(const std::string& name) {
  if (name == "cpu") return Device::cpu;
  if (name == "gpu") return Device::gpu;
  return Device::automatic;
}

void announce(const ModelArguments& arguments, const ModelInfo& info) {
  print_note(concat("[INFO] Loaded ", printable(arguments.model_path), ": ",
                    info.model_type, ", ", human_count(info.parameters),
                    " parameters, quantization: ", info.quantization));
  print_note(concat("[INFO] Computing in ", info.dtype, " on the ", info.device,
                    " with ", info.kernels, " kernels",
                    info.kv_bits == 0
                        ? ""
                        : ", keys and values in 8 bits (a token by several)"));
}

/// The bar goes away with the load: notes follow it.
Model load_with_progress(const std::string& path, LoadOptions options) {
  ProgressBar bar("Loading");
  options.on_progress = [&](const Progress& progress) {
    bar.update(progress.done_bytes, progress.total_bytes);
  };
  return Model::load(path, options);
}

}  // namespace

void add_model_options(CLI::App& command, ModelArguments& arguments) {
  command
      .add_option("--model-path,--model", arguments.model_path,
                  "Folder of a model, or a GGUF file")
      ->type_name("PATH");
  add_compute_options(command, arguments);
  add_threads_option(command, arguments);
}

void add_compute_options(CLI::App& command, ModelArguments& arguments) {
  command
      .add_option("--dtype", arguments.dtype,
                  "Compute type (default: the model's own; sums are float32 in "
                  "any case)")
      ->check(CLI::IsMember({"float16", "bfloat16", "float32"}));
  command
      .add_option("--device", arguments.device,
                  "Where to compute (default: the GPU when there is one)")
      ->check(CLI::IsMember({"cpu", "gpu"}));
  command
      .add_option("--kv-bits", arguments.kv_bits,
                  "Keep keys and values in 8 bits, on NVIDIA's GPUs: half the "
                  "memory a token of context (default: in the compute type)")
      ->default_str("")
      ->check(CLI::IsMember({8}));
}

void add_threads_option(CLI::App& command, ModelArguments& arguments) {
  command
      .add_option("--threads,-t", arguments.threads,
                  "Threads that compute on the CPU (default: all processors "
                  "this program may use)")
      ->check(CLI::Range(1, 1024));
}

LoadOptions load_options(const ModelArguments& arguments) {
  return {.device = device_of(arguments.device),
          .dtype = compute_type(arguments.dtype),
          .threads = arguments.threads,
          .kv_bits = arguments.kv_bits};
}

Model load_model(const ModelArguments& arguments, bool quiet,
                 std::int64_t expected_tokens) {
  auto options = load_options(arguments);
  options.expected_tokens = expected_tokens;
  auto model = load_with_progress(arguments.model_path, std::move(options));
  for (const auto& notice : model.notices()) {
    print_note(concat("[NOTE] ", printable(notice)));
  }
  if (!quiet) announce(arguments, model.info());
  return model;
}

std::vector<std::int32_t> parse_ids(const std::string& list) {
  return parse_list(list, "token ids");
}

std::vector<std::int32_t> parse_list(const std::string& list,
                                     std::string_view what) {
  std::vector<std::int32_t> ids;
  const char* at = list.data();
  const char* const end = at + list.size();
  while (true) {
    std::int32_t id = 0;
    const auto parsed = std::from_chars(at, end, id);
    const bool ends = parsed.ptr == end;
    if (parsed.ec != std::errc() || (!ends && *parsed.ptr != ',')) {
      throw std::invalid_argument(
          concat(what, " are whole numbers with commas between (1,5,9), got \"",
                 list, '"'));
    }
    ids.push_back(id);
    if (ends) return ids;
    at = parsed.ptr + 1;
  }
}

std::string read_text(const std::string& path) {
  if (path != "-") return std::string(MappedFile(path).text());
  return {std::istreambuf_iterator<char>(std::cin), {}};
}

}  // namespace llamlx
