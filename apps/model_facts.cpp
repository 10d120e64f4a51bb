#include "model_facts.h"

#include <algorithm>
#include <map>
#include <memory>
#include <system_error>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "checkpoint/checkpoint.h"
#include "generate/loaded_model.h"
#include "kernels/cpu/cpu_model.h"
#include "models/decoder.h"
#include "models/tensor_spec.h"
#include "tokenizer/tiktoken_file.h"

namespace llamlx {
namespace {

namespace fs = std::filesystem;

std::string module_kind(const std::string& name) {
  if (name == "model.embed_tokens.weight") return "embeddings";
  if (name == "lm_head.weight") return "lm_head";
  if (name.find("norm.") != std::string::npos) return "norms";
  if (name.ends_with(".bias")) return "biases";
  if (name.ends_with(".gate.weight")) return "routers";
  if (name.find(".switch_mlp.") != std::string::npos) return "experts";
  return "linear layers";
}

/// The parameters the model uses, in groups that are stored alike.
std::vector<StorageKind> storage_of(const Checkpoint& checkpoint,
                                    const ModelConfig& config) {
  std::vector<StorageKind> kinds;
  for (const auto& spec : tensor_specs(config)) {
    const auto& info = *checkpoint.find(spec.name);
    const auto alike = [&](const StorageKind& kind) {
      return kind.quantization == info.quantization && kind.dtype == info.dtype;
    };
    auto kind = std::ranges::find_if(kinds, alike);
    if (kind == kinds.end()) {
      kind = kinds.insert(kind, {info.quantization, info.dtype, {}, 0});
    }
    kind->modules.insert(module_kind(spec.name));
    kind->parameters += element_count(info.shape);
  }
  std::ranges::stable_sort(kinds, std::ranges::greater{},
                           &StorageKind::parameters);
  return kinds;
}

/// The parameters that a token is computed with.
std::int64_t active_parameters(const ModelConfig& config) {
  std::int64_t count = 0;
  for (const auto& spec : tensor_specs(config)) {
    const auto all = element_count(spec.shape);
    count += is_of_experts(spec)
                 ? all / config.moe.num_experts * config.moe.num_experts_per_tok
                 : all;
  }
  return count;
}

std::uint64_t bytes_on_disk(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return fs::file_size(path, error);
  std::uint64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    if (entry.is_regular_file(error)) bytes += entry.file_size(error);
  }
  return bytes;
}

/// "BPE (tokenizer.json)": which file, and what that file says it is.
std::string tokenizer_kind(const std::vector<SideFile>& files) {
  const auto find = [&](const char* name) {
    return std::ranges::find(files, name, &SideFile::name);
  };
  if (const auto file = find("tokenizer.json"); file != files.end()) {
    const auto json = file->content.empty()
                          ? read_json_file(file->source)
                          : parse_json_object(file->content, file->name);
    const auto type =
        json.value(Json::json_pointer("/model/type"), Json("unknown kind"));
    return concat(type.is_string() ? type.get<std::string>() : "unknown kind",
                  " (tokenizer.json)");
  }
  if (const auto file = find("tokenizer.model"); file != files.end()) {
    const bool text = file->content.empty()
                          ? is_tiktoken(MappedFile(file->source).text())
                          : is_tiktoken(file->content);
    return concat(text ? "tiktoken" : "SentencePiece", " (tokenizer.model)");
  }
  if (find("tekken.json") != files.end()) return "BPE (tekken.json)";
  const auto versioned = std::ranges::find_if(files, [](const auto& file) {
    return file.name.starts_with("tokenizer.model.v");
  });
  if (versioned == files.end()) return "none";
  return concat("SentencePiece (", versioned->name, ")");
}

/// A tokenizer that cannot be used does not keep the rest from being told:
/// models run on token ids without one.
void add_tokenizer(const Checkpoint& checkpoint, ModelFacts& facts) {
  try {
    facts.tokenizer = tokenizer_kind(checkpoint.side_files());
    if (const auto tokenizer = load_tokenizer(checkpoint)) {
      facts.tokenizer_vocab_size = tokenizer->vocab_size();
    }
  } catch (const Error& error) {
    facts.tokenizer = "not usable";
    facts.notices.push_back(error.what());
  }
}

/// What multiplies with weights stored as `kind`.
ServingKernels kernels_for(const StorageKind& kind, const Backend& backend,
                           mx::Dtype dtype, int cols) {
  const auto held = backend.held({kind.dtype, kind.quantization}, dtype);
  return serving_kernels(weight_format(held), cols, value_type(dtype));
}

RunFacts run_facts(const Checkpoint& checkpoint, const ModelConfig& config,
                   const StorageKind& main_storage, Processor processor) {
  const auto* embeddings = checkpoint.find("model.embed_tokens.weight");
  const auto dtype = resolve_dtype(ComputeType::automatic, embeddings->dtype);
  const auto backend = resolve_backend(processor, dtype, 0);
  RunFacts run;
  run.device = device_name(processor);
  run.dtype = to_string(dtype);
  run.kernels = backend.name;
  if (processor == Processor::cpu) {
    run.products =
        kernels_for(main_storage, backend, dtype, config.hidden_size);
  }
  if (processor == Processor::cuda) {
    run.gpu = cuda_device_info();
    run.gpu_products =
        cuda_kernel_choice(*run.gpu, dtype, config.has_experts());
  }
  for (const auto& spec : tensor_specs(config)) {
    const auto& info = *checkpoint.find(spec.name);
    run.weight_bytes +=
        stored_bytes(info.shape, backend.held(info.format(), dtype));
  }
  run.cache_token_bytes =
      std::uint64_t{2} * mx::size_of(dtype) *
      static_cast<std::uint64_t>(config.num_hidden_layers) *
      static_cast<std::uint64_t>(config.head_dim) *
      static_cast<std::uint64_t>(config.num_key_value_heads);
  return run;
}

}  // namespace

ModelFacts read_model_facts(const fs::path& path) {
  const auto checkpoint = Checkpoint::open(path);
  ModelFacts facts;
  facts.path = path.string();
  facts.format = checkpoint->format();
  facts.config = read_model_config(*checkpoint);
  verify_tensors(facts.config, *checkpoint);
  facts.notices = checkpoint->notices();
  facts.storage = storage_of(*checkpoint, facts.config);
  for (const auto& kind : facts.storage) facts.parameters += kind.parameters;
  facts.active_parameters = active_parameters(facts.config);
  for (const auto& info : checkpoint->weights()) {
    facts.weight_bytes += stored_bytes(info.shape, info.format());
  }
  facts.disk_bytes = bytes_on_disk(path);
  const auto [processor, notice] =
      resolve_processor(Device::automatic, facts.config);
  if (notice) facts.notices.push_back(*notice);
  facts.run =
      run_facts(*checkpoint, facts.config, facts.storage.front(), processor);
  add_tokenizer(*checkpoint, facts);
  return facts;
}

double bits_per_weight(const ModelFacts& facts) {
  return 8 * static_cast<double>(facts.weight_bytes) /
         static_cast<double>(facts.parameters);
}

std::string to_string(const StorageKind& kind) {
  return kind.quantization ? to_string(*kind.quantization)
                           : to_string(kind.dtype);
}

std::string storage_line(const std::vector<StorageKind>& storage) {
  if (storage.size() == 1) return to_string(storage.front());
  std::string line;
  for (const auto& kind : storage) {
    line += concat(line.empty() ? "" : "; ", to_string(kind), " (");
    for (const auto& module : kind.modules) {
      line += concat(module == *kind.modules.begin() ? "" : ", ", module);
    }
    line += ')';
  }
  return line;
}

}  // namespace llamlx
