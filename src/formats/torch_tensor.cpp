#include "formats/torch_tensor.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "formats/pickle_reader.h"
#include "formats/tensor_size.h"
#include "formats/torch_globals.h"

namespace llamlx {
namespace {

constexpr std::string_view kUtils = "torch._utils";
constexpr int kMostWrappings = 4;
constexpr std::size_t kMostDimensions = 64;  // torch's own limit

[[noreturn]] void fail_corrupt(const std::string& subject,
                               std::string_view cause) {
  fail(ErrorCode::corrupt_file, subject, cause, "download or convert it again");
}

/// A product or a sum that no file's size can reach is empty.
std::optional<std::uint64_t> multiply(std::uint64_t a, std::uint64_t b) {
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  if (b != 0 && a > static_cast<std::uint64_t>(kMost) / b) return {};
  return a * b;
}

std::optional<std::uint64_t> add(std::uint64_t a,
                                 std::optional<std::uint64_t> b) {
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  if (!b || a > static_cast<std::uint64_t>(kMost) - *b) return {};
  return a + *b;
}

std::optional<std::uint64_t> whole_number(const PickleValue& value) {
  if (value.kind != PickleKind::integer || value.integer < 0) return {};
  return static_cast<std::uint64_t>(value.integer);
}

bool is_storage_class(const PickleValue& value) {
  return value.kind == PickleKind::global &&
         value.global->module.starts_with("torch") &&
         find_torch_storage(value.global->name) != nullptr;
}

/// Reads one tensor and checks it by itself.
class TensorReader {
 public:
  TensorReader(std::string_view name, const TorchStorages& storages,
               const std::string& subject)
      : name_(name), storages_(storages), subject_(subject) {}

  TorchTensor read(const PickleValue& value) const {
    const auto& [function, args] = unwrap(value);
    const bool v1 = function == "_rebuild_tensor";
    const bool v3 = function == "_rebuild_tensor_v3";
    const std::size_t fixed = v1 ? 4 : v3 ? 7 : 6;
    if (args.size() != fixed && (v1 || args.size() != fixed + 1)) {
      refuse(concat("gives ", function, " ", args.size(), " arguments"));
    }
    if (args[0]->kind != PickleKind::persistent) {
      refuse(concat("stands on ", describe(*args[0]), ", not on a storage"));
    }
    if (!v1) check_flags(*args[4], *args[5]);
    if (args.size() > fixed) check_metadata(*args[fixed]);
    const auto& mention = storages_.mention(*args[0]);
    return place(mention, v3 ? dtype_of(*args[6]) : *mention.dtype,
                 args.subspan(1, 3));
  }

 private:
  [[noreturn]] void refuse(std::string_view cause) const {
    fail_corrupt(subject_, concat("tensor ", name_, " ", cause));
  }

  [[noreturn]] void refuse_kind(std::string_view cause) const {
    fail(ErrorCode::unsupported, subject_, concat("tensor ", name_, " ", cause),
         "save it as a plain tensor of floats");
  }

  struct Call {
    std::string_view function;
    std::span<const PickleValue* const> args;
  };

  /// The call that makes the tensor itself, within what makes it a Parameter
  /// or gives it attributes.
  Call unwrap(const PickleValue& outermost) const {
    const auto* value = &outermost;
    for (int i = 0; i < kMostWrappings; ++i) {
      if (!is_torch_tensor(*value)) {
        refuse(concat("is made of ", describe(*value)));
      }
      const auto args = arguments(*value);
      const auto function = value->global->name;
      if (function == "_rebuild_from_type_v2") {
        if (args.size() != 4) refuse("has attributes in an unknown way");
        return typed_call(args);
      }
      if (!function.starts_with("_rebuild_parameter")) return {function, args};
      const std::size_t wanted = function == "_rebuild_parameter" ? 3 : 4;
      if (args.size() != wanted) {
        refuse(concat("gives ", function, " ", args.size(), " arguments"));
      }
      value = args[0];
    }
    refuse("is wrapped too often");
  }

  /// What _rebuild_from_type_v2 (function, class, arguments, attributes) calls.
  Call typed_call(std::span<const PickleValue* const> args) const {
    if (args[0]->kind != PickleKind::global ||
        !args[0]->global->name.starts_with("_rebuild_tensor")) {
      refuse(concat("is made by ", describe(*args[0])));
    }
    if (args[2]->kind != PickleKind::tuple) {
      refuse(concat("has ", describe(*args[2]), " for its arguments"));
    }
    return {args[0]->global->name, args[2]->items};
  }

  void check_flags(const PickleValue& requires_grad,
                   const PickleValue& hooks) const {
    if (requires_grad.kind != PickleKind::boolean) {
      refuse(concat("has ", describe(requires_grad), " for requires_grad"));
    }
    if (hooks.kind != PickleKind::dict && hooks.kind != PickleKind::none) {
      refuse(concat("has ", describe(hooks), " for its hooks"));
    }
  }

  /// The metadata says "conj" or "neg" of a tensor whose values are not what
  /// the storage has, but their conjugates or negatives.
  void check_metadata(const PickleValue& metadata) const {
    if (metadata.kind == PickleKind::none) return;
    if (metadata.kind != PickleKind::dict) {
      refuse(concat("has ", describe(metadata), " for its metadata"));
    }
    for (std::size_t i = 1; i < metadata.items.size(); i += 2) {
      const auto& value = *metadata.items[i];
      if (value.kind != PickleKind::boolean || value.integer != 0) {
        refuse_kind("is a conjugated or negated view");
      }
    }
  }

  const TorchDtype& dtype_of(const PickleValue& value) const {
    const auto* dtype =
        value.kind == PickleKind::global && value.global->module == "torch"
            ? find_torch_dtype(value.global->name)
            : nullptr;
    if (dtype == nullptr) refuse(concat("is of type ", describe(value)));
    return *dtype;
  }

  /// A tuple of whole numbers, or the torch.Size of one.
  std::vector<std::uint64_t> numbers(const PickleValue& value,
                                     std::string_view what) const {
    const auto* tuple = &value;
    if (is_call_of(value, "torch", "Size") && arguments(value).size() == 1) {
      tuple = arguments(value)[0];
    }
    if (tuple->kind != PickleKind::tuple) {
      refuse(concat("has ", describe(*tuple), " for its ", what));
    }
    if (tuple->items.size() > kMostDimensions) {
      refuse(concat("has ", tuple->items.size(), " dimensions"));
    }
    std::vector<std::uint64_t> result;
    for (const auto* item : tuple->items) {
      const auto number = whole_number(*item);
      if (!number) {
        refuse(concat("has a ", what, " that is no whole number"));
      }
      result.push_back(*number);
    }
    return result;
  }

  TorchTensor place(const TorchStorages::Mention& mention,
                    const TorchDtype& dtype,
                    std::span<const PickleValue* const> args) const {
    const auto first = whole_number(*args[0]);
    if (!first) refuse("begins at no whole number");
    const auto sizes = numbers(*args[1], "size");
    const auto strides = numbers(*args[2], "stride");
    if (sizes.size() != strides.size()) {
      refuse(concat("has ", sizes.size(), " sizes but ", strides.size(),
                    " strides"));
    }
    TorchTensor tensor{{std::string(name_), std::string(dtype.name),
                        dtype.dtype, shape_of(sizes, dtype.size)},
                       mention.storage,
                       0,
                       0,
                       dtype.size,
                       {strides.begin(), strides.end()}};
    if (std::ranges::count(sizes, std::uint64_t{0}) > 0) return tensor;
    const auto end = end_of(*first, sizes, strides, dtype.size);
    if (!end || *end > mention.size) {
      refuse(concat("goes beyond the end of its storage of ", mention.size,
                    " bytes"));
    }
    tensor.offset = mention.offset + *first * dtype.size;
    tensor.size = *end - *first * dtype.size;
    return tensor;
  }

  mx::Shape shape_of(std::span<const std::uint64_t> sizes,
                     std::size_t value_size) const {
    mx::Shape shape;
    for (const auto size : sizes) {
      if (!std::in_range<mx::ShapeElem>(size)) {
        refuse("has a dimension that is no whole number below 2^31");
      }
      shape.push_back(static_cast<mx::ShapeElem>(size));
    }
    if (!bits_needed(shape, 8 * value_size)) {
      refuse("has a shape too large to address");
    }
    return shape;
  }

  /// The byte of the storage where the last value ends; empty for one that no
  /// storage reaches.
  static std::optional<std::uint64_t> end_of(
      std::uint64_t first, std::span<const std::uint64_t> sizes,
      std::span<const std::uint64_t> strides, std::size_t value_size) {
    std::optional<std::uint64_t> end = add(first, 1);
    for (std::size_t i = 0; end && i < sizes.size(); ++i) {
      end = add(*end, multiply(sizes[i] - 1, strides[i]));
    }
    return end ? multiply(*end, value_size) : end;
  }

  std::string_view name_;
  const TorchStorages& storages_;
  const std::string& subject_;
};

}  // namespace

TorchStorages::TorchStorages(const Pickle& pickle, const std::string& subject)
    : subject_(subject) {
  for (const auto& value : pickle.values()) {
    if (value.kind != PickleKind::persistent) continue;
    mentions_.emplace(&value, read(value));
  }
}

TorchStorages::Mention TorchStorages::read(const PickleValue& persistent) {
  const auto& id = *persistent.items.front();
  if (id.kind != PickleKind::tuple || id.items.empty() ||
      id.items[0]->kind != PickleKind::text || id.items[0]->text != "storage") {
    fail(ErrorCode::unsupported, subject_,
         "its pickle keeps something elsewhere that is no storage",
         "code in checkpoints is never run: save the plain state dict");
  }
  const auto& items = id.items;
  if (items.size() < 5 || items.size() > 6 || !is_storage_class(*items[1]) ||
      items[2]->kind != PickleKind::text ||
      items[3]->kind != PickleKind::text) {
    fail_corrupt(subject_, "speaks of a storage in an unknown way");
  }
  const auto& dtype = *find_torch_storage(items[1]->global->name);
  const auto count = whole_number(*items[4]);
  const auto size = count ? multiply(*count, dtype.size) : count;
  if (!size) {
    fail_corrupt(subject_, concat("storage ", items[2]->text,
                                  " has a size that is no number of values"));
  }
  const auto index = index_of(items[2]->text, dtype, *count, *size);
  Mention whole{index, &dtype, 0, *size};
  if (items.size() == 5 || items[5]->kind == PickleKind::none) return whole;
  const auto& view = items[5]->items;
  if (items[5]->kind != PickleKind::tuple || view.size() != 3 ||
      !whole_number(*view[1]) || !whole_number(*view[2])) {
    fail_corrupt(subject_, concat("speaks of a part of storage ",
                                  items[2]->text, " in an unknown way"));
  }
  const auto first = *whole_number(*view[1]);
  const auto length = *whole_number(*view[2]);
  if (first > *count || length > *count - first) {
    fail_corrupt(subject_, concat("a part of storage ", items[2]->text,
                                  " goes beyond its end"));
  }
  return {index, &dtype, first * dtype.size, length * dtype.size};
}

std::size_t TorchStorages::index_of(std::string_view key,
                                    const TorchDtype& dtype,
                                    std::uint64_t count, std::uint64_t size) {
  const auto [found, is_new] = indices_.emplace(key, storages_.size());
  if (is_new) {
    storages_.push_back({std::string(key), &dtype, count, size});
  } else {
    auto& needed = storages_[found->second].needed;
    needed = std::max(needed, size);
  }
  return found->second;
}

bool is_torch_tensor(const PickleValue& value) {
  return value.kind == PickleKind::call &&
         (value.global->module == kUtils ||
          value.global->module == "torch._tensor");
}

TorchTensor read_torch_tensor(const PickleValue& value, std::string_view name,
                              const TorchStorages& storages,
                              const std::string& subject) {
  return TensorReader(name, storages, subject).read(value);
}

}  // namespace llamlx
