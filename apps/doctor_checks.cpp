#include "doctor_checks.h"

#include <cmath>
#include <exception>
#include <filesystem>
#include <system_error>
#include <utility>

#include <mlx/device.h>
#include <mlx/ops.h>
#include <mlx/version.h>

#include "base/concat.h"
#include "base/cpu_count.h"
#include "base/cpu_features.h"
#include "base/disk_space.h"
#include "base/human_size.h"
#include "base/platform.h"
#include "base/system_memory.h"
#include "cuda/device.h"
#include "cuda/modules.h"
#include "kernels/cuda/cuda_kernels.h"
#include "llamlx/llamlx.h"
#include "model_facts.h"
#include "terminal.h"

namespace llamlx {
namespace {

namespace fs = std::filesystem;

// Below these, everyday work with small models already gets stuck.
constexpr std::uint64_t kLittleMemory = 1'000'000'000;
constexpr std::uint64_t kLittleDisk = 1'000'000'000;

Check check_program() {
  const auto architecture = program_architecture();
  const auto emulator = cpu_emulator();
  if (emulator.empty()) {
    return {"program", CheckStatus::ok, concat(architecture, ", native")};
  }
  if (emulator == "Rosetta") {
    return {"program", CheckStatus::problem,
            concat("built for ", architecture, ", translated by Rosetta"),
            "build llamlx in a terminal that runs natively (uname -m says "
            "arm64)"};
  }
  return {"program", CheckStatus::warning,
          concat(architecture, " emulated by ", emulator, ": very slow"),
          "use a machine, or an image, of the host's own architecture"};
}

Check check_instruction_sets() {
  std::string names;
  for (const auto name : cpu_features().names()) {
    names += concat(names.empty() ? "" : " ", name);
  }
  const bool is_old = program_architecture() == "x86_64" &&
                      !cpu_features().has(CpuFeature::avx2);
  if (is_old) {
    return {"instructions", CheckStatus::warning,
            concat(names, " (no avx2): slow"),
            "use a machine whose processor has AVX2 (most since 2014)"};
  }
  return {"instructions", CheckStatus::ok,
          names.empty() ? "none beyond the base" : names};
}

Check check_cores() {
  const auto count = cpu_count();
  auto finding = concat(count.usable, " of ", count.online, " processors");
  if (count.allowed < count.online) {
    finding += concat(", affinity allows ", count.allowed);
  }
  if (count.quota > 0) finding += concat(", quota ", count.quota);
  const bool is_starved = count.usable == 1 && count.online > 1;
  if (!is_starved) return {"cores", CheckStatus::ok, finding};
  return {"cores", CheckStatus::warning, finding,
          "allow more processors (taskset, container limits)"};
}

Check check_memory() {
  const auto memory = system_memory();
  auto finding = concat(human_size(memory.available_bytes), " available of ",
                        human_size(memory.total_bytes));
  if (memory.available_bytes >= kLittleMemory) {
    return {"memory", CheckStatus::ok, finding};
  }
  return {"memory", CheckStatus::warning, finding,
          "close other programs, or raise the container's limit"};
}

/// Adds two numbers, as an installation that is damaged cannot.
Check check_mlx() {
  const auto running = std::string(mx::version());
  const auto built =
      concat(MLX_VERSION_MAJOR, '.', MLX_VERSION_MINOR, '.', MLX_VERSION_PATCH);
  if (running != built) {
    return {"mlx", CheckStatus::problem,
            concat("version ", running, ", but llamlx was built for ", built),
            "install that version of MLX, or build llamlx again"};
  }
  try {
    const auto sum = mx::add(mx::array(2.0f), mx::array(3.0f));
    if (mx::array(sum).item<float>() == 5.0f) {
      return {"mlx", CheckStatus::ok, concat("version ", running)};
    }
  } catch (const std::exception& error) {
    return {"mlx", CheckStatus::problem,
            concat("version ", running, " cannot compute: ", error.what()),
            "install MLX again; on a GPU check its driver"};
  }
  return {"mlx", CheckStatus::problem,
          concat("version ", running, " computes 2 + 3 wrongly"),
          "install MLX again"};
}

std::string device_name(const mx::Device& device) {
  const auto& facts = mx::device_info(device);
  const auto name = facts.find("device_name");
  if (name == facts.end()) return {};
  const auto* text = std::get_if<std::string>(&name->second);
  return text == nullptr || text->empty() ? "" : concat(", ", *text);
}

/// The GPU that our own kernels run on.
std::string describe(const CudaDeviceInfo& gpu) {
  return concat("gpu, ", gpu.name, ", compute capability ",
                gpu.compute_capability / 10, ".", gpu.compute_capability % 10,
                ", ", gpu.multiprocessors, " multiprocessors, ",
                human_size(gpu.free_bytes), " of ",
                human_size(gpu.memory_bytes), " free, by our CUDA kernels");
}

Check check_device() {
  if (const auto ours = cuda_device_info()) {
    return {"device", CheckStatus::ok, describe(*ours)};
  }
  const mx::Device gpu(mx::Device::gpu);
  if (mx::is_available(gpu)) {
    return {"device", CheckStatus::ok, concat("gpu", device_name(gpu))};
  }
  std::error_code error;
  if (fs::exists("/dev/nvidia0", error)) {
    return {"device", CheckStatus::warning,
            concat("cpu, though there is an NVIDIA GPU: ", cuda_absence()),
            cuda_modules().empty() ? "run tools/setup --cuda and build again"
                                   : "update NVIDIA's driver"};
  }
#if defined(__APPLE__)
  return {"device", CheckStatus::warning,
          "cpu: this MLX is built without Metal",
          "build llamlx against MLX's package for macOS"};
#else
  return {"device", CheckStatus::ok, "cpu"};
#endif
}

Check check_disk() {
  const auto free = free_disk_bytes(".");
  if (!free) return {"disk", CheckStatus::ok, "the system does not say"};
  const auto finding = concat(human_size(*free), " free in this folder");
  if (*free >= kLittleDisk) return {"disk", CheckStatus::ok, finding};
  return {"disk", CheckStatus::warning, finding,
          "free some space before converting models"};
}

Check check_terminal() {
  if (is_utf8_locale()) return {"terminal", CheckStatus::ok, "UTF-8"};
  return {"terminal", CheckStatus::warning,
          "the locale is not UTF-8: texts beyond English may look broken",
          "export LC_ALL=C.UTF-8"};
}

/// The memory that a model has to fit, and what of it is free.
std::pair<std::uint64_t, std::uint64_t> memory_of(const RunFacts& run) {
  if (run.gpu) return {run.gpu->memory_bytes, run.gpu->free_bytes};
  const auto memory = system_memory();
  return {memory.total_bytes, memory.available_bytes};
}

Check check_tokenizer(const ModelFacts& facts) {
  if (facts.tokenizer_vocab_size > 0) {
    return {"tokenizer", CheckStatus::ok, facts.tokenizer};
  }
  return {"tokenizer", CheckStatus::warning,
          concat(facts.tokenizer, ": only token ids can be generated from"),
          "put tokenizer.json or tokenizer.model into the model's folder"};
}

}  // namespace

std::string_view to_string(CheckStatus status) {
  switch (status) {
    case CheckStatus::ok:
      return "ok";
    case CheckStatus::warning:
      return "warning";
    case CheckStatus::problem:
      return "problem";
  }
  return "";
}

Check problem_of(const std::string& name, const Error& error) {
  // The message ends with its remedy.
  const std::string message = error.what();
  const auto cut = message.rfind("; ");
  return {name, CheckStatus::problem, message.substr(0, cut),
          cut == std::string::npos ? "" : message.substr(cut + 2)};
}

std::vector<Check> check_machine() {
  std::vector<Check> checks = {{"system", CheckStatus::ok, os_name()},
                               check_program(),
                               {"processor", CheckStatus::ok, cpu_name()},
                               check_instruction_sets(),
                               check_cores(),
                               check_memory(),
                               check_mlx(),
                               check_device()};
  if (const auto gpu = cuda_device_info()) {
    checks.push_back({"gpu kernels", CheckStatus::ok,
                      to_string(cuda_kernel_choice(*gpu, mx::bfloat16))});
  }
  checks.push_back(check_disk());
  checks.push_back(check_terminal());
  return checks;
}

std::vector<Check> check_model(const fs::path& path) {
  std::vector<Check> checks;
  try {
    const auto facts = read_model_facts(path);
    checks.push_back({"model", CheckStatus::ok,
                      concat(facts.config.model_type, " in ", facts.format,
                             ", ", human_size(facts.disk_bytes), ", ",
                             storage_line(facts.storage))});
    for (const auto& notice : facts.notices) {
      checks.push_back({"model", CheckStatus::warning, notice});
    }
    checks.push_back(check_tokenizer(facts));
    const auto [total, available] = memory_of(facts.run);
    checks.push_back(
        check_fit(facts.run.weight_bytes, facts.run.cache_token_bytes,
                  facts.config.context_length(), total, available));
  } catch (const Error& error) {
    checks.push_back(problem_of("model", error));
  }
  return checks;
}

Check check_fit(std::uint64_t weight_bytes, std::uint64_t cache_token_bytes,
                int context, std::uint64_t total_memory,
                std::uint64_t available_memory) {
  // What the program, MLX and the activations of a prompt take besides.
  constexpr std::uint64_t kOverhead = 200'000'000;
  const auto needed = weight_bytes + kOverhead;
  const auto whole =
      needed + cache_token_bytes * static_cast<std::uint64_t>(context);
  const auto finding = [&](std::uint64_t bytes, const char* what) {
    return concat(human_size(bytes), " needed", what, ", ",
                  human_size(available_memory), " available of ",
                  human_size(total_memory));
  };
  if (needed > total_memory) {
    return {"fit", CheckStatus::problem, finding(needed, ""),
            "quantise the model to fewer bits (llamlx convert -q), or use "
            "a machine with more memory"};
  }
  if (needed > available_memory) {
    return {"fit", CheckStatus::warning, finding(needed, ""),
            "close other programs, or quantise the model to fewer bits "
            "(llamlx convert -q)"};
  }
  if (whole > available_memory) {
    return {
        "fit", CheckStatus::warning,
        finding(
            whole,
            concat(" with its whole context of ", context, " tokens").c_str()),
        "shorter texts fit"};
  }
  return {"fit", CheckStatus::ok, finding(needed, "")};
}

}  // namespace llamlx
