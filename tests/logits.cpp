// llamlx_logits MODEL IDS OUT.npy [DTYPE]
//
// Writes the logits [N, V], float32, of the comma-separated token ids, for the
// oracles to compare with other programs'.
#include <iostream>
#include <sstream>
#include <vector>

#include <mlx/io.h>

#include "models/decoder.h"

namespace {

namespace mx = llamlx::mx;

std::vector<std::int32_t> parse_ids(const std::string& text) {
  std::vector<std::int32_t> ids;
  std::istringstream in(text);
  for (std::string id; std::getline(in, id, ',');) ids.push_back(std::stoi(id));
  return ids;
}

void write_logits(const std::string& model, const std::string& list,
                  const std::string& out, mx::Dtype dtype) {
  const auto ids = parse_ids(list);
  const int length = static_cast<int>(ids.size());
  const auto checkpoint = llamlx::Checkpoint::open(model);
  const auto decoder = llamlx::Decoder::load(*checkpoint, dtype);
  const auto cache = decoder.make_cache(length);
  const auto x = decoder.forward(mx::array(ids.begin(), {length}, mx::int32),
                                 {{cache.get(), length}});
  mx::save(out, decoder.logits(x));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4 || argc > 5) {
    std::cerr << "usage: llamlx_logits MODEL IDS OUT.npy [DTYPE]\n";
    return 2;
  }
  try {
    const auto dtype = llamlx::float_dtype(argc == 5 ? argv[4] : "float32");
    if (!dtype) throw std::invalid_argument("unknown dtype");
    write_logits(argv[1], argv[2], argv[3], *dtype);
  } catch (const std::exception& error) {
    std::cerr << "llamlx_logits: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
