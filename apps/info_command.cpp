#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>

#include "base/concat.h"
#include "base/human_size.h"
#include "commands.h"
#include "json_output.h"
#include "kernel_facts.h"
#include "model_facts.h"
#include "terminal.h"

namespace llamlx {
namespace {

constexpr const char* kExamples =
    R"(  llamlx info mlx_model
  llamlx info SmolLM2-135M-Instruct.Q4_1.gguf
  llamlx info mlx_model --json

Nothing but headers is read, so this is quick for models of any size.)";

struct InfoArguments {
  std::string model = "mlx_model";
  bool json = false;
};

Json to_json(const StorageKind& kind) {
  Json json = {{"dtype", to_string(kind.dtype)},
               {"modules", kind.modules},
               {"parameters", kind.parameters},
               {"mode", nullptr},
               {"bits", nullptr},
               {"group_size", nullptr}};
  if (const auto& quantization = kind.quantization) {
    json["mode"] = to_string(quantization->mode);
    json["bits"] = quantization->bits;
    json["group_size"] = quantization->group_size;
  }
  return json;
}

/// Of the kernels that multiply, one; null where there is none of ours.
Json kernel_name(const ModelFacts& facts,
                 const MatmulKernel* ServingKernels::*which,
                 std::string CudaKernelChoice::*on_gpu) {
  if (const auto& choice = facts.run.gpu_products) return (*choice).*on_gpu;
  const auto& products = facts.run.products;
  const auto* kernel = products ? (*products).*which : nullptr;
  return kernel == nullptr ? Json() : Json(kernel->name);
}

Json to_json(const ModelFacts& facts) {
  const auto& c = facts.config;
  const auto& gpu = facts.run.gpu;
  Json storage = Json::array();
  for (const auto& kind : facts.storage) storage.push_back(to_json(kind));
  return {{"path", facts.path},
          {"format", facts.format},
          {"model_type", c.model_type},
          {"parameters", facts.parameters},
          {"active_parameters", facts.active_parameters},
          {"disk_bytes", facts.disk_bytes},
          {"weight_bytes", facts.weight_bytes},
          {"bits_per_weight", bits_per_weight(facts)},
          {"quantization", storage_line(facts.storage)},
          {"storage", storage},
          {"num_hidden_layers", c.num_hidden_layers},
          {"hidden_size", c.hidden_size},
          {"intermediate_size", c.intermediate_size},
          {"num_experts", c.moe.num_experts},
          {"num_experts_per_tok", c.moe.num_experts_per_tok},
          {"moe_intermediate_size", c.moe.intermediate_size},
          {"num_attention_heads", c.num_attention_heads},
          {"num_key_value_heads", c.num_key_value_heads},
          {"head_dim", c.head_dim},
          {"vocab_size", c.vocab_size},
          {"rope_type", to_string(c.rope.scaling)},
          {"rope_theta", c.rope.theta},
          {"sliding_window", *std::ranges::max_element(c.layer_windows)},
          {"context_length", c.context_length()},
          {"tie_word_embeddings", c.tie_word_embeddings},
          {"tokenizer", facts.tokenizer},
          {"tokenizer_vocab_size", facts.tokenizer_vocab_size},
          {"device", facts.run.device},
          {"dtype", facts.run.dtype},
          {"kernels", facts.run.kernels},
          {"few_rows_kernel", kernel_name(facts, &ServingKernels::one_row,
                                          &CudaKernelChoice::few_rows)},
          {"many_rows_kernel", kernel_name(facts, &ServingKernels::many_rows,
                                           &CudaKernelChoice::many_rows)},
          {"device_name", gpu ? Json(gpu->name) : Json()},
          {"device_memory_bytes", gpu ? Json(gpu->memory_bytes) : Json()},
          {"memory_bytes", facts.run.weight_bytes},
          {"cache_token_bytes", facts.run.cache_token_bytes},
          {"notices", facts.notices}};
}

std::string row(std::string_view label, std::string_view value) {
  constexpr std::size_t kLabelWidth = 14;
  std::string padded(label);
  padded.resize(kLabelWidth, ' ');
  return concat(coloured(Colour::dim, padded), printable(value), '\n');
}

std::string heads(const ModelConfig& c) {
  return concat(c.num_attention_heads, " of width ", c.head_dim, ", over ",
                c.num_key_value_heads, " key/value heads");
}

/// "128 of width 768 in 48 of 48 layers, a token goes to 8".
std::string experts(const ModelConfig& c) {
  const auto& [layers, module, count, used, width, is_normalised] = c.moe;
  return concat(count, " of width ", width, " in ",
                std::ranges::count(layers, true), " of ", layers.size(),
                " layers, a token goes to ", used);
}

/// "theta 1000000, yarn scaling by 4".
std::string positions(const RopeConfig& rope) {
  auto text = concat("rotary, theta ", rope.theta);
  if (rope.scaling != RopeConfig::Scaling::none) {
    text += concat(", ", to_string(rope.scaling), " scaling by ", rope.factor);
  }
  return text;
}

/// "all positions", or how far back the layers see whose view is limited.
std::string attention(const ModelConfig& c) {
  const auto& windows = c.layer_windows;
  const int window = *std::ranges::max_element(windows);
  if (window == 0) return "to all positions";
  const auto sliding = windows.size() - std::ranges::count(windows, 0);
  return concat("to the last ", window, " positions in ", sliding, " of ",
                windows.size(), " layers");
}

void print_facts(const ModelFacts& facts) {
  const auto& c = facts.config;
  char bits[32];
  std::snprintf(bits, sizeof(bits), "%.3g", bits_per_weight(facts));
  const auto context = c.context_length();
  const auto vocabulary = facts.tokenizer_vocab_size;
  std::string text;
  text += row("model", facts.path);
  text += row("format", facts.format);
  text += row("type", c.model_type);
  auto parameters = human_count(facts.parameters);
  if (facts.active_parameters != facts.parameters) {
    parameters +=
        concat(", ", human_count(facts.active_parameters), " of them a token");
  }
  text += row("parameters", parameters);
  text += row("on disk", concat(human_size(facts.disk_bytes), ", ", bits,
                                " bits per weight"));
  text += row("weights", storage_line(facts.storage));
  text += row("layers", concat(c.num_hidden_layers, " of width ", c.hidden_size,
                               ", MLP ", c.intermediate_size));
  if (c.moe.num_experts > 0) text += row("experts", experts(c));
  text += row("heads", heads(c));
  text += row("attention", attention(c));
  text += row("positions", positions(c.rope));
  text += row("vocabulary",
              concat(c.vocab_size, c.tie_word_embeddings
                                       ? ", embeddings tied to the output"
                                       : ", output of its own"));
  text += row("context", context > 0 ? concat(context, " tokens")
                                     : std::string("not said"));
  text += row("tokenizer", vocabulary > 0 ? concat(facts.tokenizer, ", ",
                                                   vocabulary, " tokens")
                                          : facts.tokenizer);
  text += row("runs here",
              concat("on the ", facts.run.device, " in ", facts.run.dtype,
                     ", kernels: ", facts.run.kernels));
  if (const auto& gpu = facts.run.gpu) {
    text +=
        row("device", concat(gpu->name, ", ", human_size(gpu->free_bytes),
                             " of ", human_size(gpu->memory_bytes), " free"));
  }
  if (facts.run.products) {
    text += row("products", to_string(*facts.run.products));
  }
  if (facts.run.gpu_products) {
    text += row("products", to_string(*facts.run.gpu_products));
  }
  text += row("in memory", concat(human_size(facts.run.weight_bytes), ", and ",
                                  human_size(facts.run.cache_token_bytes),
                                  " a token of context"));
  for (const auto& notice : facts.notices) text += row("note", notice);
  print(text);
}

void run_info(const InfoArguments& arguments) {
  const auto facts = read_model_facts(arguments.model);
  if (arguments.json) {
    print_json(to_json(facts));
  } else {
    print_facts(facts);
  }
}

}  // namespace

void add_info(CLI::App& app) {
  auto* command = add_command(
      app, "info", "Say what a model is, and how it would run here", kExamples);
  const auto arguments = std::make_shared<InfoArguments>();
  command
      ->add_option("MODEL,--model-path,--model", arguments->model,
                   "Folder of a model, or a GGUF file")
      ->type_name("PATH");
  command->add_flag("--json", arguments->json,
                    "Report on standard output as JSON");
  command->callback([arguments] { run_info(*arguments); });
}

}  // namespace llamlx
