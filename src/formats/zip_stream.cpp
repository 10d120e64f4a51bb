#include "formats/zip_stream.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <zlib.h>

#include "base/concat.h"
#include "base/error.h"
#include "formats/crc32.h"

namespace llamlx {
namespace {

// The file's pages that stand in memory beside what is made of them.
constexpr std::size_t kPieceSize = std::size_t{16} << 20;

}  // namespace

struct ZipStream::Inflater {
  z_stream stream = {};
  bool has_ended = false;

  Inflater() = default;
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() { inflateEnd(&stream); }
};

ZipStream::ZipStream(const MappedFile& file, const ZipEntry& entry)
    : file_(file),
      entry_(entry),
      rest_(file.bytes().subspan(entry.data_begin, entry.compressed_size)) {
  if (entry.is_stored) return;
  inflater_ = std::make_unique<Inflater>();
  // A negative number of bits asks for the bare data, without zlib's header.
  if (inflateInit2(&inflater_->stream, -MAX_WBITS) != Z_OK) {
    fail(ErrorCode::out_of_memory, file.path().string(),
         concat("entry ", entry.name, " cannot be inflated"),
         "free some memory");
  }
}

ZipStream::~ZipStream() = default;

void ZipStream::refuse(std::string_view cause) const {
  fail(ErrorCode::corrupt_file, file_.path().string(),
       concat("entry ", entry_.name, " ", cause), "download or copy it again");
}

void ZipStream::read(std::span<std::byte> to) {
  if (to.size() > entry_.size - position_) refuse("ends too early");
  while (!to.empty()) {
    const auto piece = to.first(std::min(to.size(), kPieceSize));
    read_piece(piece);
    crc_ = crc32(crc_, piece);
    position_ += piece.size();
    to = to.subspan(piece.size());
  }
}

void ZipStream::read_piece(std::span<std::byte> to) {
  if (inflater_) return inflate_piece(to);
  const auto from = rest_.first(to.size());
  std::memcpy(to.data(), from.data(), from.size());
  file_.release(from);
  rest_ = rest_.subspan(from.size());
}

void ZipStream::inflate_piece(std::span<std::byte> to) {
  auto& stream = inflater_->stream;
  stream.next_out = reinterpret_cast<Bytef*>(to.data());
  stream.avail_out = static_cast<uInt>(to.size());
  while (stream.avail_out > 0) {
    const auto from = rest_.first(std::min(rest_.size(), kPieceSize));
    stream.next_in =
        reinterpret_cast<Bytef*>(const_cast<std::byte*>(from.data()));
    stream.avail_in = static_cast<uInt>(from.size());
    const int status = inflate(&stream, Z_NO_FLUSH);
    const auto used = from.size() - stream.avail_in;
    file_.release(from.first(used));
    rest_ = rest_.subspan(used);
    if (status == Z_STREAM_END) inflater_->has_ended = true;
    if (status == Z_OK || (inflater_->has_ended && stream.avail_out == 0)) {
      continue;
    }
    if (status == Z_MEM_ERROR) {
      fail(ErrorCode::out_of_memory, file_.path().string(),
           concat("entry ", entry_.name, " cannot be inflated"),
           "free some memory");
    }
    refuse(inflater_->has_ended ? "has fewer bytes than it says"
                                : "has damaged data");
  }
}

void ZipStream::finish() {
  if (position_ != entry_.size) refuse("goes on where it should end");
  if (inflater_ && !inflater_->has_ended) {
    // The mark of the end takes no room in what is inflated.
    std::array<Bytef, 1> more;
    auto& stream = inflater_->stream;
    stream.next_in =
        reinterpret_cast<Bytef*>(const_cast<std::byte*>(rest_.data()));
    stream.avail_in = static_cast<uInt>(std::min(rest_.size(), kPieceSize));
    stream.next_out = more.data();
    stream.avail_out = more.size();
    const auto given = stream.avail_in;
    if (inflate(&stream, Z_NO_FLUSH) != Z_STREAM_END ||
        stream.avail_out != more.size()) {
      refuse("has more bytes than it says");
    }
    rest_ = rest_.subspan(given - stream.avail_in);
  }
  if (!rest_.empty() && inflater_) refuse("has data after its end");
  if (crc_ != entry_.crc) refuse("has the wrong checksum");
}

}  // namespace llamlx
