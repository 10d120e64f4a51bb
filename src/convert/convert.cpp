#include "convert/convert.h"

#include <algorithm>
#include <cstdint>
#include <system_error>
#include <utility>
#include <vector>

#include <mlx/memory.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "base/concat.h"
#include "base/disk_space.h"
#include "base/error.h"
#include "base/files.h"
#include "base/human_size.h"
#include "convert/conversion_plan.h"
#include "formats/sharded_writer.h"
#include "models/model_config.h"

namespace llamlx {
namespace {

namespace fs = std::filesystem;

/// Keeps MLX from holding on to freed buffers, so that memory stays bounded by
/// one tensor.
class NoBufferCache {
 public:
  NoBufferCache() : before_(mx::set_cache_limit(0)) { mx::clear_cache(); }
  NoBufferCache(const NoBufferCache&) = delete;
  NoBufferCache& operator=(const NoBufferCache&) = delete;
  ~NoBufferCache() { mx::set_cache_limit(before_); }

 private:
  std::size_t before_;
};

/// Replacing the folder that is being read, or one around it, would destroy the
/// source; a destination inside the source's folder harms nothing.
void check_destination(const fs::path& source, const fs::path& destination) {
  std::error_code error;
  const auto from = fs::weakly_canonical(fs::absolute(source), error);
  const auto to = fs::weakly_canonical(fs::absolute(destination), error);
  if (error || from.empty() || to.empty()) return;
  // "a/b/" names the folder "a/b".
  const auto folder = to.has_filename() ? to : to.parent_path();
  const auto [end, rest] =
      std::mismatch(folder.begin(), folder.end(), from.begin(), from.end());
  if (end != folder.end()) return;
  const bool is_source = rest == from.end() || rest->empty();
  fail(ErrorCode::io_error, destination.string(),
       is_source ? "is the source itself" : "holds the source",
       "choose another destination");
}

std::uint64_t side_bytes(const std::vector<SideFile>& files) {
  std::uint64_t bytes = 0;
  for (const auto& file : files) {
    std::error_code error;
    const auto size = file.source.empty() ? file.content.size()
                                          : fs::file_size(file.source, error);
    if (!error) bytes += size;
  }
  return bytes;
}

void check_space(const fs::path& destination, std::uint64_t needed) {
  const auto free = free_disk_bytes(destination);
  if (!free || *free >= needed) return;
  fail(ErrorCode::no_space, destination.string(),
       concat("needs ", human_size(needed), " where ", human_size(*free),
              " are free"),
       "free some space or choose another disk");
}

/// True when a finite value of `weight` became infinite in `values`.
bool overflowed(const Weight& weight, const mx::array& values) {
  const auto infinite = mx::isinf(values);
  // Nearly always nothing is infinite, and the source need not be looked at.
  if (!mx::any(infinite).item<bool>()) return false;
  const auto finite = mx::isfinite(dequantize(weight, mx::float32));
  return mx::any(mx::logical_and(infinite, finite)).item<bool>();
}

/// The values of `weight` as `planned` wants them, before quantising.
mx::array values_of(const Weight& weight, const PlannedWeight& planned,
                    const fs::path& source) {
  auto values = dequantize(weight, planned.dtype);
  values.eval();
  if (planned.dtype == mx::float16 && overflowed(weight, values)) {
    fail(ErrorCode::unsupported, source.string(),
         concat("tensor ", planned.source.name,
                " has values too large for float16"),
         "use bfloat16 (--dtype bfloat16)");
  }
  return values;
}

Weight converted(const Checkpoint& checkpoint, const PlannedWeight& planned) {
  auto weight = checkpoint.load(planned.source);
  if (planned.is_kept) return weight;
  auto values = values_of(weight, planned, checkpoint.path());
  weight = planned.quantization ? quantize(values, *planned.quantization)
                                : Weight{std::move(values)};
  if (weight.scales) mx::eval(weight.data, *weight.scales, *weight.biases);
  return weight;
}

std::vector<PlannedTensor> all_tensors(const ConversionPlan& plan) {
  std::vector<PlannedTensor> tensors;
  for (const auto& weight : plan.weights) {
    std::ranges::move(planned_tensors(weight), std::back_inserter(tensors));
  }
  return tensors;
}

/// Appends the arrays of `weight` in the order of planned_tensors().
void append(ShardedWriter& writer, const PlannedWeight& planned,
            const Weight& weight) {
  const auto tensors = planned_tensors(planned);
  if (weight.quantization) {
    writer.append(tensors[0].name, *weight.biases);
    writer.append(tensors[1].name, *weight.scales);
  }
  writer.append(tensors.back().name, weight.data);
}

void write_weights(const Checkpoint& checkpoint, const ConversionPlan& plan,
                   const fs::path& folder,
                   const ConvertProgressFn& on_progress) {
  const NoBufferCache no_cache;
  ShardedWriter writer(folder, all_tensors(plan), plan.parameters);
  ConvertProgress progress = {{}, 0, plan.weight_bytes};
  const auto tell = [&](const PlannedWeight& weight) {
    progress.tensor = weight.source.name;
    if (on_progress) on_progress(progress);
  };
  tell(plan.weights.front());
  for (const auto& planned : plan.weights) {
    const auto weight = converted(checkpoint, planned);
    append(writer, planned, weight);
    progress.done_bytes += weight.nbytes();
    tell(planned);
  }
  writer.finish();
}

void write_side_files(const std::vector<SideFile>& files,
                      const fs::path& folder) {
  for (const auto& file : files) {
    const auto target = folder / fs::path(file.name).filename();
    if (file.source.empty()) {
      write_file(target, file.content);
    } else {
      llamlx::copy_file(file.source, target);
    }
  }
}

ConvertResult result_of(const Checkpoint& checkpoint,
                        const ConversionPlan& plan) {
  ConvertResult result;
  result.parameters = plan.parameters;
  result.weight_bytes = plan.weight_bytes;
  result.bits_per_weight = 8 * static_cast<double>(plan.weight_bytes) /
                           static_cast<double>(plan.parameters);
  result.notices = checkpoint.notices();
  result.notices.insert(result.notices.end(), plan.notices.begin(),
                        plan.notices.end());
  return result;
}

}  // namespace

ConvertResult convert_checkpoint(const Checkpoint& checkpoint,
                                 const fs::path& destination,
                                 const ConvertOptions& options,
                                 const ConvertProgressFn& on_progress) {
  // Headers, config and index, generously.
  constexpr std::uint64_t kSlack = 4 << 20;
  check_options(options);
  const auto plan =
      plan_conversion(checkpoint, read_model_config(checkpoint), options);
  const auto side_files = checkpoint.side_files();
  check_destination(checkpoint.path(), destination);
  check_space(destination, plan.weight_bytes + side_bytes(side_files) + kSlack);
  StagedFolder staged(destination);
  write_weights(checkpoint, plan, staged.path(), on_progress);
  write_json_file(staged.path() / "config.json", plan.config);
  write_side_files(side_files, staged.path());
  staged.commit();
  return result_of(checkpoint, plan);
}

}  // namespace llamlx
