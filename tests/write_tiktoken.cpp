// Writes the files that llamlx makes of a tiktoken vocabulary, for other
// tokenizers to load (see oracles/tokenizer_packages.py).
//
//     write_tiktoken TOKENIZER.MODEL FOLDER

#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "checkpoint/tiktoken_files.h"

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::cerr << "usage: write_tiktoken TOKENIZER.MODEL FOLDER\n";
    return 2;
  }
  for (const auto& file :
       llamlx::make_tiktoken_files(argv[1], llamlx::Json::object())) {
    std::ofstream out(std::filesystem::path(argv[2]) / file.name,
                      std::ios::binary);
    out << file.content;
    if (!out.flush()) {
      std::cerr << "cannot write " << file.name << "\n";
      return 1;
    }
  }
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
