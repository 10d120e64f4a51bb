#include "convert/convert.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include <mlx/memory.h>

#include "base/concat.h"
#include "base/disk_space.h"
#include "base/error.h"
#include "base/files.h"
#include "base/human_size.h"
#include "base/mapped_file.h"
#include "checkpoint/hugging_face_files.h"
#include "convert/conversion_plan.h"
#include "convert/weight_converter.h"
#include "formats/npz_writer.h"
#include "formats/sharded_writer.h"
#include "formats/write_behind.h"
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

/// Meta's checkpoints come without a tokenizer, and people find out late.
void check_tokenizer(const Checkpoint& checkpoint,
                     const std::vector<SideFile>& files,
                     const ConvertOptions& options) {
  if (!checkpoint.params() || checkpoint.format() == "npz" ||
      options.without_tokenizer) {
    return;
  }
  if (std::ranges::any_of(files, is_tokenizer)) return;
  fail(ErrorCode::not_found, checkpoint.path().string(),
       "holds no tokenizer.model, and neither does the folder above it",
       "get it where the weights come from (Meta's download.sh leaves it above "
       "the models' folders, Hugging Face lists it among the model's files) "
       "and put it into this folder");
}

/// What is written beside the weights.
std::vector<SideFile> files_beside(const Checkpoint& checkpoint,
                                   const ConversionPlan& plan,
                                   const ConvertOptions& options) {
  auto files = checkpoint.side_files();
  check_tokenizer(checkpoint, files, options);
  if (plan.layout == ModelLayout::mlx && checkpoint.params()) {
    std::ranges::move(make_hugging_face_files(files, checkpoint.config()),
                      std::back_inserter(files));
  }
  if (plan.layout == ModelLayout::seed) {
    auto told = make_generation_config(files, checkpoint.config());
    if (told) files.push_back(*std::move(told));
  }
  for (const auto& file : files) {
    if (!file.source.empty()) MappedFile(file.source);  // or says why not
  }
  return files;
}

void check_space(const fs::path& destination, std::uint64_t needed) {
  const auto free = free_disk_bytes(destination);
  if (!free || *free >= needed) return;
  fail(ErrorCode::no_space, destination.string(),
       concat("needs ", human_size(needed), " where ", human_size(*free),
              " are free"),
       "free some space or choose another disk");
}

std::vector<PlannedTensor> all_tensors(const ConversionPlan& plan) {
  std::vector<PlannedTensor> tensors;
  for (const auto& weight : plan.weights) {
    std::ranges::move(planned_tensors(weight), std::back_inserter(tensors));
  }
  return tensors;
}

std::unique_ptr<TensorWriter> make_writer(const ConversionPlan& plan,
                                          const fs::path& folder) {
  if (plan.layout == ModelLayout::seed) {
    return std::make_unique<ShardedNpzWriter>(folder, all_tensors(plan));
  }
  return std::make_unique<ShardedWriter>(folder, all_tensors(plan),
                                         plan.parameters);
}

void write_weights(const Checkpoint& checkpoint, const ConversionPlan& plan,
                   const fs::path& folder, const ProgressFn& on_progress) {
  // What waits to be written counts in memory beside the next tensor.
  constexpr std::size_t kMostBehind = std::size_t{64} << 20;
  const NoBufferCache no_cache;
  const auto file_writer = make_writer(plan, folder);
  WriteBehind writer(*file_writer, kMostBehind);
  const WeightConverter converter(checkpoint, plan, writer);
  Progress progress = {{}, 0, plan.weight_bytes};
  const auto tell = [&](const PlannedWeight& weight, std::uint64_t more) {
    progress.tensor = weight.source.name;
    progress.done_bytes += more;
    if (on_progress) on_progress(progress);
  };
  tell(plan.weights.front(), 0);
  for (const auto& planned : plan.weights) {
    converter.write(planned, [&](std::uint64_t more) { tell(planned, more); });
  }
  writer.finish();
}

/// Python's json.dump writes no line break at the end.
void write_config(const ConversionPlan& plan, const fs::path& folder) {
  const auto file = folder / "config.json";
  if (plan.layout == ModelLayout::seed) {
    write_file(file, plan.config.dump(4, ' ', /*ensure_ascii=*/true,
                                      OrderedJson::error_handler_t::replace));
  } else {
    write_json_file(file, Json(plan.config));
  }
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
  // Of all that is written: tied embeddings may be written twice.
  std::int64_t values = 0;
  for (const auto& weight : plan.weights) {
    values += element_count(weight.source.shape);
  }
  result.bits_per_weight =
      8 * static_cast<double>(plan.weight_bytes) / static_cast<double>(values);
  result.notices = checkpoint.notices();
  result.notices.insert(result.notices.end(), plan.notices.begin(),
                        plan.notices.end());
  const auto files = checkpoint.side_files();
  const auto has = [&](const char* name) {
    return std::ranges::count(files, name, &SideFile::name) > 0;
  };
  if (plan.layout == ModelLayout::mlx && has("tekken.json") &&
      !has("tokenizer.json")) {
    result.notices.emplace_back(
        "mlx_lm does not read tekken.json: it needs the model's "
        "tokenizer.json from Hugging Face beside it");
  }
  return result;
}

}  // namespace

ConvertResult convert_checkpoint(const Checkpoint& checkpoint,
                                 const fs::path& destination,
                                 const ConvertOptions& options,
                                 const ProgressFn& on_progress) {
  // Headers, config and index, generously.
  constexpr std::uint64_t kSlack = 4 << 20;
  check_options(options);
  const auto plan =
      plan_conversion(checkpoint, read_model_config(checkpoint), options);
  const auto side_files = files_beside(checkpoint, plan, options);
  check_destination(checkpoint.path(), destination);
  check_space(destination, plan.weight_bytes + side_bytes(side_files) + kSlack);
  StagedFolder staged(destination);
  write_weights(checkpoint, plan, staged.path(), on_progress);
  write_config(plan, staged.path());
  write_side_files(side_files, staged.path());
  staged.commit();
  return result_of(checkpoint, plan);
}

}  // namespace llamlx
