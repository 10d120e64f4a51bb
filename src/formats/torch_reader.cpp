#include "formats/torch_reader.h"

#include <string_view>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "formats/lfs_pointer.h"
#include "formats/strided_array.h"
#include "formats/torch_stream.h"
#include "formats/torch_zip.h"

namespace llamlx {
namespace {

constexpr std::size_t kTarMagicOffset = 257;

TorchContents read_contents(const std::filesystem::path& path) {
  auto file = std::make_shared<const MappedFile>(path);
  const auto text = file->text();
  refuse_lfs_pointer(*file);
  if (text.size() > kTarMagicOffset &&
      text.substr(kTarMagicOffset).starts_with("ustar")) {
    fail(ErrorCode::unsupported, path.string(),
         "is a tar file, as the first releases of torch saved them",
         "load it and save it again with a newer torch");
  }
  if (text.starts_with("PK")) return read_torch_zip(path);
  return read_torch_stream(std::move(file));
}

}  // namespace

TorchFile::TorchFile(const std::filesystem::path& path)
    : contents_(read_contents(path)),
      verified_(new std::once_flag[contents_.storages.size()]) {
  for (auto& tensor : contents_.state.tensors) {
    tensors_.push_back(std::move(tensor.entry));
  }
}

mx::array TorchFile::read(const TensorEntry& entry) const {
  if (!entry.dtype) {
    fail(ErrorCode::unsupported, path().string(),
         concat("tensor ", entry.name, " has the type ", entry.dtype_name,
                ", which llamlx does not compute with"),
         "convert it to float32, float16 or bfloat16");
  }
  const auto index = static_cast<std::size_t>(&entry - tensors_.data());
  const auto& tensor = contents_.state.tensors[index];
  if (contents_.verify) {
    // A check that throws leaves the flag as it is, for the next reader.
    const bool is_all =
        tensor.size == contents_.storages[tensor.storage].size();
    std::call_once(verified_[tensor.storage], [&] {
      contents_.verify(tensor.storage,
                       is_all ? PagesRead::kept : PagesRead::released);
    });
  }
  const auto bytes =
      contents_.storages[tensor.storage].subspan(tensor.offset, tensor.size);
  return strided_array(contents_.file, bytes, entry.shape, tensor.strides,
                       *entry.dtype);
}

}  // namespace llamlx
