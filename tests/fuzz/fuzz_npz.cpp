#include "formats/npz_reader.h"
#include "fuzz_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size) {
  using namespace llamlx;
  return fuzz::read_tensors<NpzFile>(fuzz::text_of(data, size), ".npz");
}
