#include "formats/zip_reader.h"
#include "fuzz_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size) {
  using namespace llamlx;
  constexpr std::uint64_t kMostBytes = 1 << 20;
  return fuzz::expect_answer_or_error([&] {
    const ZipFile zip(fuzz::file_of(fuzz::text_of(data, size), ".zip"));
    for (const auto& entry : zip.entries()) {
      fuzz::expect_answer_or_error([&] { zip.read(entry, kMostBytes); });
    }
  });
}
