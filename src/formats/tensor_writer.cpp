#include "formats/tensor_writer.h"

#include <algorithm>
#include <set>
#include <stdexcept>
#include <utility>

#include "base/concat.h"
#include "base/utf8.h"
#include "tensor/weight.h"

namespace llamlx {
namespace {

[[noreturn]] void refuse(std::string_view writer, std::string_view expected,
                         std::string_view got) {
  throw std::invalid_argument(
      concat("[", writer, "] expected ", expected, ", got ", got));
}

std::string describe(std::string_view name, mx::Dtype dtype,
                     const mx::Shape& shape) {
  return concat(name, " ", to_string(dtype), " ", to_string(shape));
}

/// True when `rows` may be a block of the rows of `planned`.
bool are_rows_of(const mx::array& rows, const PlannedTensor& planned) {
  const auto& got = rows.shape();
  return rows.dtype() == planned.dtype && !got.empty() &&
         got.size() == planned.shape.size() &&
         std::equal(got.begin() + 1, got.end(), planned.shape.begin() + 1);
}

/// Cuts the plan into runs of at most `max_bytes`.
std::vector<std::vector<PlannedTensor>> cut(std::vector<PlannedTensor> plan,
                                            std::uint64_t max_bytes) {
  std::vector<std::vector<PlannedTensor>> shards;
  std::uint64_t size = 0;
  for (auto& tensor : plan) {
    const std::uint64_t nbytes = tensor.nbytes();
    if (shards.empty() || size + nbytes > max_bytes) {
      shards.emplace_back();
      size = 0;
    }
    size += nbytes;
    shards.back().push_back(std::move(tensor));
  }
  return shards;
}

}  // namespace

std::size_t PlannedTensor::nbytes() const {
  std::size_t product = dtype.size();
  for (const auto dimension : shape) {
    product *= static_cast<std::size_t>(dimension);
  }
  return product;
}

void check_plan(std::string_view writer,
                const std::vector<PlannedTensor>& plan) {
  std::set<std::string_view> names;
  for (const auto& tensor : plan) {
    if (!is_valid_utf8(tensor.name))
      refuse(writer, "names in UTF-8", "other bytes");
    if (!names.insert(tensor.name).second) {
      refuse(writer, "every name once", concat(tensor.name, " twice"));
    }
    if (std::ranges::any_of(tensor.shape, [](auto n) { return n < 0; })) {
      refuse(writer, "dimensions of at least 0", tensor.name);
    }
  }
}

FileTensorWriter::FileTensorWriter(std::string_view writer,
                                   std::vector<PlannedTensor> plan)
    : writer_(writer), plan_(std::move(plan)) {
  check_plan(writer_, plan_);
}

void FileTensorWriter::append(std::string_view name, const mx::array& values) {
  const auto got = describe(name, values.dtype(), values.shape());
  const auto& planned = next(got);
  if (is_begun_) refuse(writer_, concat("more rows of ", planned.name), got);
  if (planned.name != name || planned.dtype != values.dtype() ||
      planned.shape != values.shape()) {
    refuse(writer_, describe(planned.name, planned.dtype, planned.shape), got);
  }
  begin();
  write_values(values);
  end();
}

void FileTensorWriter::append_rows(std::string_view name,
                                   const mx::array& rows) {
  const auto got = describe(name, rows.dtype(), rows.shape());
  const auto& planned = next(got);
  if (planned.name != name || !are_rows_of(rows, planned) ||
      rows.shape(0) > planned.shape[0] - rows_) {
    refuse(
        writer_,
        concat("rows of ", describe(planned.name, planned.dtype, planned.shape),
               " after ", rows_),
        got);
  }
  begin();
  write_values(rows);
  rows_ += rows.shape(0);
  if (rows_ == planned.shape[0]) end();
}

void FileTensorWriter::finish() {
  if (!is_complete()) refuse(writer_, plan_[next_].name, "the end");
  finish_file();
}

const PlannedTensor& FileTensorWriter::next(std::string_view got) const {
  if (is_complete()) refuse(writer_, "no more tensors", got);
  return plan_[next_];
}

void FileTensorWriter::begin() {
  if (!is_begun_) begin_tensor(plan_[next_]);
  is_begun_ = true;
}

void FileTensorWriter::write_values(const mx::array& values) {
  const auto rows = row_by_row(values);
  write({rows.data<std::byte>(), rows.nbytes()});
}

void FileTensorWriter::end() {
  end_tensor(plan_[next_]);
  is_begun_ = false;
  rows_ = 0;
  ++next_;
}

ShardedTensorWriter::ShardedTensorWriter(std::string_view writer,
                                         std::vector<PlannedTensor> plan,
                                         std::uint64_t max_shard_bytes)
    : writer_(writer) {
  check_plan(writer_, plan);
  if (plan.empty()) refuse(writer_, "tensors", "none");
  for (const auto& tensor : plan) total_size_ += tensor.nbytes();
  shards_ = cut(std::move(plan), max_shard_bytes);
}

void ShardedTensorWriter::append(std::string_view name,
                                 const mx::array& values) {
  open_for(name).append(name, values);
  close_if_complete();
}

void ShardedTensorWriter::append_rows(std::string_view name,
                                      const mx::array& rows) {
  open_for(name).append_rows(name, rows);
  close_if_complete();
}

void ShardedTensorWriter::finish() {
  if (open_) open_->finish();  // it is not complete, and says what is missing
  if (shard_ < shards_.size()) {
    refuse(writer_, shards_[shard_].front().name, "the end");
  }
  finish_folder();
}

FileTensorWriter& ShardedTensorWriter::open_for(std::string_view name) {
  if (shard_ == shards_.size()) refuse(writer_, "no more tensors", name);
  if (!open_) open_ = open_shard(shard_);
  return *open_;
}

void ShardedTensorWriter::close_if_complete() {
  if (!open_->is_complete()) return;
  open_->finish();
  open_.reset();
  ++shard_;
}

}  // namespace llamlx
