#include "checkpoint/meta_shards.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "checkpoint/meta_names.h"
#include "checkpoint/parameter_name.h"
#include "formats/array_buffer.h"
#include "tensor/weight.h"

namespace llamlx {
namespace {

constexpr std::string_view kRemedy = "take all shards from one source";

constexpr std::string_view kCutByRows[] = {
    "attention.wq",    "attention.wk",    "attention.wv",
    "feed_forward.w1", "feed_forward.w3", "output",
};
constexpr std::string_view kCutByColumns[] = {"attention.wo",
                                              "feed_forward.w2"};
constexpr std::string_view kEmbeddings = "tok_embeddings";

[[noreturn]] void refuse(const TensorFile& shard, const std::string& tensor,
                         std::string_view cause) {
  fail(ErrorCode::mismatch, shard.path().string(),
       concat("tensor ", tensor, " ", cause), kRemedy);
}

/// Copies the rows of `part` into those of a wider matrix.
void copy_columns(const mx::array& part, std::byte* to,
                  std::size_t row_nbytes) {
  const auto* from = part.data<std::byte>();
  const auto rows = static_cast<std::size_t>(part.shape(0));
  const auto nbytes = part.nbytes() / std::max<std::size_t>(rows, 1);
  for (std::size_t row = 0; row < rows; ++row) {
    std::memcpy(to + row * row_nbytes, from + row * nbytes, nbytes);
  }
}

}  // namespace

MetaShards::MetaShards(std::filesystem::path folder,
                       std::vector<std::unique_ptr<TensorFile>> shards, int dim)
    : folder_(std::move(folder)), shards_(std::move(shards)), dim_(dim) {
  if (shards_.empty()) {
    throw std::invalid_argument("[MetaShards] expected shards, got none");
  }
  for (const auto& entry : shards_.front()->tensors()) {
    if (is_rope_frequencies(entry.name)) continue;
    parts_.push_back(find_parts(entry.name));
    tensors_.push_back(join(parts_.back()));
  }
  for (const auto& shard : shards_) {
    const auto name = shard->path().filename().string();
    for (const auto& notice : shard->notices()) {
      notices_.push_back(concat(name, ": ", notice));
    }
    for (const auto& entry : shard->tensors()) {
      if (is_rope_frequencies(entry.name) || find(entry.name) != nullptr)
        continue;
      refuse(*shards_.front(), entry.name,
             concat("is missing, though ", name, " has a part of it"));
    }
  }
}

MetaShards::Parts MetaShards::find_parts(const std::string& name) const {
  Parts result;
  for (const auto& shard : shards_) {
    const auto* part = shard->find(name);
    if (part == nullptr) {
      refuse(*shard, name, "is missing, though other shards have parts of it");
    }
    result.parts.push_back(part);
  }
  const auto& shape = result.parts.front()->shape;
  const auto parsed = parse_parameter_name(name, "layers.");
  const auto is_in = [&](const auto& modules) {
    return parsed && std::ranges::count(modules, parsed->module) > 0;
  };
  if (shards_.size() == 1 || shape.size() != 2) return result;
  if (is_in(kCutByRows)) result.axis = 0;
  if (is_in(kCutByColumns)) result.axis = 1;
  if (parsed && parsed->module == kEmbeddings) {
    result.axis = shape[1] == dim_ ? 0 : 1;
  }
  return result;
}

TensorEntry MetaShards::join(const Parts& parts) const {
  auto whole = *parts.parts.back();
  for (std::size_t i = 0; i + 1 < parts.parts.size(); ++i) {
    const auto& part = *parts.parts[i];
    if (part.dtype_name != whole.dtype_name) {
      refuse(*shards_[i], part.name,
             concat("is of type ", part.dtype_name, ", and of type ",
                    whole.dtype_name, " in the last shard"));
    }
    auto shape = part.shape;
    if (parts.axis != kWhole && shape.size() == whole.shape.size()) {
      const auto sum =
          std::int64_t{whole.shape[parts.axis]} + shape[parts.axis];
      if (!std::in_range<mx::ShapeElem>(sum)) {
        refuse(*shards_[i], part.name, "is too large when it is joined");
      }
      whole.shape[parts.axis] = static_cast<mx::ShapeElem>(sum);
      shape[parts.axis] = whole.shape[parts.axis];
    }
    if (shape != whole.shape) {
      refuse(*shards_[i], part.name,
             concat("of shape ", to_string(part.shape),
                    " does not join the others, which make ",
                    to_string(whole.shape)));
    }
  }
  return whole;
}

std::vector<std::filesystem::path> MetaShards::files() const {
  std::vector<std::filesystem::path> files;
  for (const auto& shard : shards_) files.push_back(shard->path());
  return files;
}

mx::array MetaShards::read(const TensorEntry& entry) const {
  const auto& [parts, axis] =
      parts_[static_cast<std::size_t>(&entry - tensors_.data())];
  if (axis == kWhole) return shards_.back()->read(*parts.back());
  if (!entry.dtype) return shards_.front()->read(*parts.front());  // refuses
  ArrayBuffer whole(entry.shape, *entry.dtype, folder_,
                    concat("tensor ", entry.name));
  auto* to = whole.bytes();
  const auto row_nbytes =
      static_cast<std::size_t>(entry.shape[1]) * mx::size_of(*entry.dtype);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto part = shards_[i]->read(*parts[i]);
    copy_columns(part, to, row_nbytes);
    to += axis == 0 ? part.nbytes()
                    : static_cast<std::size_t>(part.shape(1)) * part.itemsize();
  }
  return std::move(whole).finish();
}

}  // namespace llamlx
