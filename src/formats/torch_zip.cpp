#include "formats/torch_zip.h"

#include <string>
#include <string_view>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "formats/pickle_reader.h"
#include "formats/torch_globals.h"
#include "formats/zip_reader.h"

namespace llamlx {
namespace {

constexpr std::string_view kPickle = "/data.pkl";
constexpr std::uint64_t kLongestByteOrder = 16;

/// Reads such a file by way of its directory.
class ZipReader {
 public:
  explicit ZipReader(const std::filesystem::path& path)
      : zip_(std::make_shared<const ZipFile>(path)), subject_(path.string()) {}

  TorchContents read() && {
    const auto& pickle = find_pickle();
    folder_ = pickle.name.substr(0, pickle.name.size() - kPickle.size() + 1);
    check_folder();
    TorchContents contents{zip_->file(), read_state(pickle), {}, {}};
    std::vector<const ZipEntry*> entries;
    for (const auto& storage : contents.state.storages) {
      entries.push_back(&find_storage(storage));
      contents.storages.push_back(zip_->stored_bytes(*entries.back()));
    }
    contents.verify = [zip = zip_, entries](std::size_t storage,
                                            PagesRead pages) {
      zip->check_crc(*entries[storage], pages);
    };
    return contents;
  }

 private:
  [[noreturn]] void fail_corrupt(std::string_view cause) const {
    fail(ErrorCode::corrupt_file, subject_, cause,
         "download or convert it again");
  }

  [[noreturn]] void fail_unsupported(std::string_view cause) const {
    fail(ErrorCode::unsupported, subject_, cause,
         "load it and save its state dict with a current torch");
  }

  const ZipEntry& find_pickle() const {
    const ZipEntry* found = nullptr;
    for (const auto& entry : zip_->entries()) {
      const std::string_view name = entry.name;
      if (!name.ends_with(kPickle) ||
          name.find('/') != name.size() - kPickle.size()) {
        continue;
      }
      if (found != nullptr) {
        fail_corrupt(concat("has two pickles, ", found->name, " and ", name));
      }
      found = &entry;
    }
    if (found == nullptr) {
      fail_corrupt("is a zip archive, but not of torch: it has no data.pkl");
    }
    return *found;
  }

  const ZipEntry* find(std::string_view name) const {
    return zip_->find(concat(folder_, name));
  }

  void check_folder() const {
    if (find("constants.pkl") != nullptr) {
      fail_unsupported("is a TorchScript program, not a file of tensors");
    }
    const auto* order = find("byteorder");
    if (order == nullptr) return;
    const auto bytes = zip_->read(*order, kLongestByteOrder);
    const std::string_view text{reinterpret_cast<const char*>(bytes.data()),
                                bytes.size()};
    if (text == "big") fail_unsupported("is of a big-endian machine");
    if (text != "little") fail_corrupt("has an unknown byte order");
  }

  TorchState read_state(const ZipEntry& entry) const {
    const auto bytes = zip_->read(entry, kLargestPickle);
    const auto subject = concat(subject_, " (data.pkl)");
    const auto pickle =
        read_pickle({reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                    subject, torch_globals());
    if (pickle.size() != bytes.size()) {
      fail_corrupt("has a data.pkl that goes on after its pickle");
    }
    return read_torch_state(pickle, subject);
  }

  const ZipEntry& find_storage(const TorchStorage& storage) const {
    const auto* entry = find(concat("data/", storage.key));
    if (entry == nullptr) {
      fail_corrupt(concat("has no storage ", storage.key));
    }
    if (!entry->is_stored) {
      fail_unsupported(concat("has storage ", storage.key, " compressed"));
    }
    if (entry->size < storage.needed) {
      fail_corrupt(concat("storage ", storage.key, " has ", entry->size,
                          " bytes where tensors need ", storage.needed));
    }
    return *entry;
  }

  std::shared_ptr<const ZipFile> zip_;
  std::string subject_;
  std::string folder_;  // with its slash
};

}  // namespace

TorchContents read_torch_zip(const std::filesystem::path& path) {
  return ZipReader(path).read();
}

}  // namespace llamlx
