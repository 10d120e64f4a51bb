#include "formats/torch_state.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "base/utf8.h"
#include "formats/tensor_size.h"

namespace llamlx {
namespace {

constexpr std::array<std::string_view, 3> kNestedNames = {"state_dict", "model",
                                                          "module"};
constexpr std::size_t kNamesInNotice = 5;
constexpr std::size_t kMostTensors = 200'000;
constexpr std::uint64_t kMostRepeated = std::uint64_t{256} << 20;

/// A key of a dict and its value.
struct Pair {
  const PickleValue* key;
  const PickleValue* value;
};

std::vector<Pair> pairs_of(const PickleValue& dict) {
  std::vector<Pair> pairs;
  for (std::size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    pairs.push_back({dict.items[i], dict.items[i + 1]});
  }
  return pairs;
}

std::string name_of(const PickleValue& key) {
  return key.kind == PickleKind::text ? std::string(key.text) : describe(key);
}

/// Reads the tensors of one pickle.
class StateReader {
 public:
  StateReader(const Pickle& pickle, const std::string& subject)
      : root_(pickle.root()), subject_(subject), storages_(pickle, subject) {}

  TorchState read() && {
    for (const auto& pair : pairs_of(find_state_dict())) read_pair(pair);
    std::ranges::sort(tensors_, {}, &name_of_tensor);
    check_repetition();
    note_left_out();
    return {std::move(storages_).take(), std::move(tensors_),
            std::move(notices_)};
  }

 private:
  static const std::string& name_of_tensor(const TorchTensor& tensor) {
    return tensor.entry.name;
  }

  [[noreturn]] void fail_corrupt(std::string_view cause) const {
    fail(ErrorCode::corrupt_file, subject_, cause,
         "download or convert it again");
  }

  [[noreturn]] void fail_unsupported(std::string_view cause) const {
    fail(ErrorCode::unsupported, subject_, cause,
         "save the model's state dict alone");
  }

  /// Each dict is looked through once, however often it is referred to.
  bool holds_tensors(const PickleValue& value) {
    if (value.kind != PickleKind::dict) return false;
    const auto [known, is_new] = holds_tensors_.emplace(&value, false);
    if (is_new) {
      const auto pairs = pairs_of(value);
      known->second = std::ranges::any_of(
          pairs, [](const Pair& pair) { return is_torch_tensor(*pair.value); });
    }
    return known->second;
  }

  const PickleValue& find_state_dict() {
    if (root_.kind != PickleKind::dict) {
      fail_unsupported(
          concat("holds ",
                 is_torch_tensor(root_) ? "a single tensor" : describe(root_),
                 ", not a dict of tensors"));
    }
    if (holds_tensors(root_)) return root_;
    const auto pairs = pairs_of(root_);
    std::vector<Pair> nested;
    std::ranges::copy_if(pairs, std::back_inserter(nested), [&](const Pair& p) {
      return holds_tensors(*p.value);
    });
    if (nested.empty()) fail_unsupported("holds no dict of tensors");
    const auto name = name_of(*nested[0].key);
    if (nested.size() > 1) {
      fail_unsupported(concat("holds several dicts of tensors, \"", name,
                              "\" and \"", name_of(*nested[1].key), "\""));
    }
    if (std::ranges::count(kNestedNames, name) == 0) {
      fail_unsupported(concat("holds its tensors in a dict under \"", name,
                              "\", which is not known for a state dict"));
    }
    for (const auto& pair : pairs) {
      if (pair.value != nested[0].value) leave_out(*pair.key);
    }
    return *nested[0].value;
  }

  void read_pair(const Pair& pair) {
    if (!is_torch_tensor(*pair.value)) {
      if (holds_tensors(*pair.value)) {
        fail_unsupported(concat("holds a dict of tensors, \"",
                                name_of(*pair.key), "\", beside tensors"));
      }
      leave_out(*pair.key);
      return;
    }
    if (pair.key->kind != PickleKind::text || !is_valid_utf8(pair.key->text)) {
      fail_unsupported(concat("names a tensor by ", describe(*pair.key),
                              ", not by a text in UTF-8"));
    }
    const auto name = pair.key->text;
    // At once: a pickle may repeat a long name at no cost of its own.
    if (!names_.insert(name).second) {
      fail_corrupt(concat("has tensor ", name, " twice"));
    }
    if (tensors_.size() >= kMostTensors) {
      fail_unsupported(concat("has more than ", kMostTensors, " tensors"));
    }
    tensors_.push_back(
        read_torch_tensor(*pair.value, name, storages_, subject_));
  }

  void leave_out(const PickleValue& key) {
    if (left_out_++ >= kNamesInNotice) return;
    if (!left_out_names_.empty()) left_out_names_ += ", ";
    left_out_names_ += name_of(key);
  }

  void note_left_out() {
    if (left_out_ == 0) return;
    notices_.push_back(concat("left out ", left_out_,
                              " that hold no tensors: ", left_out_names_,
                              left_out_ > kNamesInNotice ? ", ..." : ""));
  }

  void check_repetition() const {
    std::uint64_t repeated = 0;
    for (const auto& tensor : tensors_) {
      // There is an answer, or the tensor had been refused.
      const auto size =
          bits_needed(tensor.entry.shape, 8 * tensor.value_size).value() / 8;
      if (size > tensor.size) repeated += size - tensor.size;
      if (repeated > kMostRepeated) {
        fail_unsupported(concat("tensor ", tensor.entry.name,
                                " repeats the values of its storage beyond ",
                                kMostRepeated, " bytes"));
      }
    }
  }

  const PickleValue& root_;
  const std::string& subject_;
  TorchStorages storages_;
  std::unordered_map<const PickleValue*, bool> holds_tensors_;  // by dict
  std::unordered_set<std::string_view> names_;
  std::vector<TorchTensor> tensors_;
  std::size_t left_out_ = 0;
  std::string left_out_names_;
  std::vector<std::string> notices_;
};

}  // namespace

TorchState read_torch_state(const Pickle& pickle, const std::string& subject) {
  return StateReader(pickle, subject).read();
}

}  // namespace llamlx
