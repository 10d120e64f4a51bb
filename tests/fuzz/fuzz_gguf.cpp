#include "checkpoint/gguf_checkpoint.h"
#include "fuzz_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size) {
  using namespace llamlx;
  return fuzz::expect_answer_or_error([&] {
    const auto checkpoint =
        open_gguf_checkpoint(fuzz::file_of(fuzz::text_of(data, size), ".gguf"));
    for (const auto& info : checkpoint->weights()) {
      fuzz::expect_answer_or_error([&] { checkpoint->load(info); });
    }
    checkpoint->side_files();
  });
}
