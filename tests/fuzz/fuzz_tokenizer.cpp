#include <map>
#include <string>
#include <vector>

#include "fuzz_file.h"
#include "tokenizer/tokenizer.h"

// The first byte says which of a tokenizer's files the rest is.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size) {
  using namespace llamlx;
  constexpr const char* kNames[] = {"tokenizer.json", "tokenizer.model",
                                    "tekken.json"};
  if (size == 0) return 0;
  const char* name = kNames[data[0] % std::size(kNames)];
  const std::string content(fuzz::text_of(data + 1, size - 1));
  return fuzz::expect_answer_or_error([&] {
    const auto tokenizer = Tokenizer::load({"fuzz", {{name, content}}});
    const auto ids =
        tokenizer->encode("Hello  world \xF0\x9F\x98\x80\xFF", true);
    tokenizer->decode(ids);
    tokenizer->decode(std::vector<std::int32_t>{0, 1, 2, -1, 1 << 30});
  });
}
