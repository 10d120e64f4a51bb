#include "generate/loaded_model.h"

#include <algorithm>
#include <map>

#include "base/concat.h"
#include "base/error.h"
#include "base/human_size.h"
#include "base/mapped_file.h"
#include "base/system_memory.h"
#include "cuda/device.h"
#include "kernels/cuda/cuda_shapes.h"

namespace llamlx {
namespace {

/// The quantisation that most elements are stored in, or "none".
std::string main_quantization(const Checkpoint& checkpoint) {
  std::map<std::string, std::int64_t> elements;
  for (const auto& info : checkpoint.weights()) {
    const auto kind =
        info.quantization ? to_string(*info.quantization) : "none";
    elements[kind] += element_count(info.shape);
  }
  const auto by_count = [](const auto& a, const auto& b) {
    return a.second < b.second;
  };
  return std::ranges::max_element(elements, by_count)->first;
}

std::int64_t count_parameters(const ModelConfig& config) {
  std::int64_t count = 0;
  for (const auto& spec : tensor_specs(config)) {
    count += element_count(spec.shape);
  }
  return count;
}

ModelInfo describe(const Checkpoint& checkpoint, const Decoder& decoder,
                   const Tokenizer* tokenizer, mx::Dtype dtype,
                   Processor processor) {
  const auto& config = decoder.config();
  ModelInfo info;
  info.model_type = config.model_type;
  info.format = checkpoint.format();
  info.quantization = main_quantization(checkpoint);
  info.dtype = to_string(dtype);
  info.device = device_name(processor);
  info.kernels = decoder.kernels();
  info.parameters = count_parameters(config);
  info.weight_bytes = static_cast<std::int64_t>(decoder.weights().nbytes);
  info.context_length = config.context_length();
  info.vocab_size = config.vocab_size;
  if (tokenizer != nullptr) info.bos_id = tokenizer->bos_id();
  info.eos_ids = eos_token_ids(checkpoint, tokenizer);
  info.weight_files = checkpoint.weight_files();
  return info;
}

std::vector<std::string> collect_notices(const Checkpoint& checkpoint,
                                         const ModelConfig& config) {
  auto notices = checkpoint.notices();
  if (config.tie_word_embeddings && checkpoint.find("lm_head.weight")) {
    notices.push_back(
        "lm_head.weight is not used: the config ties it to the embeddings");
  }
  return notices;
}

/// The type the model's values are stored in: the final norm's, say, is never
/// quantised, but may have been kept wider; the embedding's is what counts.
mx::Dtype stored_dtype(const Checkpoint& checkpoint) {
  const auto* embeddings = checkpoint.find("model.embed_tokens.weight");
  return embeddings != nullptr ? embeddings->dtype : mx::float32;
}

bool has_mlx_gpu() { return mx::is_available(mx::Device(mx::Device::gpu)); }

CudaShapes cuda_shapes(const ModelConfig& config) {
  CudaShapes shapes{config.head_dim};
  if (config.has_experts()) shapes.num_experts = config.moe.num_experts;
  for (const auto& spec : tensor_specs(config)) {
    if (spec.shape.size() > 1) shapes.columns.push_back(spec.shape.back());
  }
  return shapes;
}

/// Refuses weights that this machine cannot hold, before the system ends the
/// program for it.
void check_memory(const Checkpoint& checkpoint, const Backend& backend,
                  mx::Dtype dtype) {
  std::uint64_t needed = 0;
  for (const auto& info : checkpoint.weights()) {
    needed += stored_bytes(info.shape, backend.held(info.format(), dtype));
  }
  const auto total = system_memory().total_bytes;
  if (total == 0 || needed <= total) return;
  fail(ErrorCode::out_of_memory, checkpoint.path().string(),
       concat("its weights take ", human_size(needed), " in ", to_string(dtype),
              ", and this machine has ", human_size(total)),
       "quantise the model (llamlx convert -q) or compute in bfloat16 "
       "(--dtype)");
}

/// Adds up the bytes of what is loaded, and tells.
OnLoaded progress_of(const Checkpoint& checkpoint, const ProgressFn& tell) {
  if (!tell) return {};
  Progress progress;
  for (const auto& info : checkpoint.weights()) {
    progress.total_bytes += stored_bytes(info.shape, info.format());
  }
  return [progress, &tell](const WeightInfo& info) mutable {
    progress.tensor = info.name;
    progress.done_bytes += stored_bytes(info.shape, info.format());
    tell(progress);
  };
}

}  // namespace

LoadedModel load_model(const std::filesystem::path& path,
                       const LoadOptions& options) {
  const auto checkpoint = Checkpoint::open(path);
  const auto [processor, notice] =
      resolve_processor(options.device, read_model_config(*checkpoint));
  const DeviceScope scope(array_device(processor));
  const auto dtype = resolve_dtype(options.dtype, stored_dtype(*checkpoint));
  const auto backend =
      resolve_backend(processor, dtype, options.threads, options.kv_bits);
  if (processor == Processor::cpu) check_memory(*checkpoint, backend, dtype);
  auto tokenizer = load_tokenizer(*checkpoint);
  auto decoder =
      Decoder::load(*checkpoint, dtype, backend, options.expected_tokens,
                    progress_of(*checkpoint, options.on_progress));
  auto info = describe(*checkpoint, decoder, tokenizer.get(), dtype, processor);
  info.kv_bits = options.kv_bits;
  auto notices = collect_notices(*checkpoint, decoder.config());
  if (notice) notices.push_back(*notice);
  return {std::move(decoder), std::move(tokenizer), processor, std::move(info),
          std::move(notices)};
}

std::unique_ptr<Tokenizer> load_tokenizer(const Checkpoint& checkpoint) {
  const auto files = checkpoint.side_files();
  const auto& place = checkpoint.path();
  const bool are_beside = std::ranges::all_of(files, [&](const auto& file) {
    return file.source == place / file.name;
  });
  if (are_beside) return Tokenizer::load(place);
  std::map<std::string, std::string> contents;
  for (const auto& file : files) {
    contents.emplace(file.name,
                     file.source.empty()
                         ? file.content
                         : std::string(MappedFile(file.source).text()));
  }
  return Tokenizer::load({checkpoint.path(), std::move(contents)});
}

const char* device_name(Processor processor) {
  return processor == Processor::cpu ? "cpu" : "gpu";
}

mx::Device array_device(Processor processor) {
  return processor == Processor::mlx ? mx::Device::gpu : mx::Device::cpu;
}

Processor resolve_processor(Device device) {
  if (device == Device::cpu) return Processor::cpu;
  if (cuda_device_info()) return Processor::cuda;
  if (has_mlx_gpu()) return Processor::mlx;
  if (device == Device::automatic) return Processor::cpu;
  fail(ErrorCode::no_device, "device gpu", cuda_absence(),
       "use the CPU (--device cpu)");
}

ProcessorChoice resolve_processor(Device device, const ModelConfig& config) {
  const auto processor = resolve_processor(device);
  if (processor != Processor::cuda || device == Device::gpu) return {processor};
  const auto objection = cuda_objection(cuda_shapes(config));
  if (objection.empty()) return {processor};
  return {has_mlx_gpu() ? Processor::mlx : Processor::cpu,
          concat(cuda_device_info()->name, " is not used: ", objection)};
}

mx::Dtype resolve_dtype(ComputeType type, mx::Dtype stored) {
  switch (type) {
    case ComputeType::float32:
      return mx::float32;
    case ComputeType::float16:
      return mx::float16;
    case ComputeType::bfloat16:
      return mx::bfloat16;
    case ComputeType::automatic:
      break;
  }
  return stored;
}

Backend resolve_backend(Processor processor, mx::Dtype dtype, int threads,
                        int kv_bits) {
  check_kv_bits(kv_bits);
  if (kv_bits != 0 && processor != Processor::cuda) {
    fail(ErrorCode::unsupported, concat("--kv-bits ", kv_bits),
         "keys and values are kept in 8 bits on NVIDIA's GPUs alone",
         "leave it out, or use such a GPU (--device gpu)");
  }
  switch (processor) {
    case Processor::cuda:
      return cuda_backend(dtype, kv_bits);
    case Processor::mlx:
      return mlx_backend();
    case Processor::cpu:
      break;
  }
  return cpu_backend(dtype, threads);
}

DeviceScope::DeviceScope(mx::Device device) : before_(mx::default_device()) {
  mx::set_default_device(device);
}

DeviceScope::~DeviceScope() { mx::set_default_device(before_); }

}  // namespace llamlx
