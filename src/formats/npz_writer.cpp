#include "formats/npz_writer.h"

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "base/concat.h"
#include "formats/crc32.h"
#include "formats/npy_header.h"
#include "formats/zip_layout.h"

namespace llamlx {
namespace {

constexpr std::uint64_t kAlignment = 64;
constexpr std::uint64_t kVersion = 45;  // the first with zip64
constexpr std::uint64_t kMadeByUnix = 3 << 8;
constexpr std::uint64_t kUnixFile = 0100644;  // regular, rw-r--r--
constexpr std::uint64_t kNameIsUtf8 = 1 << 11;
constexpr std::uint64_t kFirstDate = 1 << 5 | 1;  // the first of January 1980
constexpr std::uint64_t kZip64Size = 4 + 16;
constexpr std::uint64_t kCrcInLocal = 14;
// Padding as Android's zipalign writes it: this number, a size, the alignment,
// and zeros.
constexpr std::uint64_t kPaddingExtra = 0xd935;
constexpr std::uint64_t kShortestPadding = 4 + 2;

/// Puts numbers together, little end first.
class Record {
 public:
  explicit Record(std::string_view signature) : bytes_(signature) {}
  Record& add(std::uint64_t value, int size) {
    for (int i = 0; i < size; ++i) {
      bytes_ += static_cast<char>(value >> (8 * i) & 0xff);
    }
    return *this;
  }
  Record& add(std::string_view text) {
    bytes_ += text;
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::uint64_t flags_of(std::string_view name) {
  const bool is_ascii = std::ranges::all_of(
      name, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  return is_ascii ? 0 : kNameIsUtf8;
}

/// The extra field of a local header at `begin`: the sizes in 64 bits, and what
/// brings its end to a multiple of the alignment.
std::string local_extra(std::uint64_t begin, std::string_view name,
                        std::uint64_t size) {
  const auto end =
      begin + zip::kLocalSize + name.size() + kZip64Size + kShortestPadding;
  const auto padding = (kAlignment - end % kAlignment) % kAlignment;
  return Record("")
      .add(zip::kZip64Extra, 2)
      .add(16, 2)
      .add(size, 8)
      .add(size, 8)
      .add(kPaddingExtra, 2)
      .add(2 + padding, 2)
      .add(kAlignment, 2)
      .add(std::string(padding, '\0'))
      .bytes();
}

}  // namespace

NpzWriter::NpzWriter(const std::filesystem::path& path,
                     std::vector<PlannedTensor> plan)
    : FileTensorWriter("NpzWriter", std::move(plan)), file_(path) {
  for (const auto& tensor : this->plan()) {
    npy_header_text(tensor.dtype, tensor.shape);  // refuses what cannot be
    if (tensor.name.size() < zip::kMost16 - 3 &&
        tensor.name.find('\0') == std::string::npos) {
      continue;
    }
    throw std::invalid_argument(
        concat("[NpzWriter] expected a name that a zip "
               "archive can hold, got ",
               tensor.name.substr(0, 100)));
  }
}

void NpzWriter::begin_tensor(const PlannedTensor& tensor) {
  const auto header = npy_header_text(tensor.dtype, tensor.shape);
  Written entry = {tensor.name + ".npy", position_,
                   header.size() + tensor.nbytes(), 0};
  const auto extra = local_extra(entry.begin, entry.name, entry.size);
  put(bytes_of(Record(zip::kLocalSignature)
                   .add(kVersion, 2)
                   .add(flags_of(entry.name), 2)
                   .add(zip::kStored, 2)
                   .add(kFirstDate << 16, 4)
                   .add(0, 4)  // the CRC, known when all is written
                   .add(zip::kMost32, 4)
                   .add(zip::kMost32, 4)
                   .add(entry.name.size(), 2)
                   .add(extra.size(), 2)
                   .add(entry.name)
                   .add(extra)
                   .bytes()));
  entries_.push_back(std::move(entry));
  write(bytes_of(header));
}

void NpzWriter::write(std::span<const std::byte> bytes) {
  auto& crc = entries_.back().crc;
  crc = crc32(crc, bytes);
  put(bytes);
}

void NpzWriter::end_tensor(const PlannedTensor&) {
  const auto& entry = entries_.back();
  file_.rewrite(entry.begin + kCrcInLocal,
                bytes_of(Record("").add(entry.crc, 4).bytes()));
}

void NpzWriter::finish_file() {
  const auto directory = position_;
  for (const auto& entry : entries_) {
    Record wide("");
    const auto narrow = [&](std::uint64_t value) {
      if (value >= zip::kMost32) wide.add(value, 8);
      return std::min(value, zip::kMost32);
    };
    const auto size = narrow(entry.size);
    narrow(entry.size);  // compressed
    const auto begin = narrow(entry.begin);
    Record extra("");
    if (!wide.bytes().empty()) {
      extra.add(zip::kZip64Extra, 2)
          .add(wide.bytes().size(), 2)
          .add(wide.bytes());
    }
    put(bytes_of(Record(zip::kHeaderSignature)
                     .add(kMadeByUnix | kVersion, 2)
                     .add(kVersion, 2)
                     .add(flags_of(entry.name), 2)
                     .add(zip::kStored, 2)
                     .add(kFirstDate << 16, 4)
                     .add(entry.crc, 4)
                     .add(size, 4)
                     .add(size, 4)
                     .add(entry.name.size(), 2)
                     .add(extra.bytes().size(), 2)
                     .add(0, 2)  // comment
                     .add(0, 2)  // part of the archive
                     .add(0, 2)  // kind of content
                     .add(kUnixFile << 16, 4)
                     .add(begin, 4)
                     .add(entry.name)
                     .add(extra.bytes())
                     .bytes()));
  }
  put_end(directory);
  file_.finish();
}

void NpzWriter::put_end(std::uint64_t directory) {
  const auto end = position_;
  const auto size = end - directory;
  const auto count = std::uint64_t{entries_.size()};
  if (count >= zip::kMost16 || size >= zip::kMost32 ||
      directory >= zip::kMost32) {
    put(bytes_of(Record(zip::kEnd64Signature)
                     .add(zip::kEnd64Size - 12, 8)
                     .add(kMadeByUnix | kVersion, 2)
                     .add(kVersion, 2)
                     .add(0, 8)  // parts of the archive
                     .add(count, 8)
                     .add(count, 8)
                     .add(size, 8)
                     .add(directory, 8)
                     .add(zip::kLocatorSignature)
                     .add(0, 4)
                     .add(end, 8)
                     .add(1, 4)  // parts of the archive
                     .bytes()));
  }
  put(bytes_of(Record(zip::kEndSignature)
                   .add(0, 4)  // parts of the archive
                   .add(std::min(count, zip::kMost16), 2)
                   .add(std::min(count, zip::kMost16), 2)
                   .add(std::min(size, zip::kMost32), 4)
                   .add(std::min(directory, zip::kMost32), 4)
                   .add(0, 2)  // comment
                   .bytes()));
}

void NpzWriter::put(std::span<const std::byte> bytes) {
  file_.write(bytes);
  position_ += bytes.size();
}

ShardedNpzWriter::ShardedNpzWriter(std::filesystem::path folder,
                                   std::vector<PlannedTensor> plan,
                                   std::uint64_t max_shard_bytes)
    : ShardedTensorWriter("ShardedNpzWriter", std::move(plan), max_shard_bytes),
      folder_(std::move(folder)) {}

std::unique_ptr<FileTensorWriter> ShardedNpzWriter::open_shard(
    std::size_t shard) {
  char name[64] = "weights.npz";
  if (shards().size() > 1) {
    std::snprintf(name, sizeof name, "weights.%02zu.npz", shard);
  }
  return std::make_unique<NpzWriter>(folder_ / name, shards()[shard]);
}

}  // namespace llamlx
