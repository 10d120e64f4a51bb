#include "formats/torch_stream.h"

#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "formats/pickle_reader.h"
#include "formats/torch_globals.h"

namespace llamlx {
namespace {

constexpr std::string_view kMagicNumber =
    "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
constexpr std::int64_t kVersion = 1001;
constexpr char kPickleStart = '\x80';

/// Reads such a file from front to back.
class StreamReader {
 public:
  explicit StreamReader(std::shared_ptr<const MappedFile> file)
      : file_(std::move(file)),
        subject_(file_->path().string()),
        rest_(file_->text()) {}

  TorchContents read() && {
    check_header();
    const auto object = next_pickle(torch_globals());
    auto state = read_torch_state(object, subject_);
    const auto keys = next_pickle({});
    auto storages = read_storages(keys.root(), state.storages);
    return {std::move(file_), std::move(state), std::move(storages), {}};
  }

 private:
  [[noreturn]] void fail_corrupt(std::string_view cause) const {
    fail(ErrorCode::corrupt_file, subject_, cause,
         "download or convert it again");
  }

  [[noreturn]] void fail_unsupported(std::string_view cause) const {
    fail(ErrorCode::unsupported, subject_, cause,
         "save it again with a newer torch");
  }

  Pickle next_pickle(std::span<const PickleGlobal> allowed) {
    auto pickle = read_pickle(rest_, subject_, allowed);
    rest_.remove_prefix(pickle.size());
    return pickle;
  }

  void check_header() {
    if (!rest_.starts_with(kPickleStart)) {
      fail_corrupt("is not a torch file: it begins with no pickle");
    }
    const auto magic = next_pickle({});
    if (magic.root().kind != PickleKind::big_integer ||
        magic.root().text != kMagicNumber) {
      fail_corrupt("is not a torch file: it begins with another pickle");
    }
    const auto version = next_pickle({});
    if (version.root().kind != PickleKind::integer ||
        version.root().integer != kVersion) {
      fail_unsupported("has another version of torch's format than 1001");
    }
    check_machine(next_pickle({}).root());
  }

  void check_machine(const PickleValue& machine) const {
    if (machine.kind != PickleKind::dict) {
      fail_corrupt("does not say what machine it is of");
    }
    for (std::size_t i = 0; i + 1 < machine.items.size(); i += 2) {
      const auto& key = *machine.items[i];
      const auto& value = *machine.items[i + 1];
      if (key.text != "little_endian") continue;
      if (value.kind != PickleKind::boolean || value.integer != 1) {
        fail_unsupported("is of a big-endian machine");
      }
    }
  }

  std::vector<std::span<const std::byte>> read_storages(
      const PickleValue& keys, const std::vector<TorchStorage>& storages) {
    std::map<std::string_view, std::size_t> indices;
    for (std::size_t i = 0; i < storages.size(); ++i) {
      indices.emplace(storages[i].key, i);
    }
    if (keys.kind != PickleKind::list) fail_corrupt("lists no storages");
    std::vector<std::span<const std::byte>> bytes(storages.size());
    for (const auto* key : keys.items) {
      const auto found = key->kind == PickleKind::text ? indices.find(key->text)
                                                       : indices.end();
      if (found == indices.end()) {
        fail_corrupt("lists a storage twice, or one of no tensor");
      }
      bytes[found->second] = read_storage(storages[found->second]);
      indices.erase(found);
    }
    if (!indices.empty()) {
      fail_corrupt(concat("has no storage ", indices.begin()->first));
    }
    return bytes;
  }

  std::span<const std::byte> read_storage(const TorchStorage& storage) {
    std::int64_t count = 0;
    if (rest_.size() < sizeof count) {
      fail_corrupt(concat("is cut short before storage ", storage.key));
    }
    std::memcpy(&count, rest_.data(), sizeof count);
    rest_.remove_prefix(sizeof count);
    if (std::cmp_not_equal(count, storage.count)) {
      fail_corrupt(concat("storage ", storage.key, " has ", count,
                          " values, not ", storage.count));
    }
    // The product was checked when the object spoke of it.
    const auto size = storage.count * storage.dtype->size;
    if (storage.needed > size) {
      fail_corrupt(concat("storage ", storage.key, " has ", size,
                          " bytes where tensors need ", storage.needed));
    }
    if (size > rest_.size()) {
      fail_corrupt(concat("is cut short: storage ", storage.key, " has ", size,
                          " bytes, but only ", rest_.size(), " are there"));
    }
    const auto offset =
        static_cast<std::size_t>(rest_.data() - file_->text().data());
    rest_.remove_prefix(size);
    return file_->bytes().subspan(offset, size);
  }

  std::shared_ptr<const MappedFile> file_;
  std::string subject_;
  std::string_view rest_;
};

}  // namespace

TorchContents read_torch_stream(std::shared_ptr<const MappedFile> file) {
  return StreamReader(std::move(file)).read();
}

}  // namespace llamlx
