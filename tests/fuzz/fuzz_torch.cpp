#include "formats/torch_reader.h"
#include "fuzz_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size) {
  using namespace llamlx;
  return fuzz::read_tensors<TorchFile>(fuzz::text_of(data, size), ".torch");
}
